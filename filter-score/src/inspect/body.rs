//! The body of a request: its units, and the chunks it may come in.

use std::mem::take;

use super::{Event, Inspection};
use crate::findings::Place;
use crate::http::{self, BodyKind, ChunkSize, SizeLine, Violation};
use crate::request::Phase;
use crate::target::Target;
use crate::verdict::OpaqueKind;

impl Inspection<'_> {
    pub(super) fn body(&mut self, input: &[u8]) -> (usize, Event) {
        let available = input
            .len()
            .min(usize::try_from(*self.remaining).unwrap_or(usize::MAX));
        let room = self.limits.window as usize - self.carry.len();
        let piece = &input[..available.min(room)];
        let taken = if self.head.kind == BodyKind::Encoded {
            available
        } else if let Some(at) = self.delimiter(piece) {
            self.end_of_unit(&piece[..at]);
            if self.head.kind == BodyKind::Json {
                self.json.in_string = !self.json.in_string;
            }
            at + 1
        } else if piece.len() == room {
            self.window(piece);
            room
        } else if !self.head.chunked && piece.len() as u64 == *self.remaining {
            self.end_of_unit(piece);
            piece.len()
        } else {
            self.carry.extend_from_slice(piece);
            piece.len()
        };
        *self.remaining -= taken as u64;
        if *self.remaining == 0 {
            *self.phase = if self.head.chunked {
                Phase::ChunkEnd(0)
            } else {
                Phase::BodyEnd
            };
        }
        (taken, Event::Continue)
    }

    /// The offset of the byte that ends the unit at hand.
    fn delimiter(&mut self, piece: &[u8]) -> Option<usize> {
        match self.head.kind {
            BodyKind::Form => memchr::memchr(b'&', piece),
            BodyKind::Json => {
                let mut from = 0;
                if take(&mut self.json.escaped) {
                    from = 1;
                }
                while from <= piece.len() {
                    let at = from + memchr::memchr2(b'"', b'\\', &piece[from..])?;
                    if piece[at] == b'"' {
                        return Some(at);
                    }
                    from = at + if self.json.in_string { 2 } else { 1 };
                }
                self.json.escaped = true;
                None
            }
            BodyKind::Unknown | BodyKind::Text | BodyKind::Encoded => None,
        }
    }

    /// `piece` fills the window: scores it and keeps the overlap.
    fn window(&mut self, piece: &[u8]) {
        let overlap = self.limits.overlap as usize;
        if self.carry.is_empty() {
            self.unit(piece);
            self.carry.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            let mut window = take(self.carry);
            window.extend_from_slice(piece);
            self.unit(&window);
            window.drain(..window.len() - overlap);
            *self.carry = window;
        }
        *self.scored = overlap;
    }

    /// The unit ends with `piece`: scores what was not scored yet.
    pub(super) fn end_of_unit(&mut self, piece: &[u8]) {
        if self.carry.is_empty() {
            if !piece.is_empty() {
                self.unit(piece);
            }
        } else {
            let mut unit = take(self.carry);
            unit.extend_from_slice(piece);
            if unit.len() > *self.scored {
                self.unit(&unit);
            }
            unit.clear();
            *self.carry = unit;
        }
        *self.scored = 0;
    }

    fn unit(&mut self, text: &[u8]) {
        match self.head.kind {
            BodyKind::Form if *self.scored == 0 => {
                self.param(Target::Form, Target::FormName, text);
            }
            BodyKind::Form => {
                self.evaluator.field(
                    Place {
                        target: Target::Form,
                        name: b"",
                    },
                    text,
                    true,
                );
            }
            BodyKind::Json => {
                if self.json.in_string || !http::json_noise(text) {
                    self.evaluator.field(
                        Place {
                            target: Target::Json,
                            name: b"",
                        },
                        text,
                        false,
                    );
                }
            }
            BodyKind::Unknown if http::is_binary(text) => {}
            BodyKind::Unknown | BodyKind::Text => {
                self.evaluator.field(
                    Place {
                        target: Target::Body,
                        name: b"",
                    },
                    text,
                    false,
                );
            }
            BodyKind::Encoded => {}
        }
    }

    pub(super) fn chunk_size(&mut self, input: &[u8]) -> (usize, Event) {
        for (at, &byte) in input.iter().enumerate() {
            match self.chunk.push(byte, self.limits.chunk_line) {
                SizeLine::More => {}
                SizeLine::Bad => {
                    self.evaluator.violation(Violation::BadChunk, &[byte]);
                    return (at + 1, Event::Opaque(OpaqueKind::Unframed));
                }
                SizeLine::Done { size, extension } => {
                    if extension {
                        self.evaluator.violation(Violation::ChunkExtension, b"");
                    }
                    *self.chunk = ChunkSize::default();
                    *self.remaining = size;
                    *self.phase = if size == 0 { Phase::BodyEnd } else { Phase::Body };
                    return (at + 1, Event::Continue);
                }
            }
        }
        (input.len(), Event::Continue)
    }

    pub(super) fn chunk_end(&mut self, input: &[u8], seen: u8) -> (usize, Event) {
        let expected = if seen == 0 { b'\r' } else { b'\n' };
        if input[0] != expected {
            self.evaluator.violation(Violation::BadChunk, &input[..1]);
            return (1, Event::Opaque(OpaqueKind::Unframed));
        }
        *self.phase = if seen == 0 {
            Phase::ChunkEnd(1)
        } else {
            Phase::ChunkSize
        };
        (1, Event::Continue)
    }
}
