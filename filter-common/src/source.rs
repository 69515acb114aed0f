//! What the XDP program remembers of a source that talks to a `suspicious` service.

/// Value of the `SOURCES` map, keyed by the (masked) source address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Start of the current one-second window of the soft limit, nanoseconds of `CLOCK_MONOTONIC`.
    pub window_ns: u64,
    /// Requests in the current window.
    pub window_requests: u32,
    /// Requests seen in all. Approximate: CPUs do not synchronise.
    pub requests: u32,
    /// Reputation in thousandths of a point, written by the engine; 0 is a clean source.
    pub reputation: u32,
    /// Explicit padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Source>() == 24);
