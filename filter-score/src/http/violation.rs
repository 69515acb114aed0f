//! Protocol violations by name. Their severities and messages are rules of the protocol pack.

use serde::{Deserialize, Serialize};

macro_rules! violations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What is wrong with a message's framing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Violation {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl Violation {
            /// Every violation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in rule packs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

violations! {
    /// The stream does not begin with a method (RFC 9110 §9.1). Nothing after it can be parsed.
    BadMethod = "bad-method",
    /// The request line has not the form method SP target SP version (RFC 9112 §3).
    BadRequestLine = "bad-request-line",
    /// The request target is none of the four forms (RFC 9112 §3.2).
    BadTarget = "bad-target",
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    BadVersion = "bad-version",
    /// A request without version, as HTTP/0.9 had them.
    Http09 = "http-0.9",
    /// The HTTP/2 connection preface (RFC 9113 §3.4): what follows is not scored.
    Http2Preface = "http2-preface",
    /// An upgrade to HTTP/2 without TLS, which would carry requests past the filter.
    UpgradeH2c = "upgrade-h2c",
    /// A line ends in LF without CR (RFC 9112 §2.2).
    BareLf = "bare-lf",
    /// A CR that is not followed by LF (RFC 9112 §2.2).
    BareCr = "bare-cr",
    /// A NUL byte in the head.
    Nul = "nul",
    /// Another control byte in the head.
    ControlByte = "control-byte",
    /// Bytes above 0x7f in the request target.
    NonAsciiTarget = "non-ascii-target",
    /// A folded header line (RFC 9112 §5.2).
    ObsFold = "obs-fold",
    /// Space between header name and colon (RFC 9112 §5.1).
    SpaceBeforeColon = "space-before-colon",
    /// A header line without colon or with a name that is no token.
    BadHeader = "bad-header",
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    MissingHost = "missing-host",
    /// More than one Host.
    DuplicateHost = "duplicate-host",
    /// Content-Length is not one number (RFC 9112 §6.3).
    BadContentLength = "bad-content-length",
    /// Several Content-Length values that differ.
    DifferingContentLength = "differing-content-length",
    /// The same Content-Length more than once.
    RepeatedContentLength = "repeated-content-length",
    /// Content-Length and Transfer-Encoding together (RFC 9112 §6.1).
    LengthAndTransferEncoding = "length-and-transfer-encoding",
    /// A Transfer-Encoding that does not end in exactly one `chunked`.
    BadTransferEncoding = "bad-transfer-encoding",
    /// Transfer-Encoding in an HTTP/1.0 request.
    TransferEncodingHttp10 = "transfer-encoding-http10",
    /// A chunk size that is no plain hexadecimal number, or data that does not end where it says.
    BadChunk = "bad-chunk",
    /// Chunk extensions, which no ordinary client sends.
    ChunkExtension = "chunk-extension",
    /// A trailer that would change framing or routing (RFC 9110 §6.5.1).
    BadTrailer = "bad-trailer",
    /// Request line and headers exceed the limit.
    HeadTooLarge = "head-too-large",
    /// More header lines than allowed.
    TooManyHeaders = "too-many-headers",
    /// More parameters than allowed.
    TooManyParams = "too-many-params",
    /// A multipart body without one usable boundary in its Content-Type (RFC 2046 §5.1.1).
    MultipartBoundary = "multipart-boundary",
    /// A line of a multipart body's structure ends in LF alone.
    MultipartBareLf = "multipart-bare-lf",
    /// A line that begins with the delimiter and goes on.
    MultipartDelimiter = "multipart-delimiter",
    /// A header line of a part that is malformed, folded, too long, or one too many.
    MultipartHeader = "multipart-header",
    /// A form's part without exactly one well-formed Content-Disposition with one name (RFC 7578 §4.2).
    MultipartDisposition = "multipart-disposition",
    /// A name with a backslash before a quote, which targets read differently.
    MultipartQuotedPair = "multipart-quoted-pair",
    /// `filename*` or `name*`, which RFC 7578 §4.2 forbids.
    MultipartExtendedName = "multipart-extended-name",
    /// A part with a Content-Transfer-Encoding, which most targets ignore (RFC 7578 §4.7).
    MultipartTransferEncoding = "multipart-transfer-encoding",
    /// A multipart body within a part (RFC 7578 §4.3).
    MultipartNested = "multipart-nested",
    /// Something before the first or after the last delimiter of a multipart body.
    MultipartOutside = "multipart-outside",
    /// A multipart body without its last delimiter.
    MultipartIncomplete = "multipart-incomplete",
    /// A content coding that is not decoded.
    UnknownCoding = "unknown-coding",
    /// More than two codings, one over the other.
    TooManyCodings = "too-many-codings",
    /// A body that is not of the coding it names, or has more after it.
    BadCoding = "bad-coding",
    /// A body that ends inside its coding.
    IncompleteCoding = "incomplete-coding",
    /// A body that decodes to more than allowed, or to so much more than it was that it is a bomb.
    DecodedTooLarge = "decoded-too-large",
    /// A body larger than allowed.
    BodyTooLarge = "body-too-large",
    /// A body of which the part beyond a limit was not scored, as the policy says.
    PartlyScored = "partly-scored",
    /// Content-Type given more than once.
    RepeatedContentType = "repeated-content-type",
    /// A body in a charset in which ASCII characters are other bytes, such as UTF-16, UTF-7 or EBCDIC.
    WideCharset = "wide-charset",
    /// A body that says it is JSON and is not quite (RFC 8259).
    BadJson = "bad-json",
    /// JSON or XML nested deeper than allowed.
    TooDeep = "too-deep",
    /// More values in a JSON text, or elements in an XML document, than allowed.
    TooManyValues = "too-many-values",
    /// A method that the service does not take.
    MethodNotAllowed = "method-not-allowed",
    /// A content type that the service does not take.
    ContentTypeNotAllowed = "content-type-not-allowed",
    /// A protocol to upgrade to that the service does not take.
    UpgradeNotAllowed = "upgrade-not-allowed",
    /// The request target exceeds its limit.
    UrlTooLong = "url-too-long",
    /// A header line exceeds its limit.
    HeaderTooLong = "header-too-long",
    /// A parameter exceeds its limit.
    ParamTooLong = "param-too-long",
    /// The stream ended inside a request.
    Truncated = "truncated",
}
