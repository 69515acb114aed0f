//! HTML character references: numeric ones (with or without semicolon) and the named ones that
//! stand for ASCII and are of use to an attacker.

use super::push_code_point;

const NAMED: [(&[u8], u8); 17] = [
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"amp", b'&'),
    (b"colon", b':'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"newline", b'\n'),
    (b"tab", b'\t'),
    (b"nbsp", b' '),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"equals", b'='),
    (b"grave", b'`'),
    (b"lbrace", b'{'),
    (b"dollar", b'$'),
];

/// Decodes once. True if anything changed.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    out.clear();
    let mut rest = input;
    while let Some(at) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let Some(length) = numeric(rest, out).or_else(|| named(rest, out)) {
            rest = &rest[length..];
            changed = true;
        } else {
            out.push(b'&');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest);
    changed
}

fn numeric(input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let digits = input.strip_prefix(b"&#")?;
    let (digits, radix) = match digits {
        [b'x' | b'X', digits @ ..] => (digits, 16),
        _ => (digits, 10),
    };
    let mut code = 0u32;
    let mut count = 0;
    for digit in digits.iter().map_while(|byte| char::from(*byte).to_digit(radix)) {
        code = code.saturating_mul(radix).saturating_add(digit);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    push_code_point(out, code);
    let length = input.len() - digits.len() + count;
    Some(length + usize::from(digits.get(count) == Some(&b';')))
}

fn named(input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let name = &input[1..];
    for (candidate, byte) in NAMED {
        if name.len() > candidate.len()
            && name[..candidate.len()].eq_ignore_ascii_case(candidate)
            && name[candidate.len()] == b';'
        {
            out.push(byte);
            return Some(candidate.len() + 2);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("&lt;script&gt;", "<script>"),
            ("&#60;&#x3c;&#X3C &#0000060", "<<< <"),
            ("java&Tab;script&colon;", "java\tscript:"),
            ("a&b=c&lt=d", "a&b=c&lt=d"),
            ("&#;&#x;&", "&#;&#x;&"),
            ("&#99999999999;", "?"),
            ("&amp;lt;", "&lt;"),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            assert_eq!(decode(input.as_bytes(), &mut out), input != expected);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
        }
    }
}
