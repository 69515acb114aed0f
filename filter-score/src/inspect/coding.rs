//! The codings of a body: between its framing and its content.

use super::{Event, Inspection};
use crate::coding::{Codings, Pumped};
use crate::http::{BodyKind, Violation};
use crate::policy::Overflow;
use crate::request::Phase;
use crate::target::Target;

impl Inspection<'_> {
    /// Takes decoders for the codings that the head names, if there are some and it has not.
    pub(super) fn coding_begin(&mut self) -> Option<Event> {
        let codings = self.head.content_codings.then(self.head.transfer_codings).ok()?;
        if codings.is_empty() || self.decoders.is_active() {
            None
        } else if self.decoders.begin(codings, true, self.pool) {
            Some(Event::Continue)
        } else {
            Some(Event::Exhausted)
        }
    }

    /// Scores a piece of what was decoded, or turns to what comes next if there is none.
    pub(super) fn decoded(&mut self) -> Event {
        match self.decoders.pump(&self.limits) {
            Pumped::Content => {
                let decoders = self.decoders.lend();
                let taken = self.take_content(decoders.pending(), false);
                *self.decoders = decoders;
                self.decoders.advance(taken);
                return Event::Continue;
            }
            Pumped::HeaderText => {
                let decoders = self.decoders.lend();
                self.score(Target::Body, b"", decoders.pending());
                *self.decoders = decoders;
                self.decoders.advance(self.decoders.pending().len());
                return Event::Continue;
            }
            Pumped::Input => {}
            Pumped::Corrupt => {
                if self.decoders.is_declared() {
                    self.evaluator.violation(Violation::BadCoding, b"");
                }
                self.stop_scoring();
            }
            Pumped::Mismatch(count) => {
                self.decoders.end(self.pool);
                self.head.content_codings = Codings::default();
                self.head.transfer_codings = Codings::default();
                self.evaluator.violation(Violation::BadCoding, b"");
                // A target that ignores the coding reads it as it is.
                self.take_content(&[0x1f, 0x8b][..count.min(2).into()], false);
            }
            Pumped::TooLarge => self.overflow(self.limits.decoded_overflow, Violation::DecodedTooLarge),
        }
        self.body_continues();
        Event::Continue
    }

    /// The body exceeds a limit: the rest of it is not scored.
    pub(super) fn overflow(&mut self, overflow: Overflow, violation: Violation) {
        let violation = match overflow {
            Overflow::Reject => violation,
            Overflow::Partial => Violation::PartlyScored,
        };
        self.evaluator.violation(violation, b"");
        self.stop_scoring();
    }

    fn stop_scoring(&mut self) {
        self.decoders.stop(self.pool);
        self.end_of_unit(&[]);
        self.content.sniffing = false;
        self.content.kind = BodyKind::Unscored;
    }

    /// The body has ended.
    pub(super) fn coding_end(&mut self) {
        if self.decoders.is_declared() && !self.decoders.is_complete() {
            self.evaluator.violation(Violation::IncompleteCoding, b"");
        }
        self.decoders.end(self.pool);
    }

    /// After a piece of the body: what comes next in the framing.
    pub(super) fn body_continues(&mut self) {
        *self.phase = match *self.remaining {
            0 if self.head.chunked => Phase::ChunkEnd(0),
            0 => Phase::BodyEnd,
            _ => Phase::Body,
        };
    }
}
