//! Chunk-size lines (RFC 9112 §7.1), read byte by byte without a buffer.

use serde::{Deserialize, Serialize};

/// A chunk-size line in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkSize {
    size: u64,
    digits: u8,
    bytes: u16,
    state: Part,
    extension: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    #[default]
    Digits,
    Extension,
    LineFeed,
}

/// What a byte made of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeLine {
    More,
    Done { size: u64, extension: bool },
    Bad,
}

impl ChunkSize {
    /// Takes one byte. Anything but hexadecimal digits, an extension without control bytes and CRLF is
    /// bad, as is a line of more than `limit` bytes or a size of more than 60 bits.
    pub(crate) fn push(&mut self, byte: u8, limit: u16) -> SizeLine {
        self.bytes += 1;
        if self.bytes > limit {
            return SizeLine::Bad;
        }
        match (self.state, byte) {
            (Part::Digits, _) if crate::decode::hex(byte).is_some() => {
                self.digits += 1;
                if self.digits > 15 {
                    return SizeLine::Bad;
                }
                self.size = self.size << 4 | u64::from(crate::decode::hex(byte).unwrap_or(0));
            }
            (Part::Digits, b';') if self.digits > 0 => {
                self.state = Part::Extension;
                self.extension = true;
            }
            (Part::Digits, b'\r') if self.digits > 0 => self.state = Part::LineFeed,
            (Part::Extension, b'\r') => self.state = Part::LineFeed,
            (Part::Extension, b'\t' | b' '..=0x7e) => {}
            (Part::LineFeed, b'\n') => {
                return SizeLine::Done {
                    size: self.size,
                    extension: self.extension,
                };
            }
            _ => return SizeLine::Bad,
        }
        SizeLine::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> SizeLine {
        let mut state = ChunkSize::default();
        let mut result = SizeLine::More;
        for byte in line.bytes() {
            result = state.push(byte, 64);
            if result == SizeLine::Bad {
                break;
            }
        }
        result
    }

    #[test]
    fn table() {
        let done = |size, extension| SizeLine::Done { size, extension };
        let table = [
            ("0\r\n", done(0, false)),
            ("1aF\r\n", done(0x1af, false)),
            ("000005\r\n", done(5, false)),
            ("5;a=b\r\n", done(5, true)),
            ("5", SizeLine::More),
            ("\r\n", SizeLine::Bad),
            ("5\n", SizeLine::Bad),
            ("5 \r\n", SizeLine::Bad),
            ("0x5\r\n", SizeLine::Bad),
            ("-5\r\n", SizeLine::Bad),
            ("5\r\r\n", SizeLine::Bad),
            ("5;\n", SizeLine::Bad),
            ("ffffffffffffffff\r\n", SizeLine::Bad),
        ];
        for (line, expected) in table {
            assert_eq!(read(line), expected, "{line:?}");
        }
        assert_eq!(read(&format!("5;{}", "a".repeat(80))), SizeLine::Bad);
    }
}
