//! The framing of a body: its length, or the chunks it comes in.

use std::mem::take;

use super::{Event, Inspection};
use crate::http::{BodyKind, ChunkSize, SizeLine, Violation};
use crate::request::Phase;
use crate::verdict::OpaqueKind;

impl Inspection<'_> {
    pub(super) fn body(&mut self, input: &[u8]) -> (usize, Event) {
        let available = input
            .len()
            .min(usize::try_from(*self.remaining).unwrap_or(usize::MAX));
        if *self.body_bytes == 0
            && let Some(event) = self.coding_begin()
        {
            return (0, event);
        }
        let mut piece = &input[..available];
        let limit = self.limits.body_bytes;
        if limit > 0 && self.content.kind != BodyKind::Unscored {
            let room = limit - *self.body_bytes;
            if room == 0 {
                self.overflow(self.limits.body_overflow, Violation::BodyTooLarge);
                return (0, Event::Continue);
            }
            piece = &piece[..piece.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        }
        let encoded = self.decoders.is_active();
        let taken = if encoded {
            self.decoders.feed(piece)
        } else {
            let last = !self.head.chunked && piece.len() as u64 == *self.remaining;
            self.take_content(piece, last)
        };
        *self.remaining -= taken as u64;
        *self.body_bytes += taken as u64;
        if encoded {
            *self.phase = Phase::Decoded;
        } else {
            self.body_continues();
        }
        if take(&mut self.content.exhausted) {
            return (taken, Event::Exhausted);
        }
        (taken, Event::Continue)
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
