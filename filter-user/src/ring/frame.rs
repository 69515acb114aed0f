//! A frame of the UMEM, owned.

use std::{
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

use xsk_rs::FrameDesc;

static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Frames that were dropped instead of given back, since the process started. Anything but 0 is a bug.
#[must_use]
pub fn leaked_frames() -> u64 {
    LEAKED.load(Ordering::Relaxed)
}

/// A frame that this process owns: not in a ring, not in the free list.
#[must_use = "a frame has to be forwarded, transmitted or released"]
#[derive(Debug)]
pub struct Frame {
    descriptor: FrameDesc,
}

impl Frame {
    pub(super) fn new(descriptor: FrameDesc) -> Self {
        Self { descriptor }
    }

    pub(super) fn descriptor(&self) -> &FrameDesc {
        &self.descriptor
    }

    pub(super) fn descriptor_mut(&mut self) -> &mut FrameDesc {
        &mut self.descriptor
    }

    /// Gives ownership away: the descriptor goes into a ring or the free list.
    pub(super) fn into_descriptor(self) -> FrameDesc {
        let descriptor = self.descriptor;
        mem::forget(self);
        descriptor
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        LEAKED.fetch_add(1, Ordering::Relaxed);
        debug_assert!(std::thread::panicking(), "a frame was dropped instead of given back");
    }
}
