//! One direction of a TCP connection, put back in order.

use serde::{Deserialize, Serialize};

use super::hold::{HoldList, Overlap};
use super::opening::Reopening;
use super::pending::{Continuity, Pending};
use super::{DropReason, Evidence, FailurePolicy, Flags, Reassembly, Replies, Segment, Seq, TimeoutClass};

/// What becomes of an offered frame. The frame is in exactly one place: here, or in the [hold pool](super::HoldPool).
#[must_use = "the action owns the frame"]
pub enum Action<'a, F> {
    /// It completes the stream up to new bytes: score them, then accept or reject.
    Score(Pending<'a, F>),
    /// It goes on; nothing in it is new.
    Forward(F),
    /// It waits for the bytes before it, or behind a segment that was put off.
    Hold,
    /// It goes no further.
    Drop(F, DropReason),
}

/// The client-to-server half of one TCP connection.
///
/// After every [`offer`](Self::offer), call [`next_held`](Self::next_held) until it returns `None`. A stream that
/// is not needed any more must be [released](Self::release), or its frames and chunks stay in the pools.
#[derive(Debug)]
#[must_use = "a stream is released, not dropped"]
pub struct Stream {
    pub(super) phase: Phase,
    pub(super) continuity: Continuity,
    /// The in-order FIN was accepted; it is the sequence number before `next`.
    pub(super) fin: bool,
    /// A reset arrived exactly in order, and nothing was accepted since.
    pub(super) reset: bool,
    /// A segment was rejected.
    pub(super) blocked: bool,
    /// A later SYN went on, and whether the server takes it is not known.
    pub(super) reopening: Option<Reopening>,
    /// The initial sequence number, to know a retransmitted SYN.
    pub(super) isn: Option<Seq>,
    /// The next sequence number in order.
    pub(super) next: Seq,
    /// All before it has reached the server, or (at the start of a stream) does not exist.
    pub(super) acked: Seq,
    /// When `next` passes this, the acknowledgement is looked up.
    pub(super) ask_at: Seq,
    /// Names the flow in the evidence pool.
    pub(super) owner: u32,
    pub(super) evidence: Evidence,
    pub(super) held: HoldList,
    /// Held for a connection that was replaced; only to be dropped.
    pub(super) superseded: HoldList,
    /// Whether the next segment in order waits for a verdict.
    pub(super) deferral: Deferral,
}

/// The state of a segment whose turn has come, and that was put off in the middle of being scored. It is the first one
/// of the held segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deferral {
    /// There is none.
    None,
    /// It was scored up to here, and everything waits.
    Waiting(Seq),
    /// It was scored up to here, and its turn has come again.
    Over(Seq),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// First seen in mid-stream, and no data yet to tell where.
    Unanchored,
    /// SYN seen.
    Opening,
    /// Handshake finished or data accepted.
    Open,
}

/// The outcome for one frame, before the frame itself moves.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Score,
    Forward,
    Hold,
    Drop(DropReason),
}

/// One pass over a segment.
enum Step {
    Done(Verdict),
    /// The verdict, unless the server's acknowledgement, not yet looked up, changes it.
    Ask(Verdict),
}

/// What a look-up of the server's acknowledgement changed.
#[derive(PartialEq, Eq)]
enum News {
    None,
    Progress,
    /// The server acknowledged bytes that never came by here.
    Gap,
}

impl Stream {
    /// The stream of a flow that was never seen before. What the first segment is decides the rest: a SYN
    /// opens the stream; anything else means that its beginning was missed, and it is picked up at the server's
    /// acknowledgement or, when that is not known, at the first data.
    ///
    /// `owner` names the flow in [`EvidencePool::oldest`](super::EvidencePool::oldest).
    pub const fn new(owner: u32) -> Self {
        let zero = Seq(0);
        Self {
            phase: Phase::Unanchored,
            continuity: Continuity::AfterGap,
            fin: false,
            reset: false,
            blocked: false,
            reopening: None,
            isn: None,
            next: zero,
            acked: zero,
            ask_at: zero,
            owner,
            evidence: Evidence::new(zero),
            held: HoldList::new(),
            superseded: HoldList::new(),
            deferral: Deferral::None,
        }
    }

    /// The next sequence number in order, once it is known.
    #[must_use]
    pub fn next(&self) -> Option<Seq> {
        (self.phase != Phase::Unanchored).then_some(self.next)
    }

    /// Whether a segment was put off, and all behind it waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.deferral, Deferral::Waiting(_)) && !self.blocked
    }

    /// Ends the wait for a verdict; [`next_held`](Self::next_held) has the segment that was put off. False if none waits:
    /// then the connection has moved on without it.
    pub fn resume(&mut self) -> bool {
        let Deferral::Waiting(scored) = self.deferral else {
            return false;
        };
        self.deferral = Deferral::Over(scored);
        true
    }

    /// Payload bytes held behind a gap.
    #[must_use]
    pub fn held_bytes(&self) -> u32 {
        self.held.bytes()
    }

    /// Bytes kept as evidence.
    #[must_use]
    pub fn evidence_bytes(&self) -> u32 {
        self.evidence.len()
    }

    /// Which timeout the flow is under.
    #[must_use]
    pub fn class(&self) -> TimeoutClass {
        match self.phase {
            _ if self.blocked || self.is_closing() => TimeoutClass::Closing,
            Phase::Unanchored if self.reopening.is_some() => TimeoutClass::HalfOpen,
            Phase::Opening => TimeoutClass::HalfOpen,
            Phase::Unanchored | Phase::Open => TimeoutClass::Established,
        }
    }

    /// Whether the client ended the connection, as far as this half tells.
    pub(super) fn is_closing(&self) -> bool {
        self.fin || self.reset
    }

    /// Takes in one segment of the flow in `frame`.
    pub fn offer<'a, F: AsRef<[u8]>>(
        &'a mut self,
        shared: &'a mut Reassembly<F>,
        segment: Segment,
        frame: F,
        replies: &mut impl Replies,
    ) -> Action<'a, F> {
        let verdict = match segment.payload(frame.as_ref()) {
            Some(payload) => self.judge(shared, &segment, payload, replies),
            None => Verdict::Drop(DropReason::Malformed),
        };
        match verdict {
            Verdict::Score => Action::Score(Pending::new(self, shared, segment, frame)),
            Verdict::Forward => Action::Forward(frame),
            Verdict::Hold => {
                self.held.insert(&mut shared.hold, segment, frame);
                Action::Hold
            }
            Verdict::Drop(reason) => {
                shared.drops.count(reason);
                Action::Drop(frame, reason)
            }
        }
    }

    /// The next held segment whose turn has come: to score, or to drop. Never a [`Action::Hold`].
    pub fn next_held<'a, F: AsRef<[u8]>>(
        &'a mut self,
        shared: &'a mut Reassembly<F>,
    ) -> Option<Action<'a, F>> {
        if let Some((frame, _)) = self.superseded.pop_any(&mut shared.hold) {
            shared.drops.count(DropReason::Superseded);
            return Some(Action::Drop(frame, DropReason::Superseded));
        }
        if self.held.is_empty() || self.is_waiting() {
            return None;
        }
        let due = if self.blocked {
            self.held.pop_any(&mut shared.hold)
        } else {
            self.held.pop(&mut shared.hold, self.next)
        };
        let (frame, segment) = due?;
        let refused = if self.blocked {
            Some(DropReason::Blocked)
        } else if !segment.end().after(self.next) {
            Some(DropReason::Duplicate)
        } else if self.fin {
            Some(DropReason::DataAfterFin)
        } else if !self.can_keep(shared, &segment) && shared.limits.unverifiable == FailurePolicy::Drop {
            Some(DropReason::EvidenceFull)
        } else {
            None
        };
        Some(match refused {
            None => Action::Score(Pending::new(self, shared, segment, frame)),
            Some(reason) => {
                shared.drops.count(reason);
                Action::Drop(frame, reason)
            }
        })
    }

    /// Takes note of the server's acknowledgement number, from whatever source, and releases the evidence below
    /// it. Returns whether anything changed.
    pub fn acknowledge<F>(&mut self, shared: &mut Reassembly<F>, ack: Seq) -> bool {
        self.phase != Phase::Unanchored
            && self.reopening.is_none()
            && self.learn(shared, ack) == News::Progress
    }

    /// Gives up all held segments; `frames` gets them. The client sends them again.
    pub fn discard_held<F>(&mut self, shared: &mut Reassembly<F>, mut frames: impl FnMut(F)) {
        for list in [&mut self.superseded, &mut self.held] {
            while let Some((frame, _)) = list.pop_any(&mut shared.hold) {
                shared.drops.count(DropReason::Released);
                frames(frame);
            }
        }
    }

    /// Ends the stream: `frames` gets every frame it still holds.
    pub fn release<F>(mut self, shared: &mut Reassembly<F>, frames: impl FnMut(F)) {
        self.evidence.restart(&mut shared.evidence, self.next);
        self.discard_held(shared, frames);
    }

    fn judge<F: AsRef<[u8]>>(
        &mut self,
        shared: &mut Reassembly<F>,
        segment: &Segment,
        payload: &[u8],
        replies: &mut impl Replies,
    ) -> Verdict {
        if let Some(reason) = self.inadmissible(segment) {
            return Verdict::Drop(reason);
        }
        if segment.flags.has(Flags::SYN) {
            return self.on_syn(shared, segment, replies);
        }
        self.try_reopen(shared, segment, replies);
        if segment.flags.has(Flags::RST) {
            return self.on_reset(shared, segment);
        }
        if segment.len == 0 && !segment.fin() {
            return self.on_pure_ack(segment);
        }
        if self.phase == Phase::Unanchored {
            self.anchor(shared, segment, replies);
        }
        match self.step(shared, segment, payload) {
            Step::Done(verdict) => verdict,
            Step::Ask(verdict) => match self.ask(shared, replies) {
                News::None => verdict,
                News::Gap => Verdict::Drop(DropReason::UnscoredGap),
                News::Progress => match self.step(shared, segment, payload) {
                    Step::Done(verdict) | Step::Ask(verdict) => verdict,
                },
            },
        }
    }

    /// Checks on the header alone. Urgent data, timestamps (RFC 7323 §5) and hop limits belong here, too.
    fn inadmissible(&self, segment: &Segment) -> Option<DropReason> {
        let flags = segment.flags;
        if self.blocked {
            Some(DropReason::Blocked)
        } else if flags.has(Flags::SYN) {
            let contradicts = flags.has(Flags::FIN) || flags.has(Flags::RST);
            let with_data = (segment.len > 0).then_some(DropReason::SynData);
            if contradicts {
                Some(DropReason::BadFlags)
            } else {
                with_data
            }
        } else {
            // Receivers ignore what has no ACK bit: scored, it would be an insertion.
            (!flags.has(Flags::ACK) && !flags.has(Flags::RST)).then_some(DropReason::NoAck)
        }
    }

    /// RFC 5961 §3.2: only a reset at exactly the next sequence number closes. Another one inside the window
    /// makes the server ask the client, so it goes on without any effect here.
    fn on_reset<F>(&mut self, shared: &Reassembly<F>, segment: &Segment) -> Verdict {
        if self.phase == Phase::Unanchored || segment.seq == self.next {
            self.reset = true;
            return Verdict::Forward;
        }
        let ahead = segment.seq.since(self.next);
        let within = segment.seq.before(self.next) && !segment.seq.before(self.acked)
            || (0..=shared.limits.window.cast_signed()).contains(&ahead);
        if within {
            Verdict::Forward
        } else {
            Verdict::Drop(DropReason::ResetOutOfWindow)
        }
    }

    fn on_pure_ack(&mut self, segment: &Segment) -> Verdict {
        if self.phase == Phase::Opening && segment.seq == self.next {
            self.phase = Phase::Open;
        }
        Verdict::Forward
    }

    fn ask<F>(&mut self, shared: &mut Reassembly<F>, replies: &mut impl Replies) -> News {
        self.ask_at = self.next + shared.limits.ask_after;
        match replies.look() {
            // What the server acknowledges may belong to the connection that is about to replace this one.
            Some(reply) if self.reopening.is_none() => self.learn(shared, reply.acknowledged),
            _ => News::None,
        }
    }

    fn learn<F>(&mut self, shared: &mut Reassembly<F>, ack: Seq) -> News {
        let beyond = ack.since(self.next);
        if beyond > 0 {
            return self.skip(shared, ack);
        }
        if !ack.after(self.acked) {
            return News::None;
        }
        self.acked = ack;
        self.evidence.release(&mut shared.evidence, ack);
        News::Progress
    }

    /// The server has bytes that never came by here: some were passed while nobody looked.
    fn skip<F>(&mut self, shared: &mut Reassembly<F>, ack: Seq) -> News {
        if self.fin || ack.since(self.next) > shared.limits.window.cast_signed() {
            return News::None;
        }
        if shared.limits.unverifiable == FailurePolicy::Drop {
            return News::Gap;
        }
        self.next = ack;
        self.acked = ack;
        self.evidence.restart(&mut shared.evidence, ack);
        self.continuity = Continuity::AfterGap;
        self.deferral = Deferral::None;
        News::Progress
    }

    /// Judges a segment that occupies sequence numbers.
    fn step<F: AsRef<[u8]>>(&self, shared: &Reassembly<F>, segment: &Segment, payload: &[u8]) -> Step {
        let limits = &shared.limits;
        let window = limits.window.cast_signed();
        let (ahead, reach) = (segment.seq.since(self.next), segment.end().since(self.next));
        if ahead < -window || ahead > window || reach > window {
            return Step::Ask(Verdict::Drop(DropReason::OutOfWindow));
        }
        if ahead < 0
            && let Some(reason) = self.old_part_refused(shared, segment, payload)
        {
            return Step::Ask(Verdict::Drop(reason));
        }
        if reach <= 0 {
            return Step::Done(Verdict::Forward);
        }
        if self.fin {
            return Step::Done(Verdict::Drop(DropReason::DataAfterFin));
        }
        match self
            .held
            .compare(&shared.hold, segment, payload, segment.seq.max(self.next))
        {
            Overlap::Conflict => Step::Done(Verdict::Drop(DropReason::OverlapConflict)),
            _ if ahead <= 0 && !self.is_waiting() => self.in_order(shared, segment),
            Overlap::Covered if self.is_waiting() => Step::Done(Verdict::Drop(DropReason::Duplicate)),
            Overlap::Covered => Step::Ask(Verdict::Drop(DropReason::Duplicate)),
            Overlap::New => self.behind_gap(shared, segment),
        }
    }

    /// Compares what was accepted before, and is sent again, with what went on.
    fn old_part_refused<F>(
        &self,
        shared: &Reassembly<F>,
        segment: &Segment,
        payload: &[u8],
    ) -> Option<DropReason> {
        let accepted = self.next - u32::from(self.fin);
        if segment.fin() && segment.end().since(self.next) <= 0 {
            let at_the_end = self.fin && segment.data_end() == accepted;
            if !at_the_end && !segment.data_end().before(self.acked) {
                return Some(DropReason::FinConflict);
            }
        }
        if self.fin && segment.data_end().after(accepted) {
            return Some(DropReason::DataAfterFin);
        }
        // The server trims what it has (RFC 9293 §3.10.7.4), so that part may be anything.
        let from = segment.seq.max(self.acked);
        let to = segment.data_end().min(accepted);
        let on_record = (from.max(self.evidence.start()), to.min(self.evidence.end()));
        let bytes = |(from, to): (Seq, Seq)| &payload[segment.seq.until(from)..][..from.until(to)];
        if on_record.0.before(on_record.1)
            && !self
                .evidence
                .matches(&shared.evidence, on_record.0, bytes(on_record))
        {
            return Some(DropReason::RetransmissionConflict);
        }
        let unknown = from.until(to) > on_record.0.until(on_record.1);
        (unknown && shared.limits.unverifiable == FailurePolicy::Drop).then_some(DropReason::Unverifiable)
    }

    fn in_order<F>(&self, shared: &Reassembly<F>, segment: &Segment) -> Step {
        let keeps = self.can_keep(shared, segment);
        if !keeps && shared.limits.unverifiable == FailurePolicy::Drop {
            return Step::Ask(Verdict::Drop(DropReason::EvidenceFull));
        }
        let first_lost = !keeps && !self.evidence.is_empty() && self.evidence.end() == self.next;
        if first_lost || segment.end().after(self.ask_at) {
            Step::Ask(Verdict::Score)
        } else {
            Step::Done(Verdict::Score)
        }
    }

    /// Whether the new bytes of a segment in order can be kept as evidence.
    fn can_keep<F>(&self, shared: &Reassembly<F>, segment: &Segment) -> bool {
        let contiguous = self.evidence.is_empty() || self.evidence.end() == self.next;
        contiguous
            && self
                .evidence
                .has_room(&shared.evidence, self.next.until(segment.data_end()))
    }

    fn behind_gap<F>(&self, shared: &Reassembly<F>, segment: &Segment) -> Step {
        let limits = &shared.limits;
        let verdict = if self.held.segments() >= limits.held_segments {
            Verdict::Drop(DropReason::HoldSegments)
        } else if self.held.bytes() + u32::from(segment.len) > limits.held_bytes {
            Verdict::Drop(DropReason::HoldBytes)
        } else if shared.hold.has_room(segment.len.into()) {
            Verdict::Hold
        } else {
            Verdict::Drop(DropReason::HoldBudget)
        };
        // At the beginning of a gap, and when it lasts: perhaps the server has those bytes.
        let ask = self.held.is_empty() || matches!(verdict, Verdict::Drop(_));
        if ask {
            Step::Ask(verdict)
        } else {
            Step::Done(verdict)
        }
    }
}
