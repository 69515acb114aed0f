//! The head of a request: request line, header fields, cookies and the parameters in them.

use std::mem::take;

use super::{Content, Event, Inspection};
use crate::coding::CodingError;
use crate::excerpt::Excerpt;
use crate::findings::Place;
use crate::http::{self, BodyKind, FieldError, FieldName, MediaType, TransferCoding, Version, Violation};
use crate::request::Phase;
use crate::rules::Part;
use crate::rules::classes::Classes;
use crate::target::Target;
use crate::verdict::OpaqueKind;

impl Inspection<'_> {
    pub(super) fn head_line(&mut self, input: &[u8]) -> (usize, Event) {
        let carried = self.carry.len();
        let budget = (self.limits.head_bytes - self.head.bytes) as usize - carried;
        let within = &input[..input.len().min(budget)];
        if *self.phase == Phase::RequestLine
            && carried <= 64
            && let Some(result) = self.check_method(within)
        {
            return result;
        }
        if let Some(at) = memchr::memchr(b'\n', within) {
            let event = if carried == 0 {
                self.head.bytes += at as u32 + 1;
                self.line_end(&within[..=at])
            } else {
                let mut line = take(self.carry);
                line.extend_from_slice(&within[..=at]);
                self.head.bytes += line.len() as u32;
                let event = self.line_end(&line);
                line.clear();
                *self.carry = line;
                event
            };
            return (at + 1, event);
        }
        if within.len() == budget {
            self.evaluator.violation(Violation::HeadTooLarge, b"");
            return (budget.min(input.len()), Event::Opaque(OpaqueKind::Unframed));
        }
        self.carry.extend_from_slice(within);
        (within.len(), Event::Continue)
    }

    /// Takes field lines: all that are there, or up to one in which something was found.
    pub(super) fn field_lines(&mut self, input: &[u8]) -> (usize, Event) {
        let (phase, found) = (*self.phase, self.evaluator.findings.mark());
        let mut at = 0;
        loop {
            at += self.known_lines(&input[at..]);
            if at > 0 && at == input.len() {
                return (at, Event::Continue);
            }
            let (taken, event) = self.head_line(&input[at..]);
            at += taken;
            let same = *self.phase == phase && self.evaluator.findings.mark() == found;
            if event != Event::Continue || !same || at == input.len() {
                return (at, event);
            }
        }
    }

    /// Takes whole lines that are known to be clean, as long as they are.
    fn known_lines(&mut self, input: &[u8]) -> usize {
        // What the model makes of a line depends on the hits before it.
        let alone = self.evaluator.findings.is_unremarkable();
        let known = self.evaluator.known.as_mut().filter(|known| known.keeps_lines());
        let Some(known) = known else {
            return 0;
        };
        if *self.phase != Phase::Headers || !self.carry.is_empty() || !alone {
            return 0;
        }
        let mut at = 0;
        let room = (self.limits.head_bytes - self.head.bytes) as usize;
        let within = &input[..input.len().min(room)];
        while let Some(end) = memchr::memchr(b'\n', &within[at..])
            && let [line @ .., b'\r'] = &within[at..at + end]
            && self.head.lines < self.limits.headers
            && !exceeds(line, self.limits.header_bytes)
            && let Some(fingerprint) = known.line(line, self.evaluator.ruling.index)
            && known.is_clean_line(fingerprint)
        {
            // Of the fields that say something about the message, only this one is kept.
            if is_host(line) {
                if self.head.hosts > 0 {
                    break;
                }
                self.head.hosts = 1;
            }
            self.head.lines += 1;
            at += end + 1;
        }
        self.head.bytes += at as u32;
        at
    }

    /// A byte that no method has ends the parsing where it stands: a stream of another protocol is
    /// not collected until some line end comes.
    fn check_method(&mut self, input: &[u8]) -> Option<(usize, Event)> {
        let carried = self.carry.len();
        let mut joined = [0; 128];
        let start = if carried == 0 {
            input
        } else {
            let known = carried + input.len().min(joined.len() - carried);
            joined[..carried].copy_from_slice(self.carry);
            joined[carried..known].copy_from_slice(&input[..known - carried]);
            &joined[..known]
        };
        let at = http::method_length(start).err()?;
        *self.line = Excerpt::of(&start[..=at]);
        if self.after_upgrade && !passed_over(start[at]) {
            return Some((at + 1 - carried, Event::Opaque(OpaqueKind::Upgraded)));
        }
        self.evaluator.violation(Violation::BadMethod, &start[..=at]);
        Some((at + 1 - carried, Event::Opaque(OpaqueKind::NotHttp)))
    }

    pub(super) fn line_end(&mut self, line: &[u8]) -> Event {
        let (line, bare) = match line {
            [line @ .., b'\r', b'\n'] => (line, false),
            [line @ .., b'\n'] => (line, true),
            line => (line, false),
        };
        if *self.phase == Phase::RequestLine {
            self.note_subject(line);
        }
        if bare {
            self.evaluator.violation(Violation::BareLf, line);
        }
        match *self.phase {
            Phase::RequestLine => self.request_line(line),
            Phase::Headers if line.is_empty() => self.head_end(),
            Phase::Trailers if line.is_empty() => {
                *self.phase = Phase::Complete;
                Event::Continue
            }
            _ => {
                self.field_line(line);
                Event::Continue
            }
        }
    }

    /// Notes what exclusions and conditions ask for, before anything in the line can hit.
    fn note_subject(&mut self, line: &[u8]) {
        let subject = &mut self.evaluator.findings.subject;
        if subject.is_asked() {
            let http::RequestLine { method, target, .. } = http::parse_request_line(line);
            let path = http::path_and_query(method, target).map_or(&b""[..], |(path, _)| path);
            subject.note(method, path);
        }
    }

    pub(super) fn request_line(&mut self, line: &[u8]) -> Event {
        *self.line = Excerpt::of(line);
        *self.phase = Phase::Headers;
        let http::RequestLine {
            method,
            target,
            version,
        } = http::parse_request_line(line);
        self.head.version = version;
        self.head.connect = method == b"CONNECT";
        match version {
            Version::Http2Preface => {
                self.evaluator.violation(Violation::Http2Preface, line);
                return Event::Opaque(OpaqueKind::Http2);
            }
            Version::Http09 => self.evaluator.violation(Violation::Http09, line),
            Version::Unknown => self.evaluator.violation(Violation::BadVersion, line),
            Version::Http10 | Version::Http11 => {}
        }
        if !self.evaluator.ruling.allow.method(method) {
            self.evaluator.violation(Violation::MethodNotAllowed, method);
        }
        if exceeds(target, self.limits.url_bytes) {
            self.evaluator.violation(Violation::UrlTooLong, target);
        }
        if target.is_empty() || target.contains(&b' ') {
            self.evaluator.violation(Violation::BadRequestLine, line);
        }
        let (path, query) = http::path_and_query(method, target).unwrap_or_else(|| {
            self.evaluator.violation(Violation::BadTarget, target);
            (target, None)
        });
        let mut classes = self.evaluator.field(
            Place {
                target: Target::Path,
                name: b"",
            },
            path,
            false,
        );
        if let Some(authority) = http::authority(target) {
            let place = Place {
                target: Target::Header,
                name: b"host",
            };
            classes = classes.or(self.evaluator.field(place, authority, false));
        }
        if let Some(query) = query {
            for param in query.split(|byte| *byte == b'&') {
                classes = classes.or(self.param(Target::Query, Target::QueryName, param));
            }
        }
        self.control_bytes(classes, line);
        if classes.intersects(Classes::HIGH) {
            self.evaluator.violation(Violation::NonAsciiTarget, target);
        }
        self.evaluator.end_of(Part::Line);
        if version == Version::Http09 {
            Event::Opaque(OpaqueKind::Http09)
        } else {
            Event::Continue
        }
    }

    fn control_bytes(&mut self, classes: Classes, line: &[u8]) {
        if classes.intersects(Classes::NUL) {
            self.evaluator.violation(Violation::Nul, line);
        }
        if classes.intersects(Classes::CR) {
            self.evaluator.violation(Violation::BareCr, line);
        }
        if classes.intersects(Classes::CONTROL) {
            self.evaluator.violation(Violation::ControlByte, line);
        }
    }

    pub(super) fn count_param(&mut self, param: &[u8]) {
        self.head.params = self.head.params.saturating_add(1);
        if self.head.params > self.limits.params {
            self.evaluator.violation(Violation::TooManyParams, param);
        }
        if exceeds(param, self.limits.param_bytes) {
            self.evaluator.violation(Violation::ParamTooLong, param);
        }
    }

    pub(super) fn param(&mut self, value_target: Target, name_target: Target, param: &[u8]) -> Classes {
        self.count_param(param);
        let (name, value) = match memchr::memchr(b'=', param) {
            Some(at) => (&param[..at], &param[at + 1..]),
            // `?1+union+select`: what has no name is a value.
            None => (&b""[..], param),
        };
        let mut classes = Classes::default();
        if !name.is_empty() {
            classes = self.evaluator.field(
                Place {
                    target: name_target,
                    name,
                },
                name,
                true,
            );
        }
        if !value.is_empty() {
            classes = classes.or(self.evaluator.field(
                Place {
                    target: value_target,
                    name,
                },
                value,
                true,
            ));
        }
        classes
    }

    /// A header line without a name that could be relied on: all of it is a value.
    fn unnamed_line(&mut self, violation: Violation, line: &[u8]) {
        self.evaluator.violation(violation, line);
        let place = Place {
            target: Target::Header,
            name: b"",
        };
        let classes = self.evaluator.field(place, line, false);
        self.control_bytes(classes, line);
    }

    fn field_line(&mut self, line: &[u8]) {
        self.head.lines = self.head.lines.saturating_add(1);
        if self.head.lines > self.limits.headers {
            self.evaluator.violation(Violation::TooManyHeaders, line);
        }
        if exceeds(line, self.limits.header_bytes) {
            self.evaluator.violation(Violation::HeaderTooLong, line);
        }
        let fingerprint = match (&self.evaluator.known, *self.phase) {
            // What the model makes of a line depends on the hits before it.
            (Some(known), Phase::Headers) if self.evaluator.findings.is_unremarkable() => {
                known.line(line, self.evaluator.ruling.index)
            }
            _ => None,
        };
        if let (Some(fingerprint), Some(known)) = (fingerprint, &mut self.evaluator.known) {
            if known.is_clean_line(fingerprint) {
                // Of the fields that say something about the message, only this one is kept.
                if is_host(line) {
                    self.known_field(FieldName::Host, b"", line);
                }
                return;
            }
            known.missed_line();
        }
        let known = self.scored_line(line);
        if let Some(fingerprint) = fingerprint
            && let Some(FieldName::Host | FieldName::Cookie | FieldName::Other) = known
            && self.evaluator.findings.is_unremarkable()
            && let Some(memory) = &mut self.evaluator.known
        {
            memory.keep_line(fingerprint);
        }
    }

    /// Scores a line and says which field it is, if it is one.
    fn scored_line(&mut self, line: &[u8]) -> Option<FieldName> {
        if let [b' ' | b'\t', ..] = line {
            self.unnamed_line(Violation::ObsFold, line);
            return None;
        }
        let (name, value) = match http::parse_field(line) {
            Ok(field) => field,
            Err(error) => {
                let violation = match error {
                    FieldError::SpaceBeforeColon => Violation::SpaceBeforeColon,
                    FieldError::Malformed => Violation::BadHeader,
                };
                self.unnamed_line(violation, line);
                return None;
            }
        };
        if *self.phase == Phase::Headers {
            self.evaluator.header(name);
        }
        let known = http::name_of(name);
        if *self.phase == Phase::Trailers {
            if matches!(
                known,
                FieldName::Host | FieldName::ContentLength | FieldName::TransferEncoding
            ) {
                self.evaluator.violation(Violation::BadTrailer, line);
            }
        } else if known != FieldName::Other {
            self.known_field(known, value, line);
        }
        let classes = if known == FieldName::Cookie {
            self.cookies(value)
        } else {
            self.evaluator.field(
                Place {
                    target: Target::Header,
                    name,
                },
                value,
                false,
            )
        };
        if classes.intersects(Classes::NUL.or(Classes::CR).or(Classes::CONTROL)) {
            self.control_bytes(classes, line);
        }
        Some(known)
    }

    fn cookies(&mut self, value: &[u8]) -> Classes {
        let mut classes = Classes::default();
        for cookie in value.split(|byte| *byte == b';') {
            let (name, value) = match memchr::memchr(b'=', cookie) {
                Some(at) => (http::trim(&cookie[..at]), http::trim(&cookie[at + 1..])),
                None => (&b""[..], http::trim(cookie)),
            };
            if !name.is_empty() {
                classes = classes.or(self.evaluator.field(
                    Place {
                        target: Target::CookieName,
                        name,
                    },
                    name,
                    false,
                ));
            }
            classes = classes.or(self.evaluator.field(
                Place {
                    target: Target::Cookie,
                    name,
                },
                value,
                false,
            ));
        }
        classes
    }

    fn known_field(&mut self, known: FieldName, value: &[u8], line: &[u8]) {
        let head = &mut *self.head;
        match known {
            FieldName::Host => {
                head.hosts = head.hosts.saturating_add(1);
                if head.hosts == 2 {
                    self.evaluator.violation(Violation::DuplicateHost, line);
                }
            }
            FieldName::ContentLength => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(value)
                    .ok()
                    .filter(|_| digits)
                    .and_then(|text| text.parse::<u64>().ok());
                match (length, head.content_length) {
                    (None, _) => {
                        self.evaluator.violation(Violation::BadContentLength, line);
                        // The framing is not known: whatever follows the head is not scored.
                        head.content_length = Some(u64::MAX);
                    }
                    (Some(length), Some(before)) if length == before => {
                        self.evaluator.violation(Violation::RepeatedContentLength, line);
                    }
                    (Some(_), Some(_)) => {
                        self.evaluator.violation(Violation::DifferingContentLength, line);
                        head.content_length = Some(u64::MAX);
                    }
                    (Some(length), None) => head.content_length = Some(length),
                }
            }
            FieldName::TransferEncoding => {
                let coding = if head.chunked {
                    TransferCoding::Bad
                } else {
                    http::transfer_coding(value)
                };
                head.chunked = true;
                match coding {
                    TransferCoding::Chunked => {}
                    TransferCoding::CompressedChunked => {
                        let codings = memchr::memrchr(b',', value).unwrap_or(0);
                        let added = head.transfer_codings.add(&value[..codings]);
                        self.coding_error(added, line);
                    }
                    TransferCoding::Bad => {
                        self.evaluator.violation(Violation::BadTransferEncoding, line);
                        head.content_length = Some(u64::MAX);
                    }
                }
            }
            FieldName::ContentType => self.content_type(value),
            FieldName::ContentEncoding => {
                let added = head.content_codings.add(value);
                self.coding_error(added, line);
            }
            FieldName::Upgrade => {
                head.upgrade = true;
                let mut protocols = value.split(|byte| *byte == b',').map(http::trim);
                if protocols.clone().any(|name| name.eq_ignore_ascii_case(b"h2c")) {
                    self.evaluator.violation(Violation::UpgradeH2c, line);
                }
                if !protocols.all(|name| self.evaluator.ruling.allow.upgrade(name)) {
                    self.evaluator.violation(Violation::UpgradeNotAllowed, line);
                }
            }
            FieldName::Cookie | FieldName::Other => {}
        }
    }

    fn coding_error(&mut self, added: Result<(), CodingError>, line: &[u8]) {
        match added {
            Ok(()) => {}
            Err(CodingError::Unknown) => self.evaluator.violation(Violation::UnknownCoding, line),
            Err(CodingError::TooMany) => self.evaluator.violation(Violation::TooManyCodings, line),
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        let media_type = MediaType::of(value);
        if std::mem::replace(&mut self.head.typed, true) {
            self.evaluator.violation(Violation::RepeatedContentType, value);
        }
        if !self.evaluator.ruling.allow.content_type(value) {
            self.evaluator.violation(Violation::ContentTypeNotAllowed, value);
        }
        if media_type.wide {
            self.evaluator.violation(Violation::WideCharset, value);
        }
        self.head.kind = media_type.kind;
        match media_type.boundary {
            Some(boundary) => self.head.boundary = boundary,
            None if matches!(media_type.kind, BodyKind::Multipart | BodyKind::MultipartForm) => {
                self.evaluator.violation(Violation::MultipartBoundary, value);
                self.head.kind = BodyKind::Text;
            }
            None => {}
        }
    }

    fn head_end(&mut self) -> Event {
        if self.head.hosts == 0 && self.head.version == Version::Http11 {
            self.evaluator.violation(Violation::MissingHost, b"");
        }
        if self.head.chunked && self.head.content_length.is_some_and(|length| length != u64::MAX) {
            self.evaluator
                .violation(Violation::LengthAndTransferEncoding, b"");
        }
        if self.head.chunked && self.head.version == Version::Http10 {
            self.evaluator.violation(Violation::TransferEncodingHttp10, b"");
        }
        self.evaluator.end_of(Part::Head);
        if let Err(error) = self.head.content_codings.then(self.head.transfer_codings) {
            self.coding_error(Err(error), b"");
        }
        if self.head.content_length == Some(u64::MAX) {
            return Event::Opaque(OpaqueKind::Unframed);
        }
        *self.phase = match self.head.content_length {
            _ if self.head.chunked => Phase::ChunkSize,
            Some(length) if length > 0 => {
                *self.remaining = length;
                Phase::Body
            }
            _ => Phase::Complete,
        };
        if *self.phase != Phase::Complete {
            *self.content = Content::new(self.head.kind, self.head.boundary);
        }
        Event::Continue
    }
}

/// Whether a server that did not upgrade may pass over such a byte where it looks for a method, or refuse the line and
/// read on: then requests follow, and no tunnel. Another protocol says so by a byte that is not text: a `WebSocket` client
/// with the mask bit in its second byte (RFC 6455 §5.2), TLS with its first.
fn passed_over(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' '..=b'~')
}

/// Whether a header line is about the host.
fn is_host(line: &[u8]) -> bool {
    matches!(
        line,
        [b'h' | b'H', b'o' | b'O', b's' | b'S', b't' | b'T', b':', ..]
    )
}

/// Whether something is longer than a limit, of which 0 is none.
fn exceeds(bytes: &[u8], limit: u32) -> bool {
    limit > 0 && bytes.len() > limit as usize
}
