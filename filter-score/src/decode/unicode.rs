//! Bytes and characters that lenient targets take for ASCII: overlong UTF-8, full-width forms,
//! look-alikes of slashes, dots, quotes and spaces.

/// The ASCII character that a lenient target makes of a code point.
pub(crate) const fn fold(code: u32) -> Option<u8> {
    match code {
        0..=0x7f => Some(code as u8),
        0xff01..=0xff5e => Some((code - 0xfee0) as u8),
        0x2044 | 0x2215 | 0xf025 | 0xefc8 => Some(b'/'),
        0x2216 => Some(b'\\'),
        0x2024 | 0xfe52 => Some(b'.'),
        // Not the quotes that people type: the character sets that conversions go to have them.
        0x02b9 | 0x02bc | 0x2032 => Some(b'\''),
        0x02ba | 0x2033 => Some(b'"'),
        0x00a0 | 0x2000..=0x200b | 0x2028 | 0x2029 | 0x3000 => Some(b' '),
        0xfe64 => Some(b'<'),
        0xfe65 => Some(b'>'),
        _ => None,
    }
}

/// Folds what can be folded; other bytes are copied. True if anything changed.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    out.clear();
    let mut rest = input;
    while let Some(&byte) = rest.first() {
        if byte < 0x80 {
            let ascii = rest.iter().position(|byte| *byte >= 0x80).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..ascii]);
            rest = &rest[ascii..];
            continue;
        }
        let (folded, length) = match rest {
            // Two bytes where one does (RFC 3629 §10). Old decoders did not look at the second
            // byte's upper bits, hence `%c0%2e` beside `%c0%ae`.
            [0xc0 | 0xc1, second, ..] => (Some((byte & 1) << 6 | (second & 0x3f)), 2),
            [0xe0, second @ 0x80..=0x81, third @ 0x80..=0xbf, ..] => {
                (Some((second & 1) << 6 | (third & 0x3f)), 3)
            }
            [0xf0, 0x80, third @ 0x80..=0x81, fourth @ 0x80..=0xbf, ..] => {
                (Some((third & 1) << 6 | (fourth & 0x3f)), 4)
            }
            [0xf8, 0x80, 0x80, fourth @ 0x80..=0x81, fifth @ 0x80..=0xbf, ..] => {
                (Some((fourth & 1) << 6 | (fifth & 0x3f)), 5)
            }
            [
                0xfc,
                0x80,
                0x80,
                0x80,
                fifth @ 0x80..=0x81,
                sixth @ 0x80..=0xbf,
                ..,
            ] => (Some((fifth & 1) << 6 | (sixth & 0x3f)), 6),
            [0xc2..=0xdf, second @ 0x80..=0xbf, ..] => {
                (fold(u32::from(byte & 0x1f) << 6 | u32::from(second & 0x3f)), 2)
            }
            [0xe1..=0xef, second @ 0x80..=0xbf, third @ 0x80..=0xbf, ..] => (
                fold(u32::from(byte & 0xf) << 12 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f)),
                3,
            ),
            _ => (None, 1),
        };
        if let Some(ascii) = folded {
            out.push(ascii);
            changed = true;
        } else {
            out.extend_from_slice(&rest[..length]);
        }
        rest = &rest[length..];
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table: &[(&[u8], &[u8])] = &[
            (b"\xc0\xae\xc0\xae\xc0\xaf", b"../"),
            (b"\xc0\x2e\xc1\x9c", b".\\"),
            (b"\xe0\x80\xae", b"."),
            (b"\xf0\x80\x80\xae", b"."),
            (b"\xf8\x80\x80\x80\xae\xfc\x80\x80\x80\x80\xaf", b"./"),
            ("＜ｓｃｒｉｐｔ＞".as_bytes(), b"<script>"),
            ("ʼ or ′1".as_bytes(), b"' or '1"),
            ("it’s “quoted”".as_bytes(), "it’s “quoted”".as_bytes()),
            ("a\u{a0}b\u{3000}c".as_bytes(), b"a b c"),
            ("Überfluß 漢字 😀".as_bytes(), "Überfluß 漢字 😀".as_bytes()),
            (b"\xff\xfe\xc0", b"\xff\xfe\xc0"),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            assert_eq!(decode(input, &mut out), input != expected);
            assert_eq!(out, *expected, "{input:x?}");
        }
    }
}
