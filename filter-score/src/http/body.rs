//! What a body is made of.

/// How a body is cut into fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// No Content-Type, or one that says nothing: text if it looks like it.
    #[default]
    Unknown,
    Form,
    Json,
    /// Text by declaration: scored whatever it looks like.
    Text,
    /// Compressed or encoded: not looked into.
    Encoded,
}

impl BodyKind {
    /// By media type; parameters and case do not matter.
    pub(crate) fn of(content_type: &[u8]) -> Self {
        let end = content_type
            .iter()
            .position(|byte| matches!(byte, b';' | b',' | b' '))
            .unwrap_or(content_type.len());
        let mut lower = [0; 64];
        let length = end.min(lower.len());
        let media_type = &mut lower[..length];
        media_type.copy_from_slice(&content_type[..length]);
        media_type.make_ascii_lowercase();
        if media_type == b"application/x-www-form-urlencoded" {
            Self::Form
        } else if media_type == b"application/json"
            || media_type.ends_with(b"+json")
            || media_type == b"text/json"
        {
            Self::Json
        } else if media_type.starts_with(b"text/")
            || media_type.ends_with(b"/xml")
            || media_type.ends_with(b"+xml")
            || media_type.ends_with(b"javascript")
            || media_type.ends_with(b"graphql")
        {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

/// Whether a piece of a body of unknown type is binary: more than one byte in 32 is a control byte
/// or part of an invalid UTF-8 sequence.
pub(crate) fn is_binary(window: &[u8]) -> bool {
    let mut odd = 0;
    let mut rest = window;
    while let Some(&byte) = rest.first() {
        let continuation = |count: usize| {
            rest.len() <= count || rest[1..=count].iter().all(|byte| (0x80..0xc0).contains(byte))
        };
        let length = match byte {
            b'\t' | b'\n' | b'\r' | 0x20..=0x7e => 1,
            0xc2..=0xdf if continuation(1) => 2,
            0xe0..=0xef if continuation(2) => 3,
            0xf0..=0xf4 if continuation(3) => 4,
            _ => {
                odd += 1;
                1
            }
        };
        rest = &rest[length.min(rest.len())..];
    }
    odd * 32 > window.len()
}

/// Whether a piece of JSON between two strings has only punctuation, numbers and the three names.
pub(crate) fn json_noise(piece: &[u8]) -> bool {
    piece.iter().all(|byte| {
        matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'0'..=b'9' | b'a'..=b'z' | b'E' | b',' | b':' | b'[' | b']' | b'{' | b'}' | b'-' | b'+' | b'.')
    }) && piece.split(|byte| !byte.is_ascii_lowercase()).all(|word| matches!(word, b"" | b"e" | b"true" | b"false" | b"null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let table = [
            ("application/x-www-form-urlencoded", BodyKind::Form),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", BodyKind::Form),
            ("application/json", BodyKind::Json),
            ("application/problem+json;x", BodyKind::Json),
            ("application/x-amz-json-1.1", BodyKind::Unknown),
            ("text/plain", BodyKind::Text),
            ("application/soap+xml", BodyKind::Text),
            ("multipart/form-data; boundary=x", BodyKind::Unknown),
            ("image/png", BodyKind::Unknown),
            ("", BodyKind::Unknown),
        ];
        for (value, expected) in table {
            assert_eq!(BodyKind::of(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn binary() {
        assert!(!is_binary("{\"a\": \"漢字 text\"}\r\n".as_bytes()));
        assert!(is_binary(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]));
        assert!(is_binary(b"\x08\x96\x01\x12\x07testing\x1a\x02\x03\x04"));
        assert!(!is_binary(b""));
        assert!(!is_binary(&"漢".as_bytes()[..2]));
    }

    #[test]
    fn json_between_strings() {
        assert!(json_noise(b": -1.5e+3, true, [null] }"));
        assert!(!json_noise(b": 1 or 1=1,"));
        assert!(!json_noise(b"alert(1)"));
    }
}
