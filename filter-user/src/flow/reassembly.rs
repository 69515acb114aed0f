//! What the streams of one thread share.

use super::{DropCounters, EvidencePool, FailurePolicy, HoldPool, Seq};

/// Bounds and policy of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamLimits {
    /// Segments that one flow may hold.
    pub held_segments: u16,
    /// Payload bytes that one flow may hold.
    pub held_bytes: u32,
    /// How far from the expected sequence number a segment may lie, in bytes; below 2³⁰ (RFC 7323 §2.3).
    pub window: u32,
    /// The server's acknowledgement is looked up when a flow has accepted this many bytes since the last look-up.
    pub ask_after: u32,
    /// For retransmissions without evidence, for new bytes when the evidence is full, and for flows with an
    /// unscored gap.
    pub unverifiable: FailurePolicy,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            held_segments: 64,
            held_bytes: 96 * 1024,
            window: 16 << 20,
            ask_after: 16 * 1024,
            unverifiable: FailurePolicy::Drop,
        }
    }
}

/// Pools, limits and counters of one thread's streams.
pub struct Reassembly<F> {
    /// Bounds and policy.
    pub limits: StreamLimits,
    /// Accepted bytes that are not acknowledged.
    pub evidence: EvidencePool,
    /// Segments ahead of a gap.
    pub hold: HoldPool<F>,
    /// Drops by reason.
    pub drops: DropCounters,
}

impl<F> Reassembly<F> {
    /// Puts the pools together, with all counters at zero.
    #[must_use]
    pub fn new(limits: StreamLimits, evidence: EvidencePool, hold: HoldPool<F>) -> Self {
        Self {
            limits,
            evidence,
            hold,
            drops: DropCounters::default(),
        }
    }
}

/// What was last seen of a server's replies to one flow, all of it at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The acknowledgement number of the latest segment.
    pub acknowledged: Seq,
    /// The latest SYN-ACK, if one was seen.
    pub syn_ack: Option<SynAck>,
}

/// The numbers of a SYN-ACK. The server's own tells a new connection from a repeated SYN-ACK even when the client
/// uses its initial sequence number twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SynAck {
    /// The server's initial sequence number.
    pub seq: Seq,
    /// The sequence number it expects first: the client's initial one plus one.
    pub acknowledged: Seq,
}

/// An observer of the other direction of one flow.
pub trait Replies {
    /// Whether anyone observes at all. If so, no reply seen means that there was none.
    fn observed(&self) -> bool {
        true
    }

    /// What was seen of the replies so far.
    ///
    /// This may cost a system call. The stream makes none while segments come in order: it looks every
    /// [`StreamLimits::ask_after`] bytes, at the first segment behind a gap, before it drops something that the
    /// server's state could explain, and while it is open whether a SYN begins a new connection.
    fn look(&mut self) -> Option<Reply>;
}

/// Nobody observes the replies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Replies for Unobserved {
    fn observed(&self) -> bool {
        false
    }

    fn look(&mut self) -> Option<Reply> {
        None
    }
}
