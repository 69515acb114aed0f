//! A frame of the UMEM, owned.

use std::{
    mem,
    ptr::NonNull,
    slice,
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
///
/// It gives access to the packet in it. The UMEM outlives it: rings that are dropped while frames are still out
/// leave their UMEM mapped.
#[must_use = "a frame has to be forwarded, transmitted or released"]
#[derive(Debug)]
pub struct Frame {
    descriptor: FrameDesc,
    data: NonNull<u8>,
    continues: bool,
}

// SAFETY: whoever has the `Frame` is the only one to reach its part of the UMEM.
unsafe impl Send for Frame {}

impl Frame {
    /// Takes a packet out of the kernel's hands.
    ///
    /// # Safety
    ///
    /// `descriptor` must have come out of a ring or the free list and not be used otherwise, and `data` must
    /// point at the packet it describes, in a UMEM that stays mapped while the frame exists.
    pub(super) unsafe fn new(mut descriptor: FrameDesc, data: NonNull<u8>) -> Self {
        let continues = descriptor.has_more_frames();
        // Sent on as it is, it would be half a packet to the kernel.
        descriptor.set_options(0);
        Self {
            descriptor,
            data,
            continues,
        }
    }

    /// Whether the packet goes on in the next frame of the ring.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.continues
    }

    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// Gives ownership away: the descriptor goes into a ring or the free list.
    pub(super) fn into_descriptor(self) -> FrameDesc {
        let descriptor = self.descriptor;
        mem::forget(self);
        descriptor
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: by the constructor's contract, these bytes belong to this frame alone.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.descriptor.lengths().data()) }
    }
}

impl AsMut<[u8]> for Frame {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.descriptor.lengths().data()) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        LEAKED.fetch_add(1, Ordering::Relaxed);
        debug_assert!(
            std::thread::panicking(),
            "a frame was dropped instead of given back"
        );
    }
}
