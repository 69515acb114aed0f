//! What one queue's loop counts.

use std::sync::atomic::{AtomicU64, Ordering};

use filter_score::{Family, OwnedDecision, Verdict};

use crate::{
    client::{ClientCount, ClientCounts},
    deep::DeepCount,
    flow::{DropCounters, DropReason},
};

macro_rules! drops {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why the loop itself dropped a frame; the stream layer has reasons of its own, [`DropReason`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EngineDrop {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl EngineDrop {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The reason's name for counters.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

drops! {
    /// A fragment that was given up: it overlaps others, its packet never became complete or would be too large, or newer
    /// ones needed the room.
    Fragment => "fragment",
    /// The headers do not parse, or the packet is not TCP: the XDP program should not have sent it.
    NotTcp => "not_tcp",
    /// The IPv4 header's checksum is wrong.
    BadIpChecksum => "bad_ip_checksum",
    /// The TCP checksum is wrong: the server would ignore the segment, so it is not scored either.
    BadTcpChecksum => "bad_tcp_checksum",
    /// The packet came in parts that are more than a packet can be.
    TooLarge => "too_large",
    /// The packet is larger than the MTU or what the server takes, and cannot be cut: it opens or resets a connection, or
    /// has urgent data.
    NotCuttable => "not_cuttable",
    /// No frame was free for a segment that was cut from a joined packet; TCP sends it again.
    NoFrame => "no_free_frame",
    /// No room on the way to the thread that knows the flow.
    HandoverFull => "handover_full",
    /// The frame waited in the ring while the loop stood still: the failure policy has decided already.
    Stale => "stale",
    /// The segment completed an attack.
    Attack => "attack",
    /// The segment completed the head of a request whose client is blocked.
    ClientBlocked => "client_blocked",
    /// The segment completed the head of a request beyond a limit.
    Limited => "limited",
    /// The client takes too long for its request (`limits.request_timeout_s`, `limits.body_bytes_per_s`).
    SlowRequest => "slow_request",
    /// Failure policy: no room in the flow table.
    TableFull => "flow_table_full",
    /// Failure policy: no buffer for another incomplete request.
    ScorerFull => "request_pool_full",
    /// Failure policy: the flow was picked up in mid-stream and no request has begun yet.
    Unsynced => "unsynced",
    /// Failure policy: the stream cannot be followed any further.
    Opaque => "opaque",
    /// Failure policy: the second tier gave no verdict in time.
    DeepDeadline => "deep_deadline",
    /// Failure policy: the second tier had no room.
    DeepFull => "deep_full",
}

/// Reasons for which a frame went on although it was not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unscored {
    /// No room in the flow table.
    TableFull,
    /// No buffer for another incomplete request.
    ScorerFull,
    /// Picked up in mid-stream.
    Unsynced,
    /// The stream cannot be followed, or has changed its protocol.
    Opaque,
}

impl Unscored {
    /// All reasons.
    pub const ALL: &[Self] = &[Self::TableFull, Self::ScorerFull, Self::Unsynced, Self::Opaque];

    /// The reason's name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TableFull => "flow_table_full",
            Self::ScorerFull => "request_pool_full",
            Self::Unsynced => "unsynced",
            Self::Opaque => "opaque",
        }
    }
}

/// The counts of one queue since the engine's start.
#[derive(Clone, Debug, Default)]
pub struct EngineCounters {
    /// Packets taken from the ring, as they were redirected.
    pub read: u64,
    /// What came of them: each segment of a joined packet for itself, fragments as the packet that they make. Each is in
    /// `forwarded`, `dropped`, `stream_dropped` or `held`.
    pub received: u64,
    /// Packets that came in parts or were cut.
    pub joined: u64,
    /// Flows given up in the middle of a request of which nothing more came.
    pub stalled: u64,
    /// Fragments read; what they are parts of counts as received when it is complete.
    pub fragments: u64,
    /// Segments whose urgent data lost their mark.
    pub urgent: u64,
    /// Packets given to the thread of another queue, which knows their flow; they count as received there.
    pub handed_over: u64,
    /// Packets redirected here that the kernel could not deliver.
    pub lost: u64,
    /// Frames sent on.
    pub forwarded: u64,
    /// Frames made here and sent: pages and resets.
    pub injected: u64,
    /// Frames that could not be made, for want of a free one.
    pub not_injected: u64,
    /// Frames dropped by the loop, by [`EngineDrop`].
    pub dropped: [u64; EngineDrop::ALL.len()],
    /// Segments dropped by the stream layer, by [`DropReason`].
    pub stream_dropped: [u64; DropReason::ALL.len()],
    /// Frames sent on unscored, by [`Unscored`]; also in `forwarded`.
    pub unscored: [u64; Unscored::ALL.len()],
    /// Requests by verdict: allow, suspicious, block.
    pub requests: [u64; 3],
    /// Requests with a protocol violation, whatever their verdict.
    pub malformed: u64,
    /// Requests that the scorer knew to be clean.
    pub cached: u64,
    /// Header lines that it knew and that it looked up, and the same of fields.
    pub known: [u64; 4],
    /// Requests in which a rule hit that is only detected.
    pub detect_only: u64,
    /// Requests in which exclusions kept hits from counting.
    pub excluded: u64,
    /// Blocked requests by family.
    pub families: [u64; Family::ALL.len()],
    /// Events that found no room in the channel to the control plane.
    pub events_lost: u64,
    /// Flows in the table.
    pub flows: u64,
    /// Bytes held out of order.
    pub held_bytes: u64,
    /// Segments held out of order.
    pub held: u64,
    /// Requests that wait for the second tier.
    pub deep_waiting: u64,
    /// What is learnt of parameters: profiles, those that count, and those that there is room for.
    pub baseline: [u64; 3],
    /// What was learnt of clients, by [`ClientCount`].
    pub clients: ClientCounts,
    /// What became of undecided requests, by [`DeepCount`].
    pub deep: [u64; DeepCount::ALL.len()],
}

impl EngineCounters {
    /// Counts a drop.
    pub fn drop(&mut self, reason: EngineDrop) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts an unscored frame.
    pub fn unscored(&mut self, reason: Unscored) {
        self.unscored[reason as usize] += 1;
    }

    /// Counts something about a client.
    pub fn client(&mut self, what: ClientCount) {
        self.clients[what as usize] += 1;
    }

    /// Takes over the stream layer's counts.
    pub fn set_stream_drops(&mut self, drops: &DropCounters) {
        for (reason, count) in drops.iter() {
            self.stream_dropped[reason as usize] = count;
        }
    }

    /// Counts a decision; families only of blocked requests.
    pub fn decided(&mut self, verdict: Verdict, families: impl Iterator<Item = Family>, malformed: bool) {
        self.requests[verdict as usize] += 1;
        self.malformed += u64::from(malformed);
        if verdict == Verdict::Block {
            let mut seen = [false; Family::ALL.len()];
            for family in families {
                if !std::mem::replace(&mut seen[family as usize], true) {
                    self.families[family as usize] += 1;
                }
            }
        }
    }

    /// Counts a decision that was kept for a while.
    pub fn decided_late(&mut self, decision: &OwnedDecision) {
        let malformed = decision.categories.contains(&Family::Protocol);
        self.decided(decision.decision, decision.categories.iter().copied(), malformed);
        self.detect_only += u64::from(decision.rules.iter().any(|hit| hit.detect_only));
        self.excluded += u64::from(!decision.excluded.is_empty());
    }

    /// Adds the decisions that `other` has counted.
    pub fn add_decisions(&mut self, other: &Self) {
        let pairs = self.requests.iter_mut().zip(other.requests);
        pairs.for_each(|(mine, other)| *mine += other);
        let pairs = self.families.iter_mut().zip(other.families);
        pairs.for_each(|(mine, other)| *mine += other);
        self.malformed += other.malformed;
        self.detect_only += other.detect_only;
        self.excluded += other.excluded;
    }

    /// All numbers in a fixed order; the inverse of [`EngineCounters::from_numbers`].
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let Self {
            read,
            received,
            joined,
            stalled,
            fragments,
            urgent,
            handed_over,
            lost,
            forwarded,
            injected,
            not_injected,
            dropped,
            stream_dropped,
            unscored,
            requests,
            malformed,
            cached,
            known,
            detect_only,
            excluded,
            families,
            events_lost,
            flows,
            held_bytes,
            held,
            deep_waiting,
            baseline,
            clients,
            deep,
        } = self;
        [
            *read,
            *received,
            *joined,
            *stalled,
            *fragments,
            *urgent,
            *handed_over,
            *lost,
            *forwarded,
            *injected,
            *not_injected,
            *malformed,
            *cached,
            *detect_only,
            *excluded,
            *events_lost,
            *flows,
            *held_bytes,
            *held,
            *deep_waiting,
        ]
        .into_iter()
        .chain(*dropped)
        .chain(*stream_dropped)
        .chain(*unscored)
        .chain(*requests)
        .chain(*known)
        .chain(*families)
        .chain(*baseline)
        .chain(*clients)
        .chain(*deep)
    }

    fn from_numbers(mut numbers: impl Iterator<Item = u64>) -> Self {
        let mut next = || numbers.next().unwrap_or(0);
        let [
            read,
            received,
            joined,
            stalled,
            fragments,
            urgent,
            handed_over,
            lost,
            forwarded,
            injected,
            not_injected,
            malformed,
            cached,
            detect_only,
            excluded,
            events_lost,
            flows,
            held_bytes,
            held,
            deep_waiting,
        ] = std::array::from_fn(|_| next());
        Self {
            read,
            received,
            joined,
            stalled,
            fragments,
            urgent,
            handed_over,
            lost,
            forwarded,
            injected,
            not_injected,
            malformed,
            cached,
            detect_only,
            excluded,
            events_lost,
            flows,
            held_bytes,
            held,
            deep_waiting,
            dropped: std::array::from_fn(|_| next()),
            stream_dropped: std::array::from_fn(|_| next()),
            unscored: std::array::from_fn(|_| next()),
            requests: std::array::from_fn(|_| next()),
            known: std::array::from_fn(|_| next()),
            families: std::array::from_fn(|_| next()),
            baseline: std::array::from_fn(|_| next()),
            clients: std::array::from_fn(|_| next()),
            deep: std::array::from_fn(|_| next()),
        }
    }
}

/// A copy of the counters that other threads may read. The loop refreshes it every few milliseconds.
#[derive(Debug)]
pub struct SharedCounters(Box<[AtomicU64]>);

impl Default for SharedCounters {
    fn default() -> Self {
        Self(EngineCounters::default().numbers().map(AtomicU64::new).collect())
    }
}

impl SharedCounters {
    /// Writes the loop's counters; called by its thread alone.
    pub fn publish(&self, counters: &EngineCounters) {
        for (cell, number) in self.0.iter().zip(counters.numbers()) {
            cell.store(number, Ordering::Relaxed);
        }
    }

    /// The counters as last published. Numbers may be of two neighbouring refreshes.
    #[must_use]
    pub fn read(&self) -> EngineCounters {
        EngineCounters::from_numbers(self.0.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_counter_is_read_back_in_its_place() {
        let mut counters = EngineCounters {
            read: 5,
            received: 1,
            joined: 4,
            stalled: 7,
            fragments: 8,
            urgent: 9,
            handed_over: 10,
            held: 2,
            malformed: 3,
            excluded: 4,
            baseline: [5, 6, 7],
            clients: std::array::from_fn(|index| 8 + index as u64),
            ..EngineCounters::default()
        };
        counters.drop(EngineDrop::Opaque);
        counters.unscored(Unscored::Unsynced);
        counters.decided(
            Verdict::Block,
            [Family::Sqli, Family::Sqli, Family::Xss].into_iter(),
            true,
        );
        let shared = SharedCounters::default();
        shared.publish(&counters);
        let read = shared.read();
        assert_eq!(format!("{read:?}"), format!("{counters:?}"));
        assert_eq!(read.families[Family::Sqli as usize], 1);
        assert_eq!(read.dropped[EngineDrop::Opaque as usize], 1);
    }

    #[test]
    fn reasons_index_their_arrays() {
        for (index, reason) in EngineDrop::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, reason) in Unscored::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, family) in Family::ALL.iter().enumerate() {
            assert_eq!(*family as usize, index);
        }
    }
}
