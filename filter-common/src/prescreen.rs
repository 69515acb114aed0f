//! The cheap pre-screen of a TCP payload for `suspicious` services.
//!
//! It passes a segment only if it is exactly one complete `GET` or `HEAD` request without a body whose bytes are
//! those of the plainest requests; everything else goes to the engine. As every client byte of a flow that was
//! not redirected has passed, the first segment that fails starts at the head of a request, which makes the
//! switch to inspection safe in mid-flow. One pass of a finite automaton, a table look-up for two bytes.

/// Longest payload that is judged; a longer one fails.
pub const MAX_LENGTH: usize = 1460;

/// Bytes that are taken at a time.
pub const WORD: usize = size_of::<u64>();

/// What a byte is to the automaton.
mod class {
    /// Stands in no plain request.
    pub(super) const OTHER: u8 = 0;
    pub(super) const CR: u8 = 1;
    pub(super) const LF: u8 = 2;
    pub(super) const DOT: u8 = 3;
    pub(super) const SLASH: u8 = 4;
    pub(super) const EQUALS: u8 = 5;
    /// Letters that field names of requests with a body begin with.
    pub(super) const U: u8 = 6;
    pub(super) const T: u8 = 7;
    pub(super) const P: u8 = 8;
    pub(super) const R: u8 = 9;
    pub(super) const N: u8 = 10;
    /// Any other that may stand in a request line and in a header line.
    pub(super) const PLAIN: u8 = 11;
    /// May stand in a header line alone.
    pub(super) const HEADER: u8 = 12;
}

/// Where in a request the automaton is: behind the bytes that were taken.
mod state {
    /// In the request line.
    pub(super) const REQUEST: u8 = 0;
    /// In the request line, behind `.`, `/` or `=`: neither `.` nor `/` may follow, as in `..`, `//`, `/.`, `=/`, `=.`.
    pub(super) const PATH: u8 = 1;
    /// Behind the CR of a line that is not empty.
    pub(super) const CR: u8 = 2;
    /// At the start of a header line, or of the blank one.
    pub(super) const LINE: u8 = 3;
    /// Behind the CR of the blank line.
    pub(super) const BLANK: u8 = 4;
    /// One byte into a header line; the other states are those behind bytes that matter to the next.
    pub(super) const FIRST: u8 = 5;
    pub(super) const FIRST_DOT: u8 = 6;
    pub(super) const FIRST_U: u8 = 7;
    pub(super) const FIRST_T: u8 = 8;
    /// Two bytes.
    pub(super) const SECOND: u8 = 9;
    pub(super) const SECOND_DOT: u8 = 10;
    /// Three bytes.
    pub(super) const THIRD: u8 = 11;
    pub(super) const THIRD_DOT: u8 = 12;
    pub(super) const THIRD_N: u8 = 13;
    /// More of them.
    pub(super) const REST: u8 = 14;
    pub(super) const REST_DOT: u8 = 15;
    /// Behind the blank line.
    pub(super) const END: u8 = 16;
    /// The payload is not one plain request.
    pub(super) const FAILED: u8 = 17;
    /// A power of two above them.
    pub(super) const COUNT: usize = 32;
}

/// The class of each byte.
static CLASSES: [u8; 256] = classes();

/// The state behind two bytes: by the state before them, and by their classes, the first in the upper half.
static NEXT: [[u8; 256]; state::COUNT] = pairs();

const fn classes() -> [u8; 256] {
    let mut table = [class::OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\r' => class::CR,
            b'\n' => class::LF,
            b'.' => class::DOT,
            b'/' => class::SLASH,
            b'=' => class::EQUALS,
            b'u' | b'U' => class::U,
            b't' | b'T' => class::T,
            b'p' | b'P' => class::P,
            b'r' | b'R' => class::R,
            b'n' | b'N' => class::N,
            b if b.is_ascii_alphanumeric() => class::PLAIN,
            b' ' | b'_' | b'-' | b'?' | b'&' | b',' | b'~' => class::PLAIN,
            b'[' | b']' | b':' | b';' | b'(' | b')' | b'*' | b'+' | b'"' => class::HEADER,
            _ => class::OTHER,
        };
        byte += 1;
    }
    table
}

const fn pairs() -> [[u8; 256]; state::COUNT] {
    let mut table = [[state::FAILED; 256]; state::COUNT];
    let mut state = 0;
    while state < state::FAILED {
        let mut pair = 0;
        while pair < 256 {
            let (first, second) = (pair as u8 >> 4, pair as u8 & 0xf);
            table[state as usize][pair] = next(next(state, first), second);
            pair += 1;
        }
        state += 1;
    }
    table
}

/// The state behind a byte.
const fn next(before: u8, byte: u8) -> u8 {
    match before {
        state::REQUEST | state::PATH => match byte {
            class::CR => state::CR,
            class::DOT | class::SLASH if before == state::PATH => state::FAILED,
            class::DOT | class::SLASH | class::EQUALS => state::PATH,
            class::U | class::T | class::P | class::R | class::N | class::PLAIN => state::REQUEST,
            _ => state::FAILED,
        },
        state::CR => match byte {
            class::CR => state::CR,
            class::LF => state::LINE,
            _ => state::FAILED,
        },
        state::BLANK => match byte {
            class::CR => state::CR,
            class::LF => state::END,
            _ => state::FAILED,
        },
        state::END | state::FAILED => state::FAILED,
        _ => match byte {
            class::CR if before == state::LINE => state::BLANK,
            class::CR => state::CR,
            class::DOT..=class::HEADER => in_header(before, byte),
            _ => state::FAILED,
        },
    }
}

/// The same in a header line. `Upgrade`, `Transfer-Encoding` (and `Trailer`), `Content-…`: what follows such a request need not be
/// one.
const fn in_header(before: u8, byte: u8) -> u8 {
    match (before, byte) {
        (state::FIRST_DOT | state::SECOND_DOT | state::THIRD_DOT | state::REST_DOT, class::DOT)
        | (state::FIRST_U, class::P)
        | (state::FIRST_T, class::R)
        | (state::THIRD_N, class::T) => state::FAILED,
        (state::LINE, class::DOT) => state::FIRST_DOT,
        (state::LINE, class::U) => state::FIRST_U,
        (state::LINE, class::T) => state::FIRST_T,
        (state::LINE, _) => state::FIRST,
        (state::FIRST..=state::FIRST_T, class::DOT) => state::SECOND_DOT,
        (state::FIRST..=state::FIRST_T, _) => state::SECOND,
        (state::SECOND, class::DOT) => state::THIRD_DOT,
        (state::SECOND | state::SECOND_DOT, class::N) => state::THIRD_N,
        (state::SECOND | state::SECOND_DOT, _) => state::THIRD,
        (_, class::DOT) => state::REST_DOT,
        _ => state::REST,
    }
}

/// The state of one pass over a payload: feed it with [`Prescreen::take`], then ask [`Prescreen::passes`].
#[derive(Clone, Copy, Debug)]
pub struct Prescreen {
    state: u8,
}

impl Prescreen {
    /// The start of a payload, given its first four bytes (big-endian); `None` if it is not a method that passes.
    #[inline(always)]
    #[must_use]
    pub fn start(head: u32) -> Option<Self> {
        const GET: u32 = u32::from_be_bytes(*b"GET ");
        const HEAD: u32 = u32::from_be_bytes(*b"HEAD");
        (head == GET || head == HEAD).then_some(Self {
            state: state::REQUEST,
        })
    }

    /// How many bytes have to go before a payload of `length` bytes, so that all of it are whole words.
    #[inline(always)]
    #[must_use]
    pub const fn padding(length: usize) -> usize {
        length.wrapping_neg() % WORD
    }

    /// Puts letters in place of the word's first `padding` bytes, of which there are less than eight: before a method, they
    /// change nothing.
    #[inline(always)]
    #[must_use]
    pub const fn pad(word: u64, padding: usize) -> u64 {
        const LETTERS: u64 = u64::from_ne_bytes(*b"AAAAAAAA");
        let kept = u64::MAX << (padding % WORD * 8);
        word & kept | LETTERS & !kept
    }

    /// Takes the next eight bytes, the first in the lowest bits; `false` fails the payload.
    #[inline(always)]
    pub fn take(&mut self, word: u64) -> bool {
        let class = |at: u32| CLASSES[usize::from((word >> (at * 8)) as u8)];
        for at in [0, 2, 4, 6] {
            let pair = class(at) << 4 | class(at + 1);
            self.state = NEXT[usize::from(self.state) % state::COUNT][usize::from(pair)];
        }
        self.state != state::FAILED
    }

    /// Whether the payload ended with the blank line of its only request.
    #[inline(always)]
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.state == state::END
    }
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
    if payload.len() > MAX_LENGTH {
        return false;
    }
    let padding = Prescreen::padding(payload.len());
    let (first, rest) = payload.split_at(WORD - padding);
    let mut word = [0; WORD];
    word[padding..].copy_from_slice(first);
    let (rest, _) = rest.as_chunks();
    prescreen.take(Prescreen::pad(u64::from_le_bytes(word), padding))
        && rest.iter().all(|word| prescreen.take(u64::from_le_bytes(*word)))
        && prescreen.passes()
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests;
