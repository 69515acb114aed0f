//! The cheap pre-screen of a TCP payload for `suspicious` services.
//!
//! It passes a segment only if it is exactly one complete `GET` or `HEAD` request without a body whose bytes are
//! those of the plainest requests; everything else goes to the engine. As every client byte of a flow that was
//! not redirected has passed, the first segment that fails starts at the head of a request, which makes the
//! switch to inspection safe in mid-flow. One pass, a table look-up a byte.

/// Longest payload that is judged; a longer one fails.
pub const MAX_LENGTH: usize = 1460;

/// The byte may stand in a request line.
const LINE: u8 = 1;
/// The byte may stand in a header line.
const HEADER: u8 = 2;
/// A pair of two such bytes in the request line fails: `..`, `//`, `/.`, `=/`, `=.`.
const PATH: u8 = 4;

/// What each byte may be part of.
pub static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b' ' | b'/' | b'.' | b'_' | b'-' | b'?' | b'=' | b'&' | b',' | b'~'
            )
        {
            class |= LINE;
        }
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b' ' | b'/'
                    | b'.'
                    | b'_'
                    | b'-'
                    | b'?'
                    | b'='
                    | b'&'
                    | b','
                    | b'~'
                    | b'['
                    | b']'
                    | b':'
                    | b';'
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b'"'
            )
        {
            class |= HEADER;
        }
        if matches!(b, b'.' | b'/' | b'=') {
            class |= PATH;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

/// The state of one pass over a payload. Feed every byte with [`Prescreen::step`], then ask [`Prescreen::passes`].
#[derive(Clone, Copy, Debug)]
pub struct Prescreen {
    previous: u8,
    /// Bytes of the current line.
    column: u32,
    /// 0 in the request line, 1 in the headers, 2 after the blank line.
    phase: u8,
}

impl Prescreen {
    /// The start of a payload, given its first four bytes (big-endian); `None` if it is not a method that passes.
    #[inline(always)]
    #[must_use]
    pub fn start(head: u32) -> Option<Self> {
        const GET: u32 = u32::from_be_bytes(*b"GET ");
        const HEAD: u32 = u32::from_be_bytes(*b"HEAD");
        (head == GET || head == HEAD).then_some(Self {
            previous: 0,
            column: 0,
            phase: 0,
        })
    }

    /// Takes the next byte; `false` fails the payload.
    #[inline(always)]
    pub fn step(&mut self, byte: u8, class: u8) -> bool {
        if self.phase > 1 {
            return false;
        }
        if byte == b'\n' {
            if self.previous != b'\r' {
                return false;
            }
            self.phase = if self.column == 1 { 2 } else { 1 };
            self.column = 0;
            self.previous = byte;
            return true;
        }
        if byte != b'\r' {
            if self.previous == b'\r' {
                return false;
            }
            let wanted = if self.phase == 0 { LINE } else { HEADER };
            if class & wanted == 0 {
                return false;
            }
            if self.phase == 1 && announces_body(self.column, self.previous, byte) {
                return false;
            }
            let dots = byte == b'.' && self.previous == b'.';
            let pair = self.phase == 0 && class & PATH != 0 && byte != b'=' && path_byte(self.previous);
            if dots || pair {
                return false;
            }
        }
        self.previous = byte;
        self.column += 1;
        true
    }

    /// Whether the payload ended with the blank line of its only request.
    #[inline(always)]
    #[must_use]
    pub fn passes(&self) -> bool {
        self.phase == 2
    }
}

/// `Upgrade`, `Transfer-Encoding` (and `Trailer`), `Content-…`: what follows such a request need not be one.
#[inline(always)]
fn announces_body(column: u32, previous: u8, byte: u8) -> bool {
    let (previous, byte) = (previous | 0x20, byte | 0x20);
    match column {
        1 => (previous == b'u' && byte == b'p') || (previous == b't' && byte == b'r'),
        3 => previous == b'n' && byte == b't',
        _ => false,
    }
}

#[inline(always)]
fn path_byte(byte: u8) -> bool {
    byte == b'.' || byte == b'/' || byte == b'='
}

/// Runs the pre-screen over a whole payload.
#[must_use]
pub fn passes(payload: &[u8]) -> bool {
    let Some(head) = payload.first_chunk() else {
        return false;
    };
    let Some(mut prescreen) = Prescreen::start(u32::from_be_bytes(*head)) else {
        return false;
    };
    payload.len() <= MAX_LENGTH
        && payload
            .iter()
            .all(|&byte| prescreen.step(byte, CLASSES[usize::from(byte)]))
        && prescreen.passes()
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_pass_and_the_rest_fails() {
        for (payload, expected) in samples::TABLE {
            assert_eq!(passes(payload.as_bytes()), *expected, "{payload:?}");
        }
    }
}
