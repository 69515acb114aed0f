//! JSON texts (RFC 8259) inside values: what programs put into parameters and into strings of other JSON texts.

use crate::http;

/// Containers that may be open at once: one bit each.
const DEPTH: u32 = u64::BITS;
/// Shorter texts are read as a whole.
const SHORTEST: usize = 8;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    /// A value or the end of an empty array.
    FirstValue,
    Name,
    /// A name or the end of an empty object.
    FirstName,
    Colon,
    /// A comma or the end of the object or array.
    Comma,
}

/// Whether all of a text is one JSON object or array, with nothing before or behind it but white space. Takes linear time.
pub(crate) fn is_text(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    match text {
        [b'{', .., b'}'] | [b'[', .., b']'] if text.len() >= SHORTEST => is_container(text),
        _ => false,
    }
}

fn is_container(text: &[u8]) -> bool {
    // Whether the containers that are open are objects, innermost in the lowest bit.
    let (mut objects, mut depth) = (0u64, 0);
    let mut expect = Expect::Value;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        expect = match (byte, expect) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => expect,
            (b'"', _) => {
                let Some(end) = string_end(&text[at..]) else {
                    return false;
                };
                at += end + 1;
                match expect {
                    Expect::Name | Expect::FirstName => Expect::Colon,
                    Expect::Value | Expect::FirstValue => Expect::Comma,
                    Expect::Colon | Expect::Comma => return false,
                }
            }
            (b'{' | b'[', Expect::Value | Expect::FirstValue) if depth < DEPTH => {
                depth += 1;
                objects = objects << 1 | u64::from(byte == b'{');
                if byte == b'{' {
                    Expect::FirstName
                } else {
                    Expect::FirstValue
                }
            }
            (b'}', Expect::Comma | Expect::FirstName) | (b']', Expect::Comma | Expect::FirstValue)
                if (objects & 1 != 0) == (byte == b'}') =>
            {
                depth -= 1;
                objects >>= 1;
                if depth == 0 {
                    return at == text.len();
                }
                Expect::Comma
            }
            (b',', Expect::Comma) if objects & 1 != 0 => Expect::Name,
            (b',', Expect::Comma) | (b':', Expect::Colon) => Expect::Value,
            (_, Expect::Value | Expect::FirstValue) => {
                let rest = &text[at - 1..];
                let end = rest
                    .iter()
                    .position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}'))
                    .unwrap_or(rest.len());
                if !http::is_json_literal(&rest[..end]) {
                    return false;
                }
                at += end - 1;
                Expect::Comma
            }
            _ => return false,
        };
    }
    false
}

/// The strings of a JSON text, names included, with their escapes.
pub(crate) fn strings(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = memchr::memchr(b'"', rest)? + 1;
        let end = start + string_end(&rest[start..])?;
        let string = &rest[start..end];
        rest = &rest[end + 1..];
        Some(string)
    })
}

/// The offset of the quote that ends a string.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in [
            r#"{"a": 1, "b": [true, null, -1.5e3], "c": {}}"#,
            r#"["a", "\"b\\", [], [[1]]]"#,
            " [ \"a\" , { } ] \r\n",
            r#"{"a":{"b":{"c":"d"}}}"#,
        ] {
            assert!(is_text(text.as_bytes()), "{text}");
        }
        let deep = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_text(deep(64).as_bytes()));
        for text in [
            "",
            "{}",
            "\"a string\"",
            "12345678",
            r#"{"a": 1, "b": 2"#,
            r#"{"a": 1} {"b": 2}"#,
            r#"{"a": 1}} {"b": 2}"#,
            r#"{"a" 1, "b": 2}"#,
            r#"{"a": 1,, "b": 2}"#,
            r#"{a: 1, "b": "2"}"#,
            r#"["a": 1, "b"]"#,
            r#"["a" "b", "c"]"#,
            r"[1, 2, 3, 01, ]",
            r"[1, 2, 3, x]",
            r#"{"a": "b\"}"#,
            r"[[1, 2, 3}}",
            r#"{"a": 1, "b"}"#,
            r#"["a"] or 1=1 [1]"#,
            &deep(65),
        ] {
            assert!(!is_text(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn strings_of_a_text() {
        let text = br#"{"a": "b\"c", "": ["d\\", 1]}"#;
        let expected: [&[u8]; 5] = [b"a", br#"b\"c"#, b"", br"d\\", b""];
        let found: Vec<_> = strings(text).collect();
        assert_eq!(found, expected[..4]);
    }
}
