//! HTTP/1.0 and 1.1 requests as RFC 9112 frames them, strict where targets are known to disagree.

mod body;
mod chunked;
mod field;
mod multipart;
mod request_line;
mod violation;

pub(crate) use body::{
    BodyKind, MediaType, SNIFF_BYTES, Sniffed, UTF8_MARK, declares_wide_charset, is_binary, is_json_literal,
    is_wide, json_noise, printable_runs, sniff,
};
pub(crate) use chunked::{ChunkSize, SizeLine};
pub use field::parse_field_line;
pub(crate) use field::{
    FieldError, FieldName, TransferCoding, is_token, name_of, parse_field, transfer_coding, trim,
};
pub(crate) use multipart::{Boundary, disposition};
pub(crate) use request_line::{
    RequestLine, Version, authority, method_length, parse as parse_request_line, path_and_query,
};
pub use violation::Violation;
