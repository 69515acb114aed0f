//! The decoders of one body: the codings, outermost first.

use super::brotli::BrotliDecoder;
use super::inflate::Inflater;
use super::{Coding, Codings, DecoderPool, Progress};

/// Expansion is looked at from so many decoded bytes on.
const FREE_BYTES: u64 = 64 * 1024;
/// Encoded bytes are counted in steps of so many, so that what a decoder has read ahead does not matter.
const STEP: u64 = 4096;

#[derive(Debug)]
pub(super) enum Decoder {
    Inflate(Box<Inflater>),
    Brotli(Box<BrotliDecoder>),
}

impl Decoder {
    fn pending(&self) -> &[u8] {
        match self {
            Self::Inflate(decoder) => decoder.pending(),
            Self::Brotli(decoder) => decoder.pending(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Inflate(decoder) => decoder.advance(count),
            Self::Brotli(decoder) => decoder.advance(count),
        }
    }

    fn decode(&mut self, input: &[u8]) -> (usize, Progress) {
        match self {
            Self::Inflate(decoder) => decoder.decode(input),
            Self::Brotli(decoder) => decoder.decode(input),
        }
    }

    /// Decoded bytes, if it is time to look at them: when a window is full, whatever the segments.
    fn milestone(&self) -> Option<u64> {
        match self {
            Self::Inflate(decoder) => decoder.window_full().then(|| decoder.total()),
            Self::Brotli(decoder) => decoder.window_full().then(|| decoder.total()),
        }
    }
}

#[derive(Debug)]
struct Stage {
    decoder: Decoder,
    progress: Progress,
}

impl Stage {
    fn decode(&mut self, input: &[u8]) -> usize {
        let (consumed, progress) = self.decoder.decode(input);
        self.progress = progress;
        consumed
    }
}

/// What the stack has to offer without more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Content is pending.
    Content,
    /// Text of a gzip header is pending.
    HeaderText,
    /// Nothing without more input.
    Input,
    Corrupt,
    /// The body begins with so many bytes of a gzip header, but has none.
    Mismatch(u8),
    /// More output than the limits allow.
    TooLarge,
}

/// The decoders of a body, or none.
#[derive(Debug, Default)]
pub(crate) struct DecoderStack {
    /// Where encoded bytes come in, and where decoded ones go out if there is no other.
    outer: Option<Stage>,
    inner: Option<Stage>,
    encoded: u64,
    /// The head says that the body is encoded; otherwise it only looks like it.
    declared: bool,
    /// From the first encoded byte to the end of the body.
    active: bool,
}

impl DecoderStack {
    /// Takes decoders from the pool. False if there are too few.
    pub(crate) fn begin(&mut self, codings: Codings, declared: bool, pool: &mut DecoderPool) -> bool {
        for coding in codings.outermost_first() {
            let Some(decoder) = pool.take(coding) else {
                self.end(pool);
                return false;
            };
            let stage = Some(Stage {
                decoder,
                progress: Progress::Input,
            });
            if self.outer.is_none() {
                self.outer = stage;
            } else {
                self.inner = stage;
            }
        }
        self.encoded = 0;
        self.declared = declared;
        self.active = true;
        true
    }

    /// Takes a decoder for what looks like gzip. False if there is none.
    pub(crate) fn begin_gzip(&mut self, pool: &mut DecoderPool) -> bool {
        let mut codings = Codings::default();
        codings.list[0] = Some(Coding::Gzip);
        self.begin(codings, false, pool)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.declared
    }

    /// Gives the decoders back; the body is still an encoded one.
    pub(crate) fn stop(&mut self, pool: &mut DecoderPool) {
        for stage in [self.outer.take(), self.inner.take()].into_iter().flatten() {
            pool.give_back(stage.decoder);
        }
    }

    pub(crate) fn end(&mut self, pool: &mut DecoderPool) {
        self.stop(pool);
        self.active = false;
    }

    /// Feeds encoded bytes and says how many were taken. Nothing may be pending.
    pub(crate) fn feed(&mut self, input: &[u8]) -> usize {
        let Some(outer) = &mut self.outer else {
            return input.len();
        };
        let consumed = outer.decode(input);
        self.encoded += consumed as u64;
        consumed
    }

    /// Decodes on without more input, until something is pending or nothing is left.
    pub(crate) fn pump(&mut self, limits: &crate::policy::Limits) -> Pumped {
        let Some(outer) = &mut self.outer else {
            return Pumped::Input;
        };
        let encoded = self.encoded.next_multiple_of(STEP);
        let too_large = |decoder: &Decoder| {
            decoder.milestone().is_some_and(|decoded| {
                decoded > u64::from(limits.decoded_bytes)
                    || (decoded > FREE_BYTES && decoded > encoded * u64::from(limits.decoded_ratio))
            })
        };
        loop {
            let single = self.inner.is_none();
            let last = self.inner.as_mut().unwrap_or(outer);
            if !last.decoder.pending().is_empty() {
                return match last.progress {
                    Progress::Header => Pumped::HeaderText,
                    _ if too_large(&last.decoder) => Pumped::TooLarge,
                    _ => Pumped::Content,
                };
            }
            match last.progress {
                Progress::Output | Progress::Header => {
                    last.decode(&[]);
                    continue;
                }
                Progress::Mismatch(count) if single => return Pumped::Mismatch(count),
                Progress::Corrupt | Progress::Mismatch(_) => return Pumped::Corrupt,
                Progress::Input | Progress::End => {}
            }
            let Some(inner) = &mut self.inner else {
                return Pumped::Input;
            };
            if !outer.decoder.pending().is_empty() {
                if outer.progress == Progress::Header {
                    return Pumped::HeaderText;
                }
                if too_large(&outer.decoder) {
                    return Pumped::TooLarge;
                }
                let consumed = inner.decode(outer.decoder.pending());
                outer.decoder.advance(consumed);
                continue;
            }
            match outer.progress {
                Progress::Output | Progress::Header => {
                    outer.decode(&[]);
                }
                Progress::Corrupt => return Pumped::Corrupt,
                Progress::Mismatch(count) => return Pumped::Mismatch(count),
                Progress::Input | Progress::End => return Pumped::Input,
            }
        }
    }

    /// The decoders, so that what is pending can be read while the rest of the request changes. What is
    /// left is as active as before.
    pub(crate) fn lend(&mut self) -> Self {
        let active = self.active;
        std::mem::replace(
            self,
            Self {
                active,
                ..Self::default()
            },
        )
    }

    /// What is pending: content, or the text of a header.
    pub(crate) fn pending(&self) -> &[u8] {
        self.offering().map_or(&[], |stage| stage.decoder.pending())
    }

    /// So many of the pending bytes were taken.
    pub(crate) fn advance(&mut self, count: usize) {
        let inner = self
            .inner
            .as_mut()
            .filter(|stage| !stage.decoder.pending().is_empty());
        if let Some(stage) = inner.or(self.outer.as_mut()) {
            stage.decoder.advance(count);
        }
    }

    fn offering(&self) -> Option<&Stage> {
        self.inner
            .as_ref()
            .filter(|stage| !stage.decoder.pending().is_empty())
            .or(self.outer.as_ref())
    }

    /// Whether the body may end here.
    pub(crate) fn is_complete(&self) -> bool {
        let complete =
            |stage: &Option<Stage>| stage.as_ref().is_none_or(|stage| stage.progress == Progress::End);
        complete(&self.outer) && complete(&self.inner)
    }
}
