//! The parser: takes the bytes of a request in any segmentation and scores each unit when the bytes
//! that complete it are there.
//!
//! Units are the request line, each header line, each parameter, each JSON string, and windows at
//! fixed offsets of anything longer. What a step does depends on the byte stream alone, never on where
//! a segment ends.

mod body;
mod coding;
mod content;
mod head;
mod json;
mod multipart;
mod xml;

pub(crate) use content::Content;

use std::mem::take;

use crate::coding::{DecoderPool, DecoderStack};
use crate::evaluate::Evaluator;
use crate::excerpt::Excerpt;
use crate::http::{ChunkSize, Violation};
use crate::policy::Limits;
use crate::request::{HEAD_BYTES, Head, LINE_BYTES, Phase};
use crate::rules::Part;
use crate::verdict::OpaqueKind;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Continue,
    /// The request is complete.
    Complete,
    /// No decoder is free for the body.
    Exhausted,
    /// Nothing after this can be scored.
    Opaque(OpaqueKind),
}

/// The mutable parts of a [`crate::request::Request`], apart from its findings, and what scores them.
pub(crate) struct Inspection<'a> {
    pub(crate) evaluator: Evaluator<'a>,
    pub(crate) phase: &'a mut Phase,
    pub(crate) head: &'a mut Head,
    pub(crate) remaining: &'a mut u64,
    pub(crate) chunk: &'a mut ChunkSize,
    pub(crate) content: &'a mut Content,
    pub(crate) decoders: &'a mut DecoderStack,
    pub(crate) pool: &'a mut DecoderPool,
    pub(crate) body_bytes: &'a mut u64,
    pub(crate) carry: &'a mut Vec<u8>,
    pub(crate) scored: &'a mut usize,
    pub(crate) line: &'a mut Excerpt<LINE_BYTES>,
    pub(crate) shown: &'a mut Vec<u8>,
    pub(crate) limits: Limits,
    pub(crate) after_upgrade: bool,
}

impl Inspection<'_> {
    /// Takes input up to the end of the next unit, or all of it, and says how many bytes it took. Takes
    /// at least one byte, unless the phase is immediate.
    pub(crate) fn step(&mut self, input: &[u8]) -> (usize, Event) {
        let in_head = self.phase.in_head();
        let (taken, event) = self.step_in_phase(input);
        if in_head {
            let room = HEAD_BYTES - self.shown.len();
            self.shown.extend_from_slice(&input[..taken.min(room)]);
        }
        if event != Event::Continue {
            self.evaluator.end_of(Part::Message);
        }
        (taken, event)
    }

    fn step_in_phase(&mut self, input: &[u8]) -> (usize, Event) {
        match *self.phase {
            Phase::RequestLine => self.head_line(input),
            Phase::Headers | Phase::Trailers => self.field_lines(input),
            Phase::Body => self.body(input),
            Phase::Decoded => (0, self.decoded()),
            Phase::BodyEnd => {
                self.coding_end();
                self.content_end();
                *self.phase = if self.head.chunked {
                    Phase::Trailers
                } else {
                    Phase::Complete
                };
                (0, Event::Continue)
            }
            Phase::ChunkSize => self.chunk_size(input),
            Phase::ChunkEnd(seen) => self.chunk_end(input, seen),
            Phase::Complete => (0, Event::Complete),
        }
    }

    /// The stream begins with `bytes`, and with no request.
    pub(crate) fn refuse_start(&mut self, bytes: &[u8]) {
        *self.line = Excerpt::of(bytes);
        self.evaluator.violation(Violation::BadMethod, bytes);
        self.evaluator.end_of(Part::Message);
    }

    /// Scores what is there of an unfinished request: the stream ended.
    pub(crate) fn truncated(&mut self) {
        match *self.phase {
            Phase::RequestLine | Phase::Headers | Phase::Trailers => {
                let carry = take(self.carry);
                if !carry.is_empty() {
                    self.line_end(&carry);
                }
                *self.carry = carry;
            }
            Phase::Body | Phase::Decoded | Phase::BodyEnd | Phase::ChunkSize | Phase::ChunkEnd(_) => {
                self.coding_end();
                self.content_end();
            }
            Phase::Complete => {}
        }
        self.evaluator.violation(Violation::Truncated, b"");
        self.evaluator.end_of(Part::Message);
    }
}
