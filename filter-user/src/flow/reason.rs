//! Why the stream layer dropped a segment.

use std::ops::Index;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a segment was dropped. Every segment that is neither forwarded nor held has exactly one reason.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The reason's stable name for counters and events.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// The payload does not lie inside the frame.
    Malformed => "malformed",
    /// SYN together with FIN or RST.
    BadFlags => "bad_flags",
    /// No ACK bit on a segment that needs one: receivers ignore it (RFC 9293 §3.10.7.4).
    NoAck => "no_ack",
    /// Payload on a SYN; the client falls back to sending it after the handshake (RFC 7413 §4.1.3).
    SynData => "syn_data",
    /// A SYN on a flow that exists, while nobody observes whether the server takes it, and the policy is to drop.
    UnconfirmableSyn => "unconfirmable_syn",
    /// An earlier segment of the flow was rejected.
    Blocked => "blocked",
    /// Further from the expected sequence number than any window reaches.
    OutOfWindow => "out_of_window",
    /// A reset outside the window (RFC 9293 §3.5.3, RFC 5961 §3).
    ResetOutOfWindow => "reset_out_of_window",
    /// Already accepted sequence numbers with other bytes.
    RetransmissionConflict => "retransmission_conflict",
    /// A FIN at a place where the stream did not end.
    FinConflict => "fin_conflict",
    /// Already passed sequence numbers of which no evidence exists, and the policy is to drop.
    Unverifiable => "unverifiable",
    /// Other bytes than a held segment has for the same sequence numbers.
    OverlapConflict => "overlap_conflict",
    /// Nothing that is not already held or accepted.
    Duplicate => "duplicate",
    /// Data behind the sender's FIN.
    DataAfterFin => "data_after_fin",
    /// The flow holds its maximum of segments.
    HoldSegments => "hold_segments",
    /// The flow holds its maximum of bytes.
    HoldBytes => "hold_bytes",
    /// All flows of the thread together hold their maximum.
    HoldBudget => "hold_budget",
    /// No room to keep evidence of new bytes, and the policy is to drop.
    EvidenceFull => "evidence_full",
    /// The server has bytes that never came by here, and the policy is to drop.
    UnscoredGap => "unscored_gap",
    /// Held for a connection that a newer one on the same ports has replaced.
    Superseded => "superseded",
    /// Still held when the flow ended or gave up holding.
    Released => "released",
}

/// One counter for each [`DropReason`].
#[derive(Clone, Debug, Default)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl DropCounters {
    /// Counts one drop.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self[reason]))
    }

    /// All drops together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<DropReason> for DropCounters {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{DropCounters, DropReason};

    #[test]
    fn names_are_distinct_and_snake_case() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()))
        );
    }

    #[test]
    fn each_reason_has_its_own_counter() {
        let mut counters = DropCounters::default();
        for (times, &reason) in DropReason::ALL.iter().enumerate() {
            (0..times).for_each(|_| counters.count(reason));
        }
        assert!(
            counters
                .iter()
                .enumerate()
                .all(|(times, (_, count))| count == times as u64)
        );
        assert_eq!(counters.total(), (0..DropReason::ALL.len() as u64).sum::<u64>());
    }
}
