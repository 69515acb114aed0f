//! Backslash escapes as JSON, JavaScript and CSS write them.

use super::{hex, push_code_point};

/// Decodes once. True if anything changed. A backslash before any other character is dropped only
/// before punctuation: before a letter it may be a Windows path.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    out.clear();
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = escape(rest, out);
        if length == 0 {
            out.push(b'\\');
            rest = &rest[1..];
        } else {
            rest = &rest[length..];
            changed = true;
        }
    }
    out.extend_from_slice(rest);
    changed
}

/// Whether the text has an escape of JSON, so that decoding changes it.
pub(crate) fn changes(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', text).any(|at| match &text[at + 1..] {
        [b'"' | b'\\' | b'/' | b'n' | b'r' | b't', ..] => true,
        [b'u', a, b, c, d, ..] => [a, b, c, d].into_iter().all(|digit| hex(*digit).is_some()),
        _ => false,
    })
}

/// Length of the escape at the start of `input`, 0 if there is none.
fn escape(input: &[u8], out: &mut Vec<u8>) -> usize {
    match input {
        [_, b'u', b'{', digits @ ..] => {
            let count = digits
                .iter()
                .take(6)
                .take_while(|byte| hex(**byte).is_some())
                .count();
            if count == 0 || digits.get(count) != Some(&b'}') {
                return 0;
            }
            push_code_point(out, number(&digits[..count]));
            count + 4
        }
        [_, b'u', digits @ ..]
            if digits.len() >= 4 && digits[..4].iter().all(|byte| hex(*byte).is_some()) =>
        {
            push_code_point(out, number(&digits[..4]));
            6
        }
        [_, b'x', high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => {
                out.push(high << 4 | low);
                4
            }
            _ => 0,
        },
        [_, letter @ (b'n' | b'r' | b't'), ..] => {
            out.push(match letter {
                b'n' => b'\n',
                b'r' => b'\r',
                _ => b'\t',
            });
            2
        }
        [
            _,
            punctuation @ (b'"' | b'\'' | b'/' | b'\\' | b'`' | b'<' | b'>' | b'(' | b')'),
            ..,
        ] => {
            out.push(*punctuation);
            2
        }
        // CSS: one to six digits and an optional space; four at least, so that paths are left alone.
        [_, digits @ ..] => {
            let count = digits
                .iter()
                .take(6)
                .take_while(|byte| hex(**byte).is_some())
                .count();
            if count < 4 && !(count == 2 && digits[0] < b'8' && digits.get(2) == Some(&b' ')) {
                return 0;
            }
            push_code_point(out, number(&digits[..count]));
            1 + count + usize::from(digits.get(count) == Some(&b' '))
        }
        [] => 0,
    }
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| {
        number << 4 | u32::from(hex(*digit).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            (r"\u003cscript\u003E", "<script>"),
            (r"\u{3c}x\x3e", "<x>"),
            (r#"\"a\"\/\\"#, r#""a"/\"#),
            (r"a\nb\tc", "a\nb\tc"),
            (r"C:\Windows\System32", r"C:\Windows\System32"),
            (r"\00003cx", "<x"),
            (r"\3c x", "<x"),
            (r"\u12 \x4 \u{} \", r"\u12 \x4 \u{} \"),
            (r"\uff1c", "<"),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            assert_eq!(decode(input.as_bytes(), &mut out), input != expected, "{input}");
            assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
        }
    }
}
