//! Kinds of characters: coarse enough to be learnt from a few dozen values, fine enough to tell a number from a sentence
//! and a sentence from code. (The prefilter's classes are of no use here: they do not tell digits, letters and spaces apart.)

use std::fmt;

/// How many kinds there are.
pub(super) const KINDS: usize = 18;

/// From this one on they are marks: what code needs and plain values lack.
const FIRST_MARK: usize = 8;

/// Their names, for people.
const NAMES: [&str; KINDS] = [
    "digits",
    "letters",
    "spaces",
    "hyphens or dots",
    "punctuation",
    "slashes",
    "percent, ampersand, plus or equals signs",
    "bytes above 127",
    "control characters",
    "single quotes",
    "double quotes",
    "backquotes, dollar signs or carets",
    "angle brackets",
    "parentheses",
    "braces or brackets",
    "semicolons or bars",
    "backslashes",
    "asterisks or number signs",
];

/// The bit of each byte's kind.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = 1 << kind(byte as u8);
        byte += 1;
    }
    table
};

const fn kind(byte: u8) -> usize {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' | b'a'..=b'z' => 1,
        b' ' | b'\t' => 2,
        b'-' | b'.' | b'_' | b'~' => 3,
        b',' | b':' | b'@' | b'?' | b'!' => 4,
        b'/' => 5,
        b'%' | b'&' | b'+' | b'=' => 6,
        0x80.. => 7,
        0..=0x1f | 0x7f => 8,
        b'\'' => 9,
        b'"' => 10,
        b'`' | b'$' | b'^' => 11,
        b'<' | b'>' => 12,
        b'(' | b')' => 13,
        b'{' | b'}' | b'[' | b']' => 14,
        b';' | b'|' => 15,
        b'\\' => 16,
        b'*' | b'#' => 17,
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

impl Kinds {
    /// The kinds of a text's bytes. Linear in the text.
    pub(super) fn of(text: &[u8]) -> Self {
        Self(text.iter().fold(0, |all, byte| all | TABLE[usize::from(*byte)]))
    }

    /// Those whose number is chosen.
    pub(super) fn choose(chosen: impl Fn(usize) -> bool) -> Self {
        let bits = (0..KINDS).filter(|kind| chosen(*kind));
        Self(bits.fold(0, |all, kind| all | 1 << kind))
    }

    /// Their numbers.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..KINDS).filter(move |kind| self.0 >> kind & 1 != 0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many of them are marks.
    pub(super) fn marks(self) -> u32 {
        (self.0 >> FIRST_MARK).count_ones()
    }

    /// How many of them are not.
    pub(super) fn plain(self) -> u32 {
        self.0.count_ones() - self.marks()
    }
}

/// `digits, letters`
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in self.iter() {
            write!(f, "{separator}{}", NAMES[kind])?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_numbers_words_and_code_apart() {
        let table: [(&[u8], &str, u32); 6] = [
            (b"", "", 0),
            (b"20261", "digits", 0),
            (b"A day", "letters, spaces", 0),
            (b"1' or", "digits, letters, spaces, single quotes", 1),
            (b"<a>;", "letters, angle brackets, semicolons or bars", 2),
            (b"\0\xff", "bytes above 127, control characters", 1),
        ];
        for (text, shown, marks) in table {
            let kinds = Kinds::of(text);
            assert_eq!(kinds.to_string(), shown);
            assert_eq!(kinds.marks(), marks, "{shown}");
            assert_eq!(kinds.marks() + kinds.plain(), kinds.iter().count() as u32);
        }
        assert!((0..=u8::MAX).all(|byte| kind(byte) < KINDS));
    }
}
