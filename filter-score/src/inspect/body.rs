//! The framing of a body: its length, or the chunks it comes in.

use super::{Event, Inspection};
use crate::http::{ChunkSize, SizeLine, Violation};
use crate::request::Phase;
use crate::verdict::OpaqueKind;

impl Inspection<'_> {
    pub(super) fn body(&mut self, input: &[u8]) -> (usize, Event) {
        let available = input
            .len()
            .min(usize::try_from(*self.remaining).unwrap_or(usize::MAX));
        let last = !self.head.chunked && available as u64 == *self.remaining;
        let taken = self.take_content(&input[..available], last);
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
