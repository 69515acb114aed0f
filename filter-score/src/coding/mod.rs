//! Content and transfer codings (RFC 9110 §8.4, RFC 9112 §7.2): decoders of streams, in a pool made at start.

mod brotli;
mod inflate;
mod pool;
mod stack;

pub(crate) use pool::DecoderPool;
pub(crate) use stack::{DecoderStack, Pumped};

use serde::{Deserialize, Serialize};

use crate::http::trim;

/// Bytes a decoder hands out at once at most, and the history that DEFLATE refers to (RFC 1951 §2).
const WINDOW: usize = 32 * 1024;

/// A compression that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// The zlib format (RFC 1950), or bare DEFLATE (RFC 1951), which some clients send instead.
    Deflate,
    /// RFC 7932.
    Brotli,
}

/// What became of a step of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More input is needed.
    Input,
    /// There may be more output without more input.
    Output,
    /// The header is complete, and had text in it: that is what is pending.
    Header,
    /// The stream is complete. Input after it begins another, or is an error.
    End,
    /// The stream is not of this format.
    Corrupt,
    /// So many bytes at the start look like a gzip header, and the next does not.
    Mismatch(u8),
}

/// The codings of a body in the order they were applied, at most two.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Codings {
    list: [Option<Coding>; 2],
}

/// Why a coding was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodingError {
    Unknown,
    TooMany,
}

impl Codings {
    /// Adds the codings of a Content-Encoding.
    pub(crate) fn add(&mut self, value: &[u8]) -> Result<(), CodingError> {
        for name in value.split(|byte| *byte == b',').map(trim) {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let coding = if is("gzip") || is("x-gzip") {
                Coding::Gzip
            } else if is("deflate") {
                Coding::Deflate
            } else if is("br") {
                Coding::Brotli
            } else if name.is_empty() || is("identity") {
                continue;
            } else {
                return Err(CodingError::Unknown);
            };
            self.push(coding)?;
        }
        Ok(())
    }

    fn push(&mut self, coding: Coding) -> Result<(), CodingError> {
        let free = self.list.iter_mut().find(|place| place.is_none());
        *free.ok_or(CodingError::TooMany)? = Some(coding);
        Ok(())
    }

    /// These, and then `outer`.
    pub(crate) fn then(mut self, outer: Self) -> Result<Self, CodingError> {
        for coding in outer.list.into_iter().flatten() {
            self.push(coding)?;
        }
        Ok(self)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.list[0].is_none()
    }

    /// In the order they are taken off.
    fn outermost_first(self) -> impl Iterator<Item = Coding> {
        self.list.into_iter().rev().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let table: &[(&str, Result<&[Coding], CodingError>)] = &[
            ("gzip", Ok(&[Coding::Gzip])),
            ("X-GZIP , identity", Ok(&[Coding::Gzip])),
            ("gzip, br", Ok(&[Coding::Brotli, Coding::Gzip])),
            ("", Ok(&[])),
            ("deflate,,", Ok(&[Coding::Deflate])),
            ("gzip, gzip, gzip", Err(CodingError::TooMany)),
            ("zstd", Err(CodingError::Unknown)),
            ("gzip;q=1", Err(CodingError::Unknown)),
        ];
        for (value, expected) in table {
            let mut codings = Codings::default();
            let added = codings.add(value.as_bytes());
            let found: Vec<_> = codings.outermost_first().collect();
            assert_eq!(added.map(|()| &found[..]), *expected, "{value}");
        }
    }
}
