//! Per-queue state shared with the engine through a memory-mapped array: credits and heartbeat.
//!
//! Credits count frames of the packet memory, of which a large packet takes several: that is what the rings have room
//! for.

/// Value of the `QUEUES` map, one per RX queue, numbered through over all filtered interfaces. The two halves lie on cache lines of their own, because the
/// kernel writes the first for every redirected packet and the engine the second.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct QueueState {
    /// Frames of the packets redirected to the queue's socket since the program was loaded.
    pub redirected: u64,
    /// Explicit padding to a cache line.
    pub reserved_kernel: [u64; 7],
    /// Frames the engine has taken from the ring, or given up.
    pub consumed: u64,
    /// When the engine's loop last went round, nanoseconds of `CLOCK_MONOTONIC`; 0 if it never ran.
    pub heartbeat_ns: u64,
    /// Explicit padding to a cache line.
    pub reserved_user: [u64; 6],
}

impl QueueState {
    /// Byte offset of [`QueueState::consumed`], for writers of the mapped array.
    pub const CONSUMED_OFFSET: usize = 64;
    /// Byte offset of [`QueueState::heartbeat_ns`].
    pub const HEARTBEAT_OFFSET: usize = 72;
}

/// Value of the `INTERFACES` map, by an interface's index: which of the engine's queues are its RX queues.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceQueues {
    /// The number of its RX queue 0.
    pub first: u32,
    /// How many are read.
    pub count: u32,
}

/// Frames that a packet of `length` bytes takes, where one holds `frame_bytes`; 0 stands for a frame of any size.
#[inline(always)]
#[must_use]
pub const fn frames(length: u32, frame_bytes: u32) -> u32 {
    if frame_bytes == 0 || length <= frame_bytes {
        1
    } else {
        (length - 1) / frame_bytes + 1
    }
}

const _: () = assert!(size_of::<InterfaceQueues>() == 8);
const _: () = assert!(size_of::<QueueState>() == 128);
const _: () = assert!(core::mem::offset_of!(QueueState, consumed) == QueueState::CONSUMED_OFFSET);
const _: () = assert!(core::mem::offset_of!(QueueState, heartbeat_ns) == QueueState::HEARTBEAT_OFFSET);
