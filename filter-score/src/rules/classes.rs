//! What bytes a field has, in classes that matter to decodings and rules.

/// Classes of bytes that occurred in a field; they decide which decodings are tried and which rules are
/// out of the question. Every character of the languages attacks are written in is a class of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes(u32);

const SINGLE: &[u8; 26] = b"%+&\\'\"`$^{*#/<(=;|@![:>,)}";
const OTHERS: u32 = SINGLE.len() as u32;

/// The class of every byte.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = Classes::of(byte as u8).0;
        byte += 1;
    }
    table
};

impl Classes {
    pub(crate) const PERCENT: Self = Self::of(b'%');
    pub(crate) const PLUS: Self = Self::of(b'+');
    pub(crate) const AMPERSAND: Self = Self::of(b'&');
    pub(crate) const BACKSLASH: Self = Self::of(b'\\');
    pub(crate) const STAR: Self = Self::of(b'*');
    pub(crate) const SLASH: Self = Self::of(b'/');
    pub(crate) const NUL: Self = Self::of(0);
    pub(crate) const CR: Self = Self::of(b'\r');
    /// Control bytes that no header value may have, NUL, tab and line ends apart.
    pub(crate) const CONTROL: Self = Self::of(1);
    pub(crate) const HIGH: Self = Self::of(0x80);
    /// What a JSON object or array with strings has.
    pub(crate) const STRING: Self = Self::of(b'"');
    /// What a form has.
    pub(crate) const PAIR: Self = Self::of(b'=');
    /// Classes that are a violation in a request line or a header line.
    pub(crate) const OF_LINES: Self = Self::NUL.or(Self::CR).or(Self::CONTROL).or(Self::HIGH);
    pub(crate) const QUOTE: Self = Self::of(b'\'').or(Self::of(b'"')).or(Self::of(b'`'));
    /// Shell expansions beside quotes and backslashes.
    pub(crate) const EXPANSION: Self = Self::of(b'$').or(Self::of(b'^'));
    /// SQL line comments.
    pub(crate) const LINE: Self = Self::of(b'#').or(Self::of(b'\n'));

    /// Classes that are rare enough in ordinary fields to stand in for a literal.
    pub(crate) const RARE: Self = Self::QUOTE
        .or(Self::NUL)
        .or(Self::BACKSLASH)
        .or(Self::CR)
        .or(Self::LINE)
        .or(Self::HIGH)
        .or(Self::PERCENT);

    pub(crate) const fn of(byte: u8) -> Self {
        let mut at = 0;
        while at < SINGLE.len() {
            if SINGLE[at] == byte {
                return Self(1 << at);
            }
            at += 1;
        }
        match byte {
            0 => Self(1 << OTHERS),
            b'\r' => Self(1 << (OTHERS + 1)),
            b'\n' => Self(1 << (OTHERS + 2)),
            b'\t' => Self(0),
            1..=0x1f | 0x7f => Self(1 << (OTHERS + 3)),
            0x80.. => Self(1 << (OTHERS + 4)),
            _ => Self(0),
        }
    }

    /// Those of a table entry.
    pub(super) const fn in_entry(entry: u64) -> Self {
        Self((entry >> u32::BITS) as u32)
    }

    /// Their part of a table entry: the upper half.
    pub(super) const fn entry(self) -> u64 {
        (self.0 as u64) << u32::BITS
    }

    /// Those of all bytes of a text.
    #[inline]
    pub(crate) fn of_text(text: &[u8]) -> Self {
        Self(text.iter().fold(0, |seen, byte| seen | TABLE[usize::from(*byte)]))
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `other` has every class of this one.
    pub(crate) const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// A byte of each class, for people to read.
    pub(crate) fn examples(self) -> Vec<String> {
        let mut seen = Self::default();
        (0..=u8::MAX)
            .filter(|byte| {
                let class = Self::of(*byte);
                let fresh = self.intersects(class) && !seen.intersects(class);
                seen = seen.or(class);
                fresh
            })
            .map(|byte| std::ascii::escape_default(byte).to_string())
            .collect()
    }

    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_texts() {
        assert_eq!(Classes::of_text(b"0123456789%"), Classes::PERCENT);
        let all = Classes::NUL.or(Classes::of(b'\'')).or(Classes::BACKSLASH);
        assert_eq!(Classes::of_text(b"a\0b'\\"), all);
        assert_eq!(Classes::of_text(b"plain text-1234"), Classes::default());
    }
}
