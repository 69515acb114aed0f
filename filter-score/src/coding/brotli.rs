//! Brotli (RFC 7932) as a stream, in memory that is taken once.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brotli_decompressor::{
    Allocator, BrotliDecoderParameter, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode,
    SliceWrapper, SliceWrapperMut,
};

use super::{Progress, WINDOW};

/// The largest window, as a power of two: 4 MiB, the default of encoders. A stream that asks for more
/// counts as corrupt.
const WINDOW_BITS: u32 = 22;
/// What the ring buffer has beside its window; the decoder asks for 542 bytes.
const RING_SLACK: usize = 4096;
/// Trees of a group (RFC 7932 §7.3), and codes of a tree as the decoder stores them.
const TREES: usize = 256;
const CODES: usize = 1080;
/// Codes of the decoder's other tables, each of which it has once and keeps.
const TABLES: [usize; 3] = [646, 3 * 632, 3 * 396];
/// Entries of a context map: 256 block types of 64 contexts.
const CONTEXTS: usize = 256 * 64;

/// Memory that the decoder borrows: the first `length` elements.
struct Cell<T> {
    memory: Vec<T>,
    length: usize,
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self {
            memory: Vec::new(),
            length: 0,
        }
    }
}

impl<T> SliceWrapper<T> for Cell<T> {
    fn slice(&self) -> &[T] {
        &self.memory[..self.length]
    }
}

impl<T> SliceWrapperMut<T> for Cell<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.memory[..self.length]
    }
}

/// Free memory of one type. The decoder needs at most so many pieces at once, of at most such lengths:
/// what does not fit is refused, and the decoder fails.
struct Shelf<T>(Arc<Mutex<Vec<Vec<T>>>>);

impl<T: Clone> Shelf<T> {
    /// `zero` is all zero bytes: such memory is not touched before it is used.
    fn new(zero: T, lengths: &[usize]) -> Self {
        let pieces = lengths.iter().map(|length| vec![zero.clone(); *length]).collect();
        Self(Arc::new(Mutex::new(pieces)))
    }

    fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Vec<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Allocator<T> for Shelf<T> {
    type AllocatedMemory = Cell<T>;

    fn alloc_cell(&mut self, length: usize) -> Cell<T> {
        let mut pieces = self.pieces();
        let fitting = pieces
            .iter()
            .enumerate()
            .filter(|(_, piece)| length > 0 && piece.len() >= length)
            .min_by_key(|(_, piece)| piece.len());
        match fitting.map(|(index, _)| index) {
            Some(index) => Cell {
                memory: pieces.swap_remove(index),
                length,
            },
            None => Cell::default(),
        }
    }

    fn free_cell(&mut self, cell: Cell<T>) {
        if !cell.memory.is_empty() {
            self.pieces().push(cell.memory);
        }
    }
}

type State = BrotliState<Shelf<u8>, Shelf<u32>, Shelf<HuffmanCode>>;

/// A decoder with the memory that it may use, and a buffer of which it hands out slices.
pub(super) struct BrotliDecoder {
    state: Option<State>,
    bytes: Shelf<u8>,
    words: Shelf<u32>,
    codes: Shelf<HuffmanCode>,
    buffer: Box<[u8]>,
    position: usize,
    pending: Range<usize>,
    total: u64,
    progress: Progress,
}

impl fmt::Debug for BrotliDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { progress, total, .. } = self;
        write!(f, "BrotliDecoder({progress:?}, {total} bytes)")
    }
}

impl BrotliDecoder {
    pub(super) fn new() -> Self {
        let group = TREES * CODES;
        let [literals, commands, distances] = TABLES;
        let zero = HuffmanCode { value: 0, bits: 0 };
        Self {
            state: None,
            bytes: Shelf::new(
                0,
                &[
                    (1 << WINDOW_BITS) + RING_SLACK,
                    CONTEXTS,
                    CONTEXTS,
                    CONTEXTS,
                    CONTEXTS,
                ],
            ),
            words: Shelf::new(0, &[TREES; 3]),
            codes: Shelf::new(zero, &[group, group, group, literals, commands, distances]),
            buffer: vec![0; WINDOW].into(),
            position: 0,
            pending: 0..0,
            total: 0,
            progress: Progress::Input,
        }
    }

    pub(super) fn begin(&mut self) {
        // The old state gives its memory back before the new one takes some.
        self.state = None;
        let mut state = State::new_strict(self.bytes.handle(), self.words.handle(), self.codes.handle());
        // At once in its full size: growing needs both the old memory and the new.
        state.set_parameter(
            BrotliDecoderParameter::BROTLI_DECODER_PARAM_DISABLE_RING_BUFFER_REALLOCATION,
            1,
        );
        self.state = Some(state);
        self.position = 0;
        self.pending = 0..0;
        self.total = 0;
        self.progress = Progress::Input;
    }

    /// Gives back what the stream took of the memory.
    pub(super) fn end(&mut self) {
        self.state = None;
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.pending.clone()]
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.pending.start += count;
    }

    /// Bytes decoded so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether a window's worth of output has just come.
    pub(super) fn window_full(&self) -> bool {
        self.pending.end == WINDOW
    }

    /// Takes input until there is output. Nothing may be pending.
    pub(super) fn decode(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        loop {
            match self.progress {
                Progress::Corrupt => return (input.len(), Progress::Corrupt),
                Progress::End if at < input.len() => {
                    self.progress = Progress::Corrupt;
                    continue;
                }
                Progress::End => return (at, Progress::End),
                Progress::Input if at == input.len() => return (at, Progress::Input),
                _ => {}
            }
            // Byte by byte: what comes out before an error, and whether metadata is seen, must not depend
            // on the segments.
            let end = input.len().min(at + 1);
            at += self.step(&input[at..end]);
            if !self.pending.is_empty() {
                // An error or the end is told after what came before it.
                return (at, Progress::Output);
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> usize {
        let Some(state) = &mut self.state else {
            self.progress = Progress::Corrupt;
            return input.len();
        };
        let (mut left, mut taken) = (input.len(), 0);
        let (mut room, mut position) = (WINDOW - self.position, self.position);
        let mut total = 0;
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut position,
            &mut self.buffer[..],
            &mut total,
            state,
        );
        self.progress = match result {
            BrotliResult::ResultSuccess => Progress::End,
            BrotliResult::NeedsMoreInput => Progress::Input,
            BrotliResult::NeedsMoreOutput => Progress::Output,
            BrotliResult::ResultFailure => Progress::Corrupt,
        };
        // Metadata is text that no decoder shows (RFC 7932 §9.2), but a target that ignores the coding reads.
        if state.is_metadata != 0 && state.meta_block_remaining_len > 0 {
            self.progress = Progress::Corrupt;
        }
        self.total += (position - self.position) as u64;
        self.pending = self.position..position;
        self.position = position % WINDOW;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encode(text: &[u8], window_bits: u32) -> Vec<u8> {
        let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, window_bits);
        writer.write_all(text).unwrap();
        writer.into_inner()
    }

    fn decode(decoder: &mut BrotliDecoder, bytes: &[u8], segment: usize) -> (Vec<u8>, Progress) {
        decoder.begin();
        let mut out = Vec::new();
        let mut progress = Progress::Input;
        for mut input in bytes.chunks(segment) {
            loop {
                let (consumed, now) = decoder.decode(input);
                input = &input[consumed..];
                out.extend_from_slice(decoder.pending());
                decoder.advance(decoder.pending().len());
                progress = now;
                if now == Progress::Corrupt {
                    return (out, now);
                }
                if input.is_empty() && now != Progress::Output {
                    break;
                }
            }
        }
        (out, progress)
    }

    #[test]
    fn streams_in_any_segmentation_with_the_same_memory() {
        let text: Vec<u8> = (0..60_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut decoder = BrotliDecoder::new();
        let pieces = decoder.codes.pieces().len();
        for window_bits in [10, 16, 22] {
            let stream = encode(&text, window_bits);
            for segment in [1, 100, stream.len()] {
                let (out, progress) = decode(&mut decoder, &stream, segment);
                assert!(out == text, "{} bytes of {}", out.len(), text.len());
                assert_eq!(progress, Progress::End);
                let cut = &stream[..stream.len() - 1];
                assert_eq!(decode(&mut decoder, cut, segment).1, Progress::Input);
                let trailing = [&stream[..], b"x"].concat();
                assert_eq!(decode(&mut decoder, &trailing, segment).1, Progress::Corrupt);
            }
        }
        decoder.end();
        assert_eq!(decoder.codes.pieces().len(), pieces, "all memory came back");
    }

    #[test]
    fn what_is_refused() {
        let mut decoder = BrotliDecoder::new();
        let large = encode(&b"large window ".repeat(1000), 24);
        assert_eq!(decode(&mut decoder, &large, 50).1, Progress::Corrupt);
        assert_eq!(decode(&mut decoder, b"a=1&b=2&c=3&d=4", 50).1, Progress::Corrupt);
        // Window of 2^16; a metadata block (RFC 7932 §9.2) of 40 bytes, then the empty last block.
        let text = *b"&q=<script>alert(1)</script>&0123456789&";
        let metadata = [&[0xac, 0x13][..], &text, &[0x03]].concat();
        for segment in [1, 50] {
            let (out, progress) = decode(&mut decoder, &metadata, segment);
            assert_eq!((out.len(), progress), (0, Progress::Corrupt));
        }
    }
}
