//! Decoders, made at start and lent to the requests that need one.

use super::Coding;
use super::brotli::BrotliDecoder;
use super::inflate::Inflater;
use super::stack::Decoder;

/// A fixed number of decoders.
#[derive(Debug)]
pub(crate) struct DecoderPool {
    inflaters: Vec<Box<Inflater>>,
    #[expect(clippy::vec_box, reason = "requests take the boxes as they are")]
    brotli: Vec<Box<BrotliDecoder>>,
}

impl DecoderPool {
    /// 43 KiB for each of `inflaters`; 7.5 MiB for each of `brotli`, of which 4 MiB are touched only as far
    /// as they are used.
    pub(crate) fn new(inflaters: u16, brotli: u16) -> Self {
        Self {
            inflaters: (0..inflaters).map(|_| Box::new(Inflater::new())).collect(),
            brotli: (0..brotli).map(|_| Box::new(BrotliDecoder::new())).collect(),
        }
    }

    /// A decoder at the start of a stream, if one is free.
    pub(super) fn take(&mut self, coding: Coding) -> Option<Decoder> {
        match coding {
            Coding::Gzip | Coding::Deflate => {
                let mut inflater = self.inflaters.pop()?;
                inflater.begin(coding == Coding::Gzip);
                Some(Decoder::Inflate(inflater))
            }
            Coding::Brotli => {
                let mut decoder = self.brotli.pop()?;
                decoder.begin();
                Some(Decoder::Brotli(decoder))
            }
        }
    }

    pub(super) fn give_back(&mut self, decoder: Decoder) {
        match decoder {
            Decoder::Inflate(inflater) => self.inflaters.push(inflater),
            Decoder::Brotli(mut decoder) => {
                decoder.end();
                self.brotli.push(decoder);
            }
        }
    }
}
