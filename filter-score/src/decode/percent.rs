//! Percent-encoding: `%XX`, the Microsoft form `%uXXXX`, and `+` where it means a space.

use super::{code_point, hex};

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
    let space = if plus { b'+' } else { b'%' };
    // What is decoded is never longer: it is written in place, and what is left over is cut off.
    out.clear();
    out.resize(input.len(), 0);
    let mut length = 0;
    let mut rest = input;
    while !rest.is_empty() {
        if let (Some(block), Some(to)) = (rest.first_chunk(), out[length..].first_chunk_mut()) {
            *to = *block;
            let plain = before(*block, space);
            length += plain;
            rest = &rest[plain..];
            if plain == block.len() {
                continue;
            }
        }
        let taken = match rest {
            [b'%', high, low, ..] if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                out[length] = high << 4 | low;
                3
            }
            [b'%', b'u' | b'U', a, b, c, d, ..]
                if let (Some(a), Some(b), Some(c), Some(d)) = (hex(*a), hex(*b), hex(*c), hex(*d)) =>
            {
                let code = u32::from(a) << 12 | u32::from(b) << 8 | u32::from(c) << 4 | u32::from(d);
                let (bytes, size) = code_point(code);
                out[length..][..size].copy_from_slice(&bytes[..size]);
                length += size - 1;
                6
            }
            [byte, ..] => {
                outcome.malformed |= *byte == b'%';
                out[length] = if plus && *byte == b'+' { b' ' } else { *byte };
                outcome.changed |= plus && *byte == b'+';
                length += 1;
                rest = &rest[1..];
                continue;
            }
            [] => break,
        };
        outcome.changed = true;
        length += 1;
        rest = &rest[taken..];
    }
    out.truncate(length);
    outcome
}

/// How many bytes stand before the first percent sign or `space`. A word of prose is shorter than a block, so that its end is as a
/// processor guesses it.
#[inline]
fn before(block: [u8; 16], space: u8) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const UPPER: u64 = ONES << 7;
    let block = u128::from_le_bytes(block);
    // Of a word, the lowest byte that is zero has its upper bit set (Mycroft's test); what is above it does not count.
    let marked = |word: u64| {
        let zero = |byte: u8| {
            let differing = word ^ (ONES * u64::from(byte));
            differing.wrapping_sub(ONES) & !differing & UPPER
        };
        zero(b'%') | zero(space)
    };
    let marks = u128::from(marked(block as u64)) | u128::from(marked((block >> 64) as u64)) << 64;
    marks.trailing_zeros() as usize / 8
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
            // At every place in the blocks that are looked at together.
            for padding in 1..40 {
                let around = "y".repeat(padding);
                let text = |inner: &[u8]| [around.as_bytes(), inner, around.as_bytes()].concat();
                let again = decode(&text(input.as_bytes()), *plus, &mut out);
                assert_eq!(out, text(expected), "{input} behind {padding}");
                assert_eq!(again, outcome, "{input} behind {padding}");
            }
        }
    }
}
