//! As much of HTTP/1.1 (RFC 9112) as a recording server and a scripted client need.

/// A whole request, as read from the beginning of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The request line without its end.
    pub line: String,
    /// The header lines without their ends.
    pub headers: Vec<String>,
    /// The body, with a chunked coding removed.
    pub body: Vec<u8>,
}

/// What a buffer begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request, and its length in bytes.
    Complete(Request, usize),
    /// The beginning of one.
    Incomplete,
    /// Something else.
    Malformed(&'static str),
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines without their ends.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// The longest head, bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// The first line, the header lines, and the length of all with the empty line.
struct Head {
    line: String,
    headers: Vec<String>,
    length: usize,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let searched = &bytes[..bytes.len().min(LONGEST_HEAD)];
        let length = searched.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..length - 4]).into_owned();
        let mut lines = text.split("\r\n").map(str::to_owned);
        Some(Self {
            line: lines.next().unwrap_or_default(),
            headers: lines.collect(),
            length,
        })
    }
}

/// The value of the first header of this name, without surrounding space.
#[must_use]
pub fn header<'a>(headers: &'a [String], name: &str) -> Option<&'a str> {
    headers.iter().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Request {
    /// Reads a request from the beginning of `bytes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Parsed {
        let Some(Head {
            line,
            headers,
            length,
        }) = Head::parse(bytes)
        else {
            return if bytes.len() < LONGEST_HEAD {
                Parsed::Incomplete
            } else {
                Parsed::Malformed("head too long")
            };
        };
        if line.split(' ').count() < 3 {
            return Parsed::Malformed("request line");
        }
        let rest = &bytes[length..];
        let chunked =
            header(&headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let (body, body_length) = if chunked {
            match dechunk(rest) {
                Ok(Some(parts)) => parts,
                Ok(None) => return Parsed::Incomplete,
                Err(reason) => return Parsed::Malformed(reason),
            }
        } else {
            let announced = match header(&headers, "content-length").map(str::parse::<usize>) {
                None => 0,
                Some(Ok(announced)) => announced,
                Some(Err(_)) => return Parsed::Malformed("content-length"),
            };
            match rest.get(..announced) {
                Some(body) => (body.to_vec(), announced),
                None => return Parsed::Incomplete,
            }
        };
        Parsed::Complete(Self { line, headers, body }, length + body_length)
    }

    /// True if the connection may carry another request (RFC 9112 §9.3).
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let connection = header(&self.headers, "connection").unwrap_or_default();
        if self.line.ends_with("HTTP/1.0") {
            connection.eq_ignore_ascii_case("keep-alive")
        } else {
            !connection.eq_ignore_ascii_case("close")
        }
    }
}

impl Response {
    /// Reads a response with a length from the beginning of `bytes`, and its length in bytes. Interim
    /// responses (1xx) are skipped.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let Head {
            line,
            headers,
            length,
        } = Head::parse(bytes)?;
        let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
        if (100..200).contains(&status) {
            let (response, rest) = Self::parse(&bytes[length..])?;
            return Some((response, length + rest));
        }
        let rest = &bytes[length..];
        let (body, body_length) = if header(&headers, "transfer-encoding").is_some() {
            dechunk(rest).ok()??
        } else {
            let announced = header(&headers, "content-length")
                .map_or(Ok(0), str::parse)
                .ok()?;
            (rest.get(..announced)?.to_vec(), announced)
        };
        Some((
            Self {
                status,
                headers,
                body,
            },
            length + body_length,
        ))
    }
}

/// Removes the chunked coding (RFC 9112 §7.1): the body, and the coded length with the trailer section.
/// `None` if the end is not there yet.
fn dechunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line_length) = line_length(&bytes[at..]) else {
            return Ok(None);
        };
        let line = &bytes[at..at + line_length];
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|size| u32::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or("chunk size")? as usize;
        at += line_length + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err("chunk end");
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    loop {
        let Some(trailer) = line_length(&bytes[at..]) else {
            return Ok(None);
        };
        at += trailer + 2;
        if trailer == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|window| window == b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Request, Response};

    #[test]
    fn requests_are_whole_only_at_their_last_byte() {
        let texts: [(&[u8], &[u8]); 3] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
            (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n", b"hello"),
        ];
        for (text, body) in texts {
            for length in 0..text.len() {
                assert_eq!(Request::parse(&text[..length]), Parsed::Incomplete);
            }
            let pipelined = [text, b"GET /next"].concat();
            let Parsed::Complete(request, length) = Request::parse(&pipelined) else {
                panic!("{pipelined:?}")
            };
            assert_eq!((request.body.as_slice(), length), (body, text.len()));
            assert!(request.keeps_alive());
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        for text in [
            "nonsense\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n".to_owned(),
            "x".repeat(1 << 17),
        ] {
            assert!(
                matches!(Request::parse(text.as_bytes()), Parsed::Malformed(_)),
                "{text:.40}"
            );
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        let (response, length) = Response::parse(text).expect("the text holds a whole response");
        assert_eq!(
            (response.status, response.body.as_slice(), length),
            (403, &b"no"[..], text.len())
        );
        assert_eq!(Response::parse(&text[..text.len() - 1]), None);
    }
}
