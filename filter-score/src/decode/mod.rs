//! Decodings that targets apply to what they receive, and that attackers hide behind.
//!
//! Each decoder writes to a buffer of the caller and says whether anything changed. None of them makes
//! its input longer, so buffers the size of the longest field are enough.

pub(crate) mod base64;
pub(crate) mod changes;
pub(crate) mod comment;
pub(crate) mod control;
pub(crate) mod encoding;
pub(crate) mod entity;
pub(crate) mod escape;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod percent;
pub(crate) mod shell;
pub(crate) mod unicode;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The decodings a field went through before a rule matched. Empty: as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodingSet(u16);

impl DecodingSet {
    /// Percent-encoding (and plus in forms and queries), once.
    pub const URL: Self = Self(1);
    /// Percent-encoding, more than once.
    pub const URL_REPEATED: Self = Self(1 << 1);
    /// Overlong UTF-8, full-width and look-alike characters folded to ASCII.
    pub const UNICODE: Self = Self(1 << 2);
    /// HTML character references.
    pub const ENTITY: Self = Self(1 << 3);
    /// Backslash escapes of JSON, JavaScript and CSS.
    pub const ESCAPE: Self = Self(1 << 4);
    /// NUL and other control bytes removed.
    pub const CONTROL: Self = Self(1 << 5);
    /// Path segments resolved (`//`, `/./`, `/../`, backslashes).
    pub const PATH: Self = Self(1 << 6);
    /// SQL comments turned to spaces.
    pub const SQL: Self = Self(1 << 7);
    /// Shell quoting removed.
    pub const SHELL: Self = Self(1 << 8);
    /// Base64 inside the value.
    pub const BASE64: Self = Self(1 << 9);
    /// A string of a JSON text inside the value.
    pub const JSON: Self = Self(1 << 10);
    /// A field of a form inside the value, or of the query of an address.
    pub const FORM: Self = Self(1 << 11);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::URL, "url"),
        (Self::URL_REPEATED, "url-repeated"),
        (Self::UNICODE, "unicode"),
        (Self::ENTITY, "entity"),
        (Self::ESCAPE, "escape"),
        (Self::CONTROL, "control"),
        (Self::PATH, "path"),
        (Self::SQL, "sql"),
        (Self::SHELL, "shell"),
        (Self::BASE64, "base64"),
        (Self::JSON, "json"),
        (Self::FORM, "form"),
    ];

    /// Decodings that are tried only for rules that ask for them, by their name in packs.
    #[must_use]
    pub fn parse_optional(name: &str) -> Option<Self> {
        match name {
            "sql" => Some(Self::SQL),
            "shell" => Some(Self::SHELL),
            _ => None,
        }
    }

    /// All decodings with their names.
    pub(crate) fn names() -> impl Iterator<Item = (Self, &'static str)> {
        Self::NAMES.into_iter()
    }

    /// Whether every decoding of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The part of this set that only rules that ask for it see.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self(self.0 & (Self::SQL.0 | Self::SHELL.0))
    }

    /// Whether the text is a part of a field, and no field of its own.
    #[must_use]
    pub const fn is_inside(self) -> bool {
        self.0 & (Self::BASE64.0 | Self::JSON.0 | Self::FORM.0) != 0
    }

    /// A number of its own for each set.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// Whether the field is as it was sent.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOr for DecodingSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for DecodingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for (decoding, name) in Self::NAMES {
            if self.contains(decoding) {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        Ok(())
    }
}

/// A table of which bytes are in `set`: one look-up a byte passes over all others.
pub(crate) const fn marks(set: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < set.len() {
        table[set[at] as usize] = true;
        at += 1;
    }
    table
}

/// How many bytes stand before the first one of `set`. Eight are looked at together: none of them is marked mostly.
#[inline]
pub(crate) fn unmarked(text: &[u8], set: &[bool; 256]) -> usize {
    let (blocks, _) = text.as_chunks::<8>();
    let is_clear = |block: &&[u8; 8]| {
        !block
            .iter()
            .fold(false, |any, byte| any | set[usize::from(*byte)])
    };
    let clear = 8 * blocks.iter().take_while(is_clear).count();
    let rest = &text[clear..];
    clear
        + rest
            .iter()
            .position(|byte| set[usize::from(*byte)])
            .unwrap_or(rest.len())
}

/// Value of a hexadecimal digit.
#[inline]
pub(crate) const fn hex(byte: u8) -> Option<u8> {
    const NONE: u8 = 0xff;
    const VALUES: [u8; 256] = {
        let mut table = [NONE; 256];
        let mut value = 0;
        while value < 16 {
            table[b"0123456789abcdef"[value as usize] as usize] = value;
            table[b"0123456789ABCDEF"[value as usize] as usize] = value;
            value += 1;
        }
        table
    };
    match VALUES[byte as usize] {
        NONE => None,
        value => Some(value),
    }
}

/// Appends a code point in UTF-8, folded to ASCII where a target would fold it.
pub(crate) fn push_code_point(out: &mut Vec<u8>, code: u32) {
    let (bytes, length) = code_point(code);
    out.extend_from_slice(&bytes[..length]);
}

/// A code point in UTF-8, folded to ASCII where a target would fold it, and how many bytes it has.
fn code_point(code: u32) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let length = match (unicode::fold(code), char::from_u32(code)) {
        (Some(ascii), _) => {
            bytes[0] = ascii;
            1
        }
        (None, Some(character)) => character.encode_utf8(&mut bytes).len(),
        (None, None) => {
            bytes[0] = b'?';
            1
        }
    };
    (bytes, length)
}
