//! What the XDP program noted about a packet, or the best guess.

use filter_common::{Reason, metadata::Metadata};

/// How a packet came here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When the driver received it, nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) time_ns: u64,
    /// Why it was redirected.
    pub(super) reason: Option<Reason>,
    /// The largest segment that the flow's server takes, bytes without headers; 0 if that is not known.
    pub(super) server_mss: u16,
}

impl Arrival {
    /// By its metadata; without, it came at `dequeued`.
    pub(super) fn new(metadata: Option<Metadata>, dequeued: u64) -> Self {
        metadata.map_or(
            Self {
                time_ns: dequeued,
                ..Self::default()
            },
            |metadata| Self {
                time_ns: metadata.time_ns,
                reason: Reason::from_number(metadata.reason.into()),
                server_mss: metadata.server_mss,
            },
        )
    }
}
