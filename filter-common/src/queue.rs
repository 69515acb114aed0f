//! Per-queue state shared with the engine through a memory-mapped array: credits and heartbeat.

/// Value of the `QUEUES` map, one per RX queue. The two halves lie on cache lines of their own, because the
/// kernel writes the first for every redirected packet and the engine the second.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct QueueState {
    /// Packets redirected to the queue's socket since the program was loaded.
    pub redirected: u64,
    /// Explicit padding to a cache line.
    pub reserved_kernel: [u64; 7],
    /// Packets the engine has taken from the ring, or given up.
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

const _: () = assert!(size_of::<QueueState>() == 128);
const _: () = assert!(core::mem::offset_of!(QueueState, consumed) == QueueState::CONSUMED_OFFSET);
const _: () = assert!(core::mem::offset_of!(QueueState, heartbeat_ns) == QueueState::HEARTBEAT_OFFSET);
