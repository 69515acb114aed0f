//! Sampled drops, sent to userspace through a ring buffer.

use crate::FlowKey;

/// One dropped packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Which flow; zero where the headers did not parse that far.
    pub flow: FlowKey,
    /// A [`crate::Reason`] as number.
    pub reason: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// RX queue.
    pub queue: u32,
    /// Explicit padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<DropEvent>() == 64);
