//! What a body is made of.

use serde::{Deserialize, Serialize};

use super::multipart::Boundary;

/// How a body is cut into fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BodyKind {
    /// No Content-Type, or one that says nothing: text if it looks like it.
    #[default]
    Unknown,
    Form,
    Json,
    Xml,
    MultipartForm,
    /// Parts that are not fields of a form.
    Multipart,
    /// Text by declaration: scored whatever it looks like.
    Text,
    /// Beyond a limit: taken, but not looked at.
    Unscored,
}

/// What a Content-Type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    pub(crate) kind: BodyKind,
    /// Of a multipart body; `None` if it has no usable one.
    pub(crate) boundary: Option<Boundary>,
    /// In the declared charset ASCII characters are not the bytes they usually are.
    pub(crate) wide: bool,
}

impl MediaType {
    pub(crate) fn of(content_type: &[u8]) -> Self {
        let kind = BodyKind::of(content_type);
        let multipart = matches!(kind, BodyKind::Multipart | BodyKind::MultipartForm);
        let wide = find_ignore_case(content_type, b"charset")
            .is_some_and(|at| is_wide_charset(&content_type[at + 7..]));
        Self {
            kind,
            boundary: multipart.then(|| Boundary::of(content_type)).flatten(),
            wide,
        }
    }
}

impl BodyKind {
    /// By media type; parameters and case do not matter.
    fn of(content_type: &[u8]) -> Self {
        let end = content_type
            .iter()
            .position(|byte| matches!(byte, b';' | b',' | b' ' | b'\t'))
            .unwrap_or(content_type.len());
        let mut lower = [0; 64];
        let length = end.min(lower.len());
        let media_type = &mut lower[..length];
        media_type.copy_from_slice(&content_type[..length]);
        media_type.make_ascii_lowercase();
        let starts = |start: &str| media_type.starts_with(start.as_bytes());
        let ends = |end: &str| media_type.ends_with(end.as_bytes());
        if media_type == b"application/x-www-form-urlencoded" {
            Self::Form
        } else if media_type == b"multipart/form-data" {
            Self::MultipartForm
        } else if starts("multipart/") {
            Self::Multipart
        } else if ends("/json") || ends("+json") || ends("/csp-report") {
            Self::Json
        } else if ends("/xml") || ends("+xml") {
            Self::Xml
        } else if starts("text/") || ends("javascript") || ends("graphql") || ends("ndjson") {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

fn find_ignore_case(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window.eq_ignore_ascii_case(wanted))
}

/// Whether a charset's name follows, after an equals sign and perhaps a quote, in which the bytes of
/// ASCII characters are others: filters that read ASCII see nothing of what such a text says.
fn is_wide_charset(text: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"utf-16",
        b"utf16",
        b"utf-32",
        b"utf-7",
        b"ucs-",
        b"unicode-1-1",
        b"ibm",
        b"cp037",
        b"ebcdic",
    ];
    let name = text.trim_ascii_start().strip_prefix(b"=").unwrap_or_default();
    let name = name.trim_ascii_start();
    let name = name
        .strip_prefix(b"\"")
        .or(name.strip_prefix(b"'"))
        .unwrap_or(name);
    NAMES.iter().any(|other| {
        name.get(..other.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(other))
    })
}

/// Whether an XML declaration names such a charset.
pub(crate) fn declares_wide_charset(declaration: &[u8]) -> bool {
    find_ignore_case(declaration, b"encoding").is_some_and(|at| is_wide_charset(&declaration[at + 8..]))
}

/// How many bytes tell what a body is.
pub(crate) const SNIFF_BYTES: usize = 8;
/// The byte order mark of UTF-8, which says nothing.
pub(crate) const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the first bytes of a body say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// Nothing yet.
    More,
    /// Nothing that the Content-Type does not say.
    Same,
    Json,
    Xml,
    /// The magic number of gzip, and DEFLATE as its method.
    Gzip,
    /// UTF-16 or UTF-32.
    Wide,
}

/// What a body begins with; `start` has one to [`SNIFF_BYTES`] bytes, of which the first is no white
/// space.
pub(crate) fn sniff(kind: BodyKind, start: &[u8]) -> Sniffed {
    const XML: &[u8] = b"<?xml";
    let declared = matches!(kind, BodyKind::Json | BodyKind::Xml);
    if kind == BodyKind::Form {
        return if matches!(start[0], b'{' | b'[') {
            Sniffed::Json
        } else {
            Sniffed::Same
        };
    }
    if kind == BodyKind::Unknown && start[0] == 0x1f {
        return match start {
            [0x1f, 0x8b, 8, ..] => Sniffed::Gzip,
            [0x1f] | [0x1f, 0x8b] => Sniffed::More,
            _ => Sniffed::Same,
        };
    }
    let (mark, text) = match start {
        [0xff, 0xfe, text @ ..] | [0xfe, 0xff, text @ ..] => (true, text),
        [0xff | 0xfe] => return Sniffed::More,
        _ => (false, start),
    };
    match text {
        _ if mark && declared => return Sniffed::Wide,
        [0, b'<' | b'{' | b'[' | b'"', ..]
        | [b'<' | b'{' | b'[' | b'"', 0, ..]
        | [0, 0, 0, b'<' | b'{' | b'[' | b'"', ..] => return Sniffed::Wide,
        // The byte order mark of UTF-32, or characters of four bytes.
        [] | [0] | [0, 0] | [0, 0, 0] => return Sniffed::More,
        _ if mark => return Sniffed::Same,
        _ => {}
    }
    let text = match text.strip_prefix(UTF8_MARK) {
        Some(text) => text,
        None if UTF8_MARK.starts_with(text) => return Sniffed::More,
        None => text,
    };
    let plain = matches!(kind, BodyKind::Unknown | BodyKind::Text);
    match text {
        [] | [b'<'] => Sniffed::More,
        // The byte after it tells whether characters have two bytes.
        [b'{' | b'['] if plain || kind == BodyKind::Json => Sniffed::More,
        [b'{' | b'[', ..] if plain => Sniffed::Json,
        _ if kind == BodyKind::Json => Sniffed::Json,
        text if plain && text.starts_with(XML) => Sniffed::Xml,
        text if plain && XML.starts_with(text) => Sniffed::More,
        _ => Sniffed::Same,
    }
}

/// Whether a piece of a body of unknown type is binary: more than one byte in 32 is a control byte
/// or part of an invalid UTF-8 sequence.
pub(crate) fn is_binary(window: &[u8]) -> bool {
    let mut odd = 0;
    let mut rest = window;
    loop {
        let plain = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
        let Some(at) = rest.iter().position(|byte| !plain(byte)) else {
            break;
        };
        rest = &rest[at..];
        let continuation = |count: usize| {
            rest.len() <= count || rest[1..=count].iter().all(|byte| (0x80..0xc0).contains(byte))
        };
        let length = match rest[0] {
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

/// The shortest run of printable bytes in binary data that may mean something.
const RUN_BYTES: usize = 8;

/// The runs of text in binary data: without control bytes, NUL among them.
pub(crate) fn printable_runs(window: &[u8]) -> impl Iterator<Item = &[u8]> {
    window
        .split(|byte| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127))
        .filter(|run| run.len() >= RUN_BYTES)
}

/// Whether text is in characters of two or four bytes: a quarter of it is NUL.
pub(crate) fn is_wide(window: &[u8]) -> bool {
    memchr::memchr_iter(0, window).count() * 4 >= window.len()
}

/// Whether a token of a JSON text is a number or one of the three names.
pub(crate) fn is_json_literal(token: &[u8]) -> bool {
    match token {
        b"true" | b"false" | b"null" => true,
        _ => is_json_number(token).is_some(),
    }
}

/// A number (RFC 8259 §6): sign, integer, fraction, exponent.
fn is_json_number(token: &[u8]) -> Option<()> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let integer = digits(rest);
    if integer == 0 || (integer > 1 && rest[0] == b'0') {
        return None;
    }
    rest = &rest[integer..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        rest = fraction.get(count..).filter(|_| count > 0)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] | digits => digits,
        };
        let count = digits(exponent);
        rest = exponent.get(count..).filter(|_| count > 0)?;
    }
    rest.is_empty().then_some(())
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
            ("application/soap+xml", BodyKind::Xml),
            ("text/xml;charset=utf-8", BodyKind::Xml),
            ("Multipart/Form-Data; boundary=x", BodyKind::MultipartForm),
            ("multipart/related; boundary=x", BodyKind::Multipart),
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
    fn text_in_binary_data() {
        let runs: Vec<_> = printable_runs(b"\x01\x02short\x00' or 1=1 --\x7f\x80\x81long enough").collect();
        assert_eq!(runs, [&b"' or 1=1 --"[..], b"\x80\x81long enough"]);
    }

    #[test]
    fn charsets_that_are_not_ascii() {
        for (value, wide) in [
            ("application/json; charset=utf-8", false),
            ("application/json; charset=UTF-16LE", true),
            ("text/xml; charset = \"ibm037\"", true),
            ("application/x-www-form-urlencoded;charset=utf-7", true),
            ("text/plain; charset=iso-8859-1", false),
            ("text/plain; charset", false),
        ] {
            assert_eq!(MediaType::of(value.as_bytes()).wide, wide, "{value}");
        }
        assert!(declares_wide_charset(b"<?xml version='1.0' encoding='UTF-16'?>"));
        assert!(!declares_wide_charset(b"<?xml version='1.0' encoding='utf-8'?>"));
    }

    #[test]
    fn first_bytes() {
        let table: &[(BodyKind, &[u8], Sniffed)] = &[
            (BodyKind::Unknown, b"{\"", Sniffed::Json),
            (BodyKind::Text, b"[1", Sniffed::Json),
            (BodyKind::Form, b"{", Sniffed::Json),
            (BodyKind::Form, b"a", Sniffed::Same),
            (BodyKind::Unknown, b"a", Sniffed::Same),
            (BodyKind::Unknown, b"<?x", Sniffed::More),
            (BodyKind::Unknown, b"<?xml", Sniffed::Xml),
            (BodyKind::Unknown, b"<p", Sniffed::Same),
            (BodyKind::Json, b"x", Sniffed::Json),
            (BodyKind::Json, b"\xef\xbb\xbf{1", Sniffed::Json),
            (BodyKind::Json, b"\xff\xfe", Sniffed::Wide),
            (BodyKind::Unknown, b"\xff\xfe{\0", Sniffed::Wide),
            (BodyKind::Unknown, b"\xff\xfb", Sniffed::Same),
            (BodyKind::Xml, b"<\0", Sniffed::Wide),
            (BodyKind::Xml, b"\0<", Sniffed::Wide),
            (BodyKind::Json, b"\0\0\0{", Sniffed::Wide),
            (BodyKind::Unknown, b"\0\0\0\x04", Sniffed::Same),
        ];
        for (kind, start, expected) in table {
            assert_eq!(sniff(*kind, start), *expected, "{kind:?} {start:?}");
        }
    }

    #[test]
    fn json_literals() {
        for token in ["0", "-1.5e+3", "12E5", "true", "null"] {
            assert!(is_json_literal(token.as_bytes()), "{token}");
        }
        for token in [
            "", "-", "01", "1.", ".5", "1e", "0x1", "True", "NaN", "1or1=1", "'a'",
        ] {
            assert!(!is_json_literal(token.as_bytes()), "{token}");
        }
    }

    #[test]
    fn json_between_strings() {
        assert!(json_noise(b": -1.5e+3, true, [null] }"));
        assert!(!json_noise(b": 1 or 1=1,"));
        assert!(!json_noise(b"alert(1)"));
    }
}
