//! Percent-encoding: `%XX`, the Microsoft form `%uXXXX`, and `+` where it means a space.

use super::{hex, push_code_point};

/// What a decoding pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) changed: bool,
    /// A percent sign that starts no escape: the raw field deserves a look of its own.
    pub(crate) malformed: bool,
}

/// Decodes once. Malformed escapes are copied as they are.
pub(crate) fn decode(input: &[u8], plus: bool, out: &mut Vec<u8>) -> Outcome {
    let mut outcome = Outcome::default();
    out.clear();
    let space = if plus { b'+' } else { b'%' };
    let mut rest = input;
    while let Some(plain) = find(space, rest) {
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if rest[0] != b'%' {
            out.push(b' ');
            rest = &rest[1..];
            outcome.changed = true;
            continue;
        }
        if let [_, high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = tail;
            outcome.changed = true;
            continue;
        }
        if let [_, b'u' | b'U', a, b, c, d, tail @ ..] = rest
            && let (Some(a), Some(b), Some(c), Some(d)) = (hex(*a), hex(*b), hex(*c), hex(*d))
        {
            push_code_point(
                out,
                u32::from(a) << 12 | u32::from(b) << 8 | u32::from(c) << 4 | u32::from(d),
            );
            rest = tail;
            outcome.changed = true;
            continue;
        }
        outcome.malformed = true;
        out.push(b'%');
        rest = &rest[1..];
    }
    out.extend_from_slice(rest);
    outcome
}

/// Where the first percent sign or `space` is.
#[inline]
fn find(space: u8, text: &[u8]) -> Option<usize> {
    /// Text that needs escapes is full of them: a search that has to be set up first does not pay nearby.
    const NEAR: usize = 4;
    let near = &text[..text.len().min(NEAR)];
    near.iter()
        .position(|byte| *byte == b'%' || *byte == space)
        .or_else(|| Some(near.len() + memchr::memchr2(b'%', space, &text[near.len()..])?))
}

/// Whether decoding changes the text.
pub(crate) fn changes(text: &[u8], plus: bool) -> bool {
    if plus && memchr::memchr(b'+', text).is_some() {
        return true;
    }
    memchr::memchr_iter(b'%', text).any(|at| match &text[at + 1..] {
        [b'u' | b'U', a, b, c, d, ..] => [a, b, c, d].into_iter().all(|digit| hex(*digit).is_some()),
        [high, low, ..] => hex(*high).is_some() && hex(*low).is_some(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table: &[(&str, bool, &[u8], bool)] = &[
            ("plain", true, b"plain", false),
            ("a%20b+c", true, b"a b c", false),
            ("a%20b+c", false, b"a b+c", false),
            ("%2e%2E%2f", false, b"../", false),
            ("%252e", false, b"%2e", false),
            ("%u003cx%U003E", false, b"<x>", false),
            ("%uff1c", false, b"<", false),
            ("%u00e9", false, "é".as_bytes(), false),
            ("%ud800", false, b"?", false),
            ("%", false, b"%", true),
            ("%4", false, b"%4", true),
            ("%zz%41", false, b"%zzA", true),
            ("%u12", false, b"%u12", true),
            ("%00%ff", false, b"\x00\xff", false),
        ];
        for (input, plus, expected, malformed) in table {
            let mut out = Vec::new();
            let outcome = decode(input.as_bytes(), *plus, &mut out);
            assert_eq!(out, *expected, "{input}");
            assert_eq!(outcome.malformed, *malformed, "{input}");
            assert_eq!(outcome.changed, input.as_bytes() != *expected, "{input}");
            assert_eq!(changes(input.as_bytes(), *plus), outcome.changed, "{input}");
        }
    }
}
