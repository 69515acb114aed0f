//! Header and trailer lines (RFC 9110 §5, RFC 9112 §5).

/// Headers that the framing or the scoring depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    Host,
    ContentLength,
    TransferEncoding,
    ContentType,
    ContentEncoding,
    Upgrade,
    Cookie,
    Other,
}

/// Why a header line is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    SpaceBeforeColon,
    Malformed,
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let allowed = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Splits a line (without its line end) into name and value without surrounding white space.
pub(crate) fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), FieldError> {
    let end = line
        .iter()
        .position(|byte| !is_token(*byte))
        .unwrap_or(line.len());
    match line.get(end) {
        Some(b':') if end > 0 => Ok((&line[..end], trim(&line[end + 1..]))),
        Some(b' ' | b'\t') if end > 0 && trim(&line[end..]).first() == Some(&b':') => {
            Err(FieldError::SpaceBeforeColon)
        }
        _ => Err(FieldError::Malformed),
    }
}

/// Name and value of a header line as the scorer reads it, without the white space around the value; `None` if it is none.
/// `line` is without its line end.
#[must_use]
pub fn parse_field_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    parse_field(line).ok()
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Recognises the names that matter.
pub(crate) fn name_of(name: &[u8]) -> FieldName {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        4 if is("host") => FieldName::Host,
        6 if is("cookie") => FieldName::Cookie,
        7 if is("upgrade") => FieldName::Upgrade,
        12 if is("content-type") => FieldName::ContentType,
        14 if is("content-length") => FieldName::ContentLength,
        16 if is("content-encoding") => FieldName::ContentEncoding,
        17 if is("transfer-encoding") => FieldName::TransferEncoding,
        _ => FieldName::Other,
    }
}

/// What a Transfer-Encoding value means for the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferCoding {
    Chunked,
    /// Chunked over a compression: framed, but the content is not plain.
    CompressedChunked,
    Bad,
}

/// Only exact spellings count: what one target reads as chunked and another does not is bad.
pub(crate) fn transfer_coding(value: &[u8]) -> TransferCoding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return TransferCoding::Chunked;
    }
    let mut parts = value.split(|byte| *byte == b',').map(trim).rev();
    let chunked = parts
        .next()
        .is_some_and(|part| part.eq_ignore_ascii_case(b"chunked"));
    let known = |part: &[u8]| {
        ["gzip", "deflate", "x-gzip"]
            .iter()
            .any(|name| part.eq_ignore_ascii_case(name.as_bytes()))
    };
    if chunked && parts.all(known) {
        TransferCoding::CompressedChunked
    } else {
        TransferCoding::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse_field(b"Host: a b \t"), Ok((&b"Host"[..], &b"a b"[..])));
        assert_eq!(parse_field(b"X:"), Ok((&b"X"[..], &b""[..])));
        assert_eq!(parse_field(b"Host : a"), Err(FieldError::SpaceBeforeColon));
        assert_eq!(parse_field(b"Host"), Err(FieldError::Malformed));
        assert_eq!(parse_field(b": a"), Err(FieldError::Malformed));
        assert_eq!(parse_field(b"Ho st: a"), Err(FieldError::Malformed));
        assert_eq!(parse_field(b"X(y): a"), Err(FieldError::Malformed));
        assert_eq!(parse_field(b""), Err(FieldError::Malformed));
    }

    #[test]
    fn names() {
        assert_eq!(name_of(b"CONTENT-length"), FieldName::ContentLength);
        assert_eq!(name_of(b"Content_Length"), FieldName::Other);
    }

    #[test]
    fn transfer_codings() {
        use TransferCoding::{Bad, Chunked, CompressedChunked};
        let table = [
            ("chunked", Chunked),
            ("Chunked", Chunked),
            ("gzip, chunked", CompressedChunked),
            ("chunked, chunked", Bad),
            ("chunked, gzip", Bad),
            ("xchunked", Bad),
            ("identity", Bad),
            ("\"chunked\"", Bad),
            ("chunked;q=1", Bad),
            ("", Bad),
        ];
        for (value, expected) in table {
            assert_eq!(transfer_coding(value.as_bytes()), expected, "{value}");
        }
    }
}
