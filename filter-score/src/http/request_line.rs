//! The request line (RFC 9112 §3).

use serde::{Deserialize, Serialize};

use super::field::is_token;

/// Longer methods are not methods.
const METHOD_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    Http09,
    Http10,
    Http11,
    Http2Preface,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine<'a> {
    pub(crate) method: &'a [u8],
    /// Between the first and the last space: a malformed target keeps its spaces.
    pub(crate) target: &'a [u8],
    pub(crate) version: Version,
}

/// How many bytes at the start of a request line can be a method: `Ok(None)` if all of them, and more
/// may come; `Ok(Some(n))` if a space follows after `n`; `Err(n)` if the byte at `n` cannot be there.
pub(crate) fn method_length(line: &[u8]) -> Result<Option<usize>, usize> {
    for (at, &byte) in line.iter().enumerate().take(METHOD_BYTES + 1) {
        if byte == b' ' && at > 0 {
            return Ok(Some(at));
        }
        if !is_token(byte) || at == METHOD_BYTES {
            return Err(at);
        }
    }
    Ok(None)
}

/// Splits a line whose method was checked; `line` is without its line end.
pub(crate) fn parse(line: &[u8]) -> RequestLine<'_> {
    let method_end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (method, rest) = line.split_at(method_end);
    let rest = rest.get(1..).unwrap_or_default();
    let (target, version) = match memchr::memrchr(b' ', rest) {
        Some(at) if rest[at + 1..].starts_with(b"HTTP/") => (&rest[..at], &rest[at + 1..]),
        // `GET /a b`: no version, and the space belongs to the target.
        _ => (rest, &b""[..]),
    };
    let version = match version {
        b"" => Version::Http09,
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/2.0" if method == b"PRI" && target == b"*" => Version::Http2Preface,
        _ => Version::Unknown,
    };
    RequestLine {
        method,
        target,
        version,
    }
}

/// Path and query of a request target, or `None` if it is none of the forms of RFC 9112 §3.2.
pub(crate) fn path_and_query<'a>(method: &[u8], target: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let path = match target {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => target,
        _ if method == b"CONNECT" => return Some((target, None)),
        _ => {
            let (_, rest) = split_absolute(target)?;
            if rest.is_empty() { b"/" } else { rest }
        }
    };
    match memchr::memchr(b'?', path) {
        Some(at) => Some((&path[..at], Some(&path[at + 1..]))),
        None => Some((path, None)),
    }
}

/// The authority of a target in absolute form, which stands for the Host header (RFC 9112 §3.2.2).
pub(crate) fn authority(target: &[u8]) -> Option<&[u8]> {
    match target {
        [b'/' | b'*', ..] => None,
        _ => split_absolute(target).map(|(authority, _)| authority),
    }
}

/// Splits a target in absolute form behind its authority.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = memchr::memmem::find(target, b"://")?;
    let letters = target[..scheme]
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if scheme == 0 || !letters {
        return None;
    }
    let rest = &target[scheme + 3..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    Some(rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert_eq!(method_length(b"GET /"), Ok(Some(3)));
        assert_eq!(method_length(b"GE"), Ok(None));
        assert_eq!(method_length(b""), Ok(None));
        assert_eq!(method_length(b" GET"), Err(0));
        assert_eq!(method_length(b"GET\t/"), Err(3));
        assert_eq!(method_length(b"\x16\x03\x01"), Err(0));
        assert_eq!(method_length(&[b'A'; 40]), Err(32));
        assert_eq!(method_length(&[b'A'; 32]), Ok(None));
    }

    #[test]
    fn lines() {
        let table: &[(&str, &str, &str, Version)] = &[
            ("GET / HTTP/1.1", "GET", "/", Version::Http11),
            ("GET /a b HTTP/1.0", "GET", "/a b", Version::Http10),
            ("GET /", "GET", "/", Version::Http09),
            ("GET ", "GET", "", Version::Http09),
            ("GET / HTTP/1.2", "GET", "/", Version::Unknown),
            ("GET / HTTP/1.1 ", "GET", "/ HTTP/1.1 ", Version::Http09),
            ("PRI * HTTP/2.0", "PRI", "*", Version::Http2Preface),
            ("GET /x HTTP/1.1x", "GET", "/x", Version::Unknown),
        ];
        for (line, method, target, version) in table {
            let expected = RequestLine {
                method: method.as_bytes(),
                target: target.as_bytes(),
                version: *version,
            };
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn targets() {
        type PathAndQuery = Option<(&'static str, Option<&'static str>)>;
        let table: &[(&str, &str, PathAndQuery)] = &[
            ("GET", "/a?b", Some(("/a", Some("b")))),
            ("GET", "http://host/a?b?c", Some(("/a", Some("b?c")))),
            ("GET", "http://host", Some(("/", None))),
            ("GET", "http://host?q", Some(("", Some("q")))),
            ("OPTIONS", "*", Some(("*", None))),
            ("GET", "*", None),
            ("CONNECT", "host:443", Some(("host:443", None))),
            ("GET", "host:443", None),
            ("GET", "", None),
            ("GET", "://x/", None),
        ];
        for (method, target, expected) in table {
            let expected = expected.map(|(path, query)| (path.as_bytes(), query.map(str::as_bytes)));
            assert_eq!(
                path_and_query(method.as_bytes(), target.as_bytes()),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn authorities() {
        let table = [
            ("http://a:b@host:80/a?b", Some("a:b@host:80")),
            ("http://[::1]?q", Some("[::1]")),
            ("http://host", Some("host")),
            ("http:///a", Some("")),
            ("/a?b=http://host/", None),
            ("a?b=http://host/", None),
            ("host:443", None),
            ("*", None),
        ];
        for (target, expected) in table {
            assert_eq!(
                authority(target.as_bytes()),
                expected.map(str::as_bytes),
                "{target}"
            );
        }
    }
}
