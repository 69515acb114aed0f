//! The memory-mapped `QUEUES` array: credits and heartbeats, read by the XDP program for every redirect.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use filter_common::{MAX_QUEUES, queue::QueueState};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

const BYTES: usize = MAX_QUEUES as usize * size_of::<QueueState>();
const LENGTH: NonZeroUsize = NonZeroUsize::new(BYTES).expect("the array is not empty");

/// The whole array, mapped.
#[derive(Debug)]
pub struct SharedQueues {
    address: NonNull<QueueState>,
}

// SAFETY: the mapping is only reached through atomics.
unsafe impl Send for SharedQueues {}
// SAFETY: as above.
unsafe impl Sync for SharedQueues {}

impl SharedQueues {
    /// Maps the `QUEUES` map behind `map`.
    ///
    /// # Errors
    ///
    /// Those of `mmap(2)`; `EINVAL` if the map was not created with `BPF_F_MMAPABLE`.
    pub fn map(map: impl AsFd) -> io::Result<Arc<Self>> {
        // SAFETY: a fresh shared mapping of a map that is at least this long (the array has `MAX_QUEUES`
        // entries); nothing else refers to the chosen address.
        let address = unsafe {
            mmap(
                None,
                LENGTH,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )?
        };
        Ok(Arc::new(Self {
            address: address.cast(),
        }))
    }

    /// The state of one queue.
    ///
    /// # Panics
    ///
    /// If `queue` is not below [`MAX_QUEUES`].
    #[must_use]
    pub fn queue(self: &Arc<Self>, queue: u32) -> QueueHandle {
        assert!(
            queue < MAX_QUEUES,
            "queue {queue} is beyond the {MAX_QUEUES} the maps have room for"
        );
        QueueHandle {
            queues: Arc::clone(self),
            index: queue as usize,
        }
    }

    fn field(&self, index: usize, offset: usize) -> &AtomicU64 {
        // SAFETY: in bounds (the handle's constructor checked the index, offsets are those of `u64` fields of
        // the state), 8-byte aligned (the map is page-aligned, states are 128 bytes), valid as long as `self`,
        // and only accessed atomically on this side.
        unsafe { AtomicU64::from_ptr(self.address.as_ptr().add(index).cast::<u8>().add(offset).cast()) }
    }
}

impl Drop for SharedQueues {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this length; every handle keeps `self` alive through its `Arc`.
        if let Err(error) = unsafe { munmap(self.address.cast(), BYTES) } {
            tracing::warn!("cannot unmap the queue states: {error}");
        }
    }
}

/// One queue's credits and heartbeat.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    queues: Arc<SharedQueues>,
    index: usize,
}

impl QueueHandle {
    /// The queue's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.index as u32
    }

    /// Frames of packets that the XDP program has redirected to the queue.
    #[must_use]
    pub fn redirected(&self) -> u64 {
        self.queues.field(self.index, 0).load(Ordering::Relaxed)
    }

    /// Frames that were taken from the ring, or given up.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.queues
            .field(self.index, QueueState::CONSUMED_OFFSET)
            .load(Ordering::Relaxed)
    }

    /// Tells the XDP program how many frames have been taken.
    pub fn set_consumed(&self, consumed: u64) {
        self.queues
            .field(self.index, QueueState::CONSUMED_OFFSET)
            .store(consumed, Ordering::Release);
    }

    /// When the engine last went round, nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    #[must_use]
    pub fn heartbeat(&self) -> u64 {
        self.queues
            .field(self.index, QueueState::HEARTBEAT_OFFSET)
            .load(Ordering::Relaxed)
    }

    /// Tells the XDP program that the engine is alive; 0 says that it has gone.
    pub fn set_heartbeat(&self, now_ns: u64) {
        self.queues
            .field(self.index, QueueState::HEARTBEAT_OFFSET)
            .store(now_ns, Ordering::Release);
    }
}
