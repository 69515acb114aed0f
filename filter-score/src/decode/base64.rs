//! Base64 (RFC 4648 §4 and §5) inside values: tokens that decode to text, or to the head of a serialised
//! object.
//!
//! Most long tokens are random: session ids, hashes, pictures. The first nine bytes a token decodes to
//! tell them from text, so that they cost a few nanoseconds.

/// The shortest token that is looked at, in bytes.
pub(crate) const MIN_TOKEN: usize = 16;
/// Bytes of a token that are decoded to see whether it is worth it.
const PROBE: usize = 12;
/// From here on a token may be the middle of one that was cut, at any offset.
const CUT_TOKEN: usize = 2048;

/// Value of a digit: 0..=63, or what else the byte is.
const OTHER: u8 = 0xff;
const DIGITS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let standard = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[standard[value] as usize] = value as u8;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

fn is_digit(byte: u8) -> bool {
    DIGITS[usize::from(byte)] != OTHER
}

/// Appends what the tokens of `text` decode to, each but the first after a line feed. True if there is
/// anything. Takes linear time.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut from = 0;
    // Every token covers one of the places looked at.
    while let Some(&byte) = text.get(from + MIN_TOKEN - 1) {
        if !is_digit(byte) {
            from += MIN_TOKEN;
            continue;
        }
        let middle = from + MIN_TOKEN - 1;
        let before = text[from..middle]
            .iter()
            .rev()
            .take_while(|byte| is_digit(**byte));
        let start = middle - before.count();
        let end = middle + text[middle..].iter().take_while(|byte| is_digit(**byte)).count();
        if end - start >= MIN_TOKEN && !is_jwt(text, start, end) {
            token(&text[start..end], start == 0, out);
        }
        from = end + 1;
    }
    !out.is_empty()
}

/// Part of a JSON Web Token (RFC 7519): parts of base64 with dots between them, the first a JSON object.
fn is_jwt(text: &[u8], start: usize, end: usize) -> bool {
    let after_dot = text[..start].ends_with(b".");
    let before_dot =
        text[end..].starts_with(b".") && text[end + 1..].first().is_some_and(|byte| is_digit(*byte));
    after_dot || (before_dot && text[start..].starts_with(b"eyJ"))
}

fn token(token: &[u8], may_be_cut: bool, out: &mut Vec<u8>) {
    let offsets = if may_be_cut && token.len() >= CUT_TOKEN {
        4
    } else {
        1
    };
    for offset in 0..offsets {
        let token = &token[offset..];
        if !is_promising(token) {
            continue;
        }
        let start = out.len();
        if start > 0 {
            out.push(b'\n');
        }
        decode_digits(token, out);
        let decoded = &out[start..];
        let odd = decoded.iter().filter(|byte| !is_text(**byte)).count();
        if odd * 8 <= decoded.len() || is_serialised(decoded) {
            return;
        }
        out.truncate(start);
    }
}

/// Whether the start of a token decodes to text or to a known format.
fn is_promising(token: &[u8]) -> bool {
    let mut probe = [0; PROBE / 4 * 3];
    let (groups, _) = token[..PROBE].as_chunks::<4>();
    for (bytes, group) in probe.chunks_mut(3).zip(groups) {
        bytes.copy_from_slice(&bits(group).to_be_bytes()[1..]);
    }
    probe.iter().all(|byte| is_text(*byte)) || is_serialised(&probe)
}

/// Printable ASCII, white space, and NUL as in UTF-16.
fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n' | 0)
}

/// A serialised object of Java (its stream's magic number and version), or of Python's pickle in
/// protocol 2 to 5.
fn is_serialised(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
    matches!(
        bytes,
        [0xac, 0xed, 0, 5, ..] | [0x80, 2..=3, b'c' | b'}' | b']' | b'(', ..] | [0x80, 4..=5, 0x95, ..]
    )
}

/// Appends what digits decode to; what is left of the last four, if it makes no byte, is dropped.
fn decode_digits(digits: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = digits.as_chunks::<4>();
    out.extend(groups.iter().flat_map(|group| {
        let [_, bytes @ ..] = bits(group).to_be_bytes();
        bytes
    }));
    let bits = bits(rest) << (6 * (4 - rest.len()));
    let [_, bytes @ ..] = bits.to_be_bytes();
    out.extend_from_slice(&bytes[..rest.len().saturating_sub(1)]);
}

/// At most four digits as a number.
#[inline]
fn bits(digits: &[u8]) -> u32 {
    let value = |digit: &u8| u32::from(DIGITS[usize::from(*digit)]);
    digits.iter().fold(0, |bits, digit| bits << 6 | value(digit))
}

#[cfg(test)]
mod tests {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

    use super::*;

    fn decoded(text: &str) -> Option<String> {
        let mut out = Vec::new();
        decode(text.as_bytes(), &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn tokens_that_decode_to_text() {
        let attack = "<script>alert(1)</script>";
        let line = |text: &str| Some(text.to_owned());
        assert_eq!(decoded(&STANDARD.encode(attack)), line(attack));
        assert_eq!(decoded(&STANDARD_NO_PAD.encode(attack)), line(attack));
        assert_eq!(
            decoded(&URL_SAFE.encode("???>>>~~~' or 1=1")),
            line("???>>>~~~' or 1=1")
        );
        let url = format!("data:text/html;base64,{}", STANDARD.encode(attack));
        assert_eq!(decoded(&url), line(attack));
        let two = format!(
            "a {} b {}",
            STANDARD.encode(attack),
            STANDARD.encode("and another one")
        );
        assert_eq!(decoded(&two), line(&format!("{attack}\nand another one")));
        let long = STANDARD.encode("x".repeat(3000) + attack);
        for cut in 0..4 {
            assert!(
                decoded(&long[cut..]).is_some_and(|text| text.contains(attack)),
                "{cut}"
            );
        }
        assert_eq!(
            decoded("rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA=="),
            decoded("rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA")
        );
        assert!(decoded("rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA==").is_some());
    }

    #[test]
    fn tokens_that_do_not() {
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N";
        for text in [
            "",
            "short",
            "a sentence of ordinary words, and internationalisation",
            "/static/js/vendor/react/production/main",
            "0123456789abcdef0123456789abcdef",
            "c2Vzc2lvbg",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
            jwt,
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
