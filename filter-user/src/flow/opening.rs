//! How a stream begins: with a SYN, with another SYN on the same ports, or in the middle.

use serde::{Deserialize, Serialize};

use super::hold::HoldList;
use super::pending::Continuity;
use super::stream::{Phase, Verdict};
use super::{DropReason, FailurePolicy, Reassembly, Replies, Reply, Segment, Seq, Stream, SynAck};

/// A SYN on a stream that has begun already.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Reopening {
    isn: Seq,
    /// The server's latest SYN-ACK, and the next sequence number, when the SYN came.
    before: Option<SynAck>,
    next: Seq,
}

impl Stream {
    /// Judges a SYN without payload.
    pub(super) fn on_syn<F>(
        &mut self,
        shared: &mut Reassembly<F>,
        segment: &Segment,
        replies: &mut impl Replies,
    ) -> Verdict {
        if self.phase == Phase::Opening && self.isn == Some(segment.seq) {
            return Verdict::Forward;
        }
        let reply = replies.look();
        if self.phase == Phase::Unanchored && reply.is_none() {
            self.open(shared, segment.seq);
            return Verdict::Forward;
        }
        if !replies.observed() && shared.limits.unverifiable == FailurePolicy::Drop {
            return Verdict::Drop(DropReason::UnconfirmableSyn);
        }
        let before = reply.and_then(|reply| reply.syn_ack);
        let before = self.reopening.map_or(before, |earlier| earlier.before);
        self.reopening = Some(Reopening {
            isn: segment.seq,
            before,
            next: self.next,
        });
        Verdict::Forward
    }

    /// A SYN on a live flow says nothing: whether the server takes it for a new connection, only its SYN-ACK tells.
    /// Until that is settled each segment asks, because it means one thing in the old sequence space and another in
    /// the new.
    pub(super) fn try_reopen<F>(
        &mut self,
        shared: &mut Reassembly<F>,
        segment: &Segment,
        replies: &mut impl Replies,
    ) {
        let Some(Reopening { isn, before, next }) = self.reopening else {
            return;
        };
        match replies.look() {
            Some(Reply {
                syn_ack: Some(syn_ack),
                ..
            }) if Some(syn_ack) != before => {
                self.open(shared, syn_ack.acknowledged - 1);
            }
            // The server goes on with the old connection: it has bytes that were behind the SYN.
            Some(reply) if self.phase != Phase::Unanchored && reply.acknowledged.after(next) => {
                self.reopening = None;
            }
            None if !replies.observed() => {
                let over = self.is_closing() || self.phase != Phase::Open;
                if over && segment.seq == isn + 1 {
                    self.open(shared, isn);
                }
            }
            _ => {}
        }
    }

    /// Begins a connection with its initial sequence number.
    fn open<F>(&mut self, shared: &mut Reassembly<F>, isn: Seq) {
        self.superseded.append(&mut shared.hold, &mut self.held);
        self.evidence.restart(&mut shared.evidence, isn + 1);
        *self = Self {
            phase: Phase::Opening,
            continuity: Continuity::Start,
            isn: Some(isn),
            next: isn + 1,
            acked: isn + 1,
            ask_at: isn + 1 + shared.limits.ask_after,
            superseded: std::mem::replace(&mut self.superseded, HoldList::new()),
            ..Self::new(self.owner)
        };
    }

    /// Finds the place in a stream whose beginning was missed.
    pub(super) fn anchor<F>(
        &mut self,
        shared: &mut Reassembly<F>,
        segment: &Segment,
        replies: &mut impl Replies,
    ) {
        let window = shared.limits.window;
        let near = |ack: &Seq| ack.since(segment.seq).unsigned_abs() <= window;
        let ack = replies.look().map(|reply| reply.acknowledged).filter(near);
        self.next = ack.unwrap_or(segment.seq);
        // Without the server's word, all that lies before is unknown, not delivered.
        self.acked = ack.unwrap_or(segment.seq - window);
        self.ask_at = self.next + shared.limits.ask_after;
        self.evidence.restart(&mut shared.evidence, self.next);
        self.phase = Phase::Open;
        if let Some(reopening) = &mut self.reopening {
            reopening.next = self.next;
        }
        self.continuity = Continuity::AfterGap;
    }
}
