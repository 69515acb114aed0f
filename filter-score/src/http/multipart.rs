//! Multipart bodies (RFC 2046 §5.1, RFC 7578): the boundary and Content-Disposition.

use serde::{Deserialize, Serialize};

use super::field::{is_token, trim};

/// The longest boundary (RFC 2046 §5.1.1), in bytes.
pub(crate) const BOUNDARY_BYTES: usize = 70;

/// What separates the parts of a body, without the dashes in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<u8>", try_from = "Vec<u8>")]
pub(crate) struct Boundary {
    bytes: [u8; BOUNDARY_BYTES],
    length: u8,
}

impl Boundary {
    pub(crate) const NONE: Self = Self {
        bytes: [0; BOUNDARY_BYTES],
        length: 0,
    };

    /// The only `boundary` parameter of a Content-Type; `None` if there is none or several, or if it is
    /// too long or has bytes that a boundary cannot have.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let mut boundary = None;
        for parameter in Parameters::after_type(content_type) {
            let parameter = parameter.ok()?;
            if !parameter.name.eq_ignore_ascii_case(b"boundary") {
                continue;
            }
            let value = parameter.value;
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
            if boundary.is_some()
                || value.is_empty()
                || value.len() > BOUNDARY_BYTES
                || value.ends_with(b" ")
                || !value.iter().all(allowed)
            {
                return None;
            }
            let mut bytes = [0; BOUNDARY_BYTES];
            bytes[..value.len()].copy_from_slice(value);
            boundary = Some(Self {
                bytes,
                length: value.len() as u8,
            });
        }
        boundary
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Length of a delimiter from its line feed on: `\n--boundary`.
    pub(crate) fn delimiter_length(&self) -> usize {
        3 + usize::from(self.length)
    }

    /// The first `count` bytes of a delimiter, in two pieces.
    pub(crate) fn delimiter_start(&self, count: usize) -> [&[u8]; 2] {
        [
            &b"\n--"[..count.min(3)],
            &self.as_bytes()[..count.saturating_sub(3)],
        ]
    }

    /// How many bytes at the start of `input` go on with a delimiter of which `matched` bytes came before.
    pub(crate) fn matches(&self, matched: usize, input: &[u8]) -> usize {
        let expected = b"\n--".iter().chain(self.as_bytes()).skip(matched);
        expected.zip(input).take_while(|(a, b)| a == b).count()
    }
}

impl From<Boundary> for Vec<u8> {
    fn from(boundary: Boundary) -> Self {
        boundary.as_bytes().to_vec()
    }
}

impl TryFrom<Vec<u8>> for Boundary {
    type Error = &'static str;

    fn try_from(given: Vec<u8>) -> Result<Self, Self::Error> {
        let mut boundary = Self::NONE;
        let room = boundary.bytes.get_mut(..given.len());
        room.ok_or("a boundary is too long")?.copy_from_slice(&given);
        boundary.length = given.len() as u8;
        Ok(boundary)
    }
}

/// What the Content-Disposition of a part says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disposition<'a> {
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) filename: Option<&'a [u8]>,
    /// `filename*` or `name*` (RFC 8187), which RFC 7578 §4.2 forbids: the value as it stands.
    pub(crate) extended: Option<&'a [u8]>,
    /// A backslash stands before a quote or another backslash: targets disagree on where the value ends.
    pub(crate) escaped: bool,
    /// A parameter is repeated or malformed, or the type is not `form-data`.
    pub(crate) malformed: bool,
}

/// Reads the value of a Content-Disposition.
pub(crate) fn disposition(value: &[u8]) -> Disposition<'_> {
    let mut found = Disposition {
        malformed: !type_of(value).eq_ignore_ascii_case(b"form-data"),
        ..Disposition::default()
    };
    for parameter in Parameters::after_type(value) {
        let Ok(parameter) = parameter else {
            found.malformed = true;
            break;
        };
        found.escaped |= parameter.escaped;
        let is = |name: &str| parameter.name.eq_ignore_ascii_case(name.as_bytes());
        let place = if is("name") {
            &mut found.name
        } else if is("filename") {
            &mut found.filename
        } else if is("filename*") || is("name*") {
            &mut found.extended
        } else {
            continue;
        };
        found.malformed |= place.replace(parameter.value).is_some();
    }
    found
}

/// What stands before the first parameter.
fn type_of(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    trim(&value[..end])
}

struct Parameter<'a> {
    name: &'a [u8],
    /// Without the quotes, with its backslashes.
    value: &'a [u8],
    escaped: bool,
}

/// The parameters of a header value (RFC 9110 §5.6.6), one after the other; ends after the first that
/// is malformed.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn after_type(value: &'a [u8]) -> Self {
        let start = memchr::memchr(b';', value).unwrap_or(value.len());
        Self {
            rest: &value[start..],
        }
    }

    fn read(&mut self) -> Option<Parameter<'a>> {
        let text = self.rest;
        let name_end = text
            .iter()
            .position(|byte| !is_token(*byte))
            .filter(|end| *end > 0)?;
        let value = text[name_end..].strip_prefix(b"=")?;
        let (value, rest, escaped) = if let Some(quoted) = value.strip_prefix(b"\"") {
            let (end, escaped) = closing_quote(quoted)?;
            (&quoted[..end], &quoted[end + 1..], escaped)
        } else {
            let end = value
                .iter()
                .position(|byte| matches!(byte, b';' | b' ' | b'\t' | b'"'))
                .unwrap_or(value.len());
            (&value[..end], &value[end..], false)
        };
        let rest = trim(rest);
        if !matches!(rest, [] | [b';', ..]) {
            return None;
        }
        self.rest = rest;
        Some(Parameter {
            name: &text[..name_end],
            value,
            escaped,
        })
    }
}

/// Where a quoted string ends, and whether a backslash stands before a quote or a backslash in it. Any
/// other backslash is a character: browsers once sent whole Windows paths.
fn closing_quote(text: &[u8]) -> Option<(usize, bool)> {
    let mut escaped = false;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some((at, escaped));
        }
        from = at + 1;
        if let Some(b'"' | b'\\') = text.get(from) {
            escaped = true;
            from += 1;
        }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let separated = self.rest.strip_prefix(b";")?;
        self.rest = trim(separated);
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.read();
        if parameter.is_none() {
            self.rest = &[];
        }
        Some(parameter.ok_or(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let long = "x".repeat(71);
        let table = [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data;boundary=\"a b:c\"", Some("a b:c")),
            ("multipart/form-data; charset=utf-8; BOUNDARY=a-b", Some("a-b")),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=a; boundary=a", None),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=a\"b", None),
            ("multipart/form-data; boundary=a b", None),
            ("multipart/form-data; boundary=a<b", None),
            ("multipart/form-data; boundary =a", None),
            (long.as_str(), None),
        ];
        for (value, expected) in table {
            let boundary = Boundary::of(value.as_bytes());
            assert_eq!(
                boundary.as_ref().map(Boundary::as_bytes),
                expected.map(str::as_bytes),
                "{value}"
            );
        }
        assert!(Boundary::of(format!("multipart/mixed; boundary={}", "x".repeat(70)).as_bytes()).is_some());
        assert!(Boundary::of(format!("multipart/mixed; boundary={long}").as_bytes()).is_none());
    }

    #[test]
    fn dispositions() {
        let found = disposition(br#"form-data; name="a"; filename="C:\dir\x;y.png""#);
        assert_eq!(found.name, Some(&b"a"[..]));
        assert_eq!(found.filename, Some(&br"C:\dir\x;y.png"[..]));
        assert!(!found.malformed && !found.escaped && found.extended.is_none());
        let found = disposition(br"form-data; name=a; filename*=UTF-8''x%2ephp");
        assert_eq!(found.name, Some(&b"a"[..]));
        assert_eq!(found.extended, Some(&b"UTF-8''x%2ephp"[..]));
        assert!(disposition(br#"form-data; name="a\"b""#).escaped);
        let malformed = [
            r#"form-data; name="a"; name="b""#,
            r#"form-data; name="a" filename="b""#,
            r#"form-data; name="a"b"#,
            r#"form-data; name="a"#,
            r"form-data; name='a b'",
            r#"form-data; name = "a""#,
            "form-data; name",
            r#"attachment; name="a""#,
            "",
        ];
        for value in malformed {
            assert!(disposition(value.as_bytes()).malformed, "{value}");
        }
        assert!(!disposition(b"form-data; name=\"a\";").malformed);
    }

    #[test]
    fn delimiters_in_pieces() {
        let boundary = Boundary::of(b"multipart/x; boundary=ab").unwrap();
        assert_eq!(boundary.delimiter_length(), 5);
        assert_eq!(boundary.matches(0, b"\n--abc"), 5);
        assert_eq!(boundary.matches(2, b"-ax"), 2);
        assert_eq!(boundary.matches(4, b""), 0);
        assert_eq!(boundary.delimiter_start(2), [&b"\n-"[..], b""]);
        assert_eq!(boundary.delimiter_start(4), [&b"\n--"[..], b"a"]);
    }
}
