//! Multipart bodies (RFC 2046 §5.1, RFC 7578): parts, their heads and their content.
//!
//! Where targets are known to read a body differently, the more lenient reading is scored and the
//! ambiguity is a violation.

use std::mem::take;

use serde::{Deserialize, Serialize};

use super::Inspection;
use crate::excerpt::Excerpt;
use crate::http::{self, Boundary, FieldError, Violation};
use crate::target::Target;

/// Lines a part's head may have.
const HEAD_LINES: u8 = 16;

/// Where in a multipart body the parser stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Section {
    /// Before the first delimiter.
    Preamble,
    /// Right after a delimiter: dashes, or the end of its line.
    DelimiterEnd,
    /// A dash after a delimiter.
    Dash,
    /// A CR after a delimiter.
    Return,
    /// The header lines of a part.
    Head,
    Content,
    /// After the last delimiter.
    Epilogue,
}

/// A multipart body in progress.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a part")]
pub(crate) struct Multipart {
    pub(crate) boundary: Boundary,
    /// Whether the parts are fields of a form.
    form: bool,
    section: Section,
    /// Bytes of a delimiter, from its LF on, that have come and are not part of the content yet.
    matched: u8,
    /// A CR has come that belongs to the delimiter, if there is one.
    cr: bool,
    /// The line end before the first delimiter is the start of the body.
    at_start: bool,
    /// Of the part at hand.
    lines: u8,
    disposed: bool,
    file: bool,
    name: Excerpt<32>,
}

impl Multipart {
    /// Whether a parser could have come here.
    pub(super) fn is_sound(&self) -> bool {
        usize::from(self.matched) < self.boundary.delimiter_length()
    }

    pub(crate) fn new(boundary: Boundary, form: bool) -> Self {
        Self {
            boundary,
            form,
            section: Section::Preamble,
            matched: 1,
            cr: true,
            at_start: true,
            lines: 0,
            disposed: false,
            file: false,
            name: Excerpt::default(),
        }
    }

    fn begin_part(&mut self) {
        self.section = Section::Head;
        self.lines = 0;
        self.disposed = false;
        self.file = false;
        self.name = Excerpt::default();
    }
}

impl Inspection<'_> {
    pub(super) fn multipart(&mut self, piece: &[u8]) -> usize {
        let byte = piece[0];
        let state = &mut self.content.multipart;
        let expected = match state.section {
            Section::Preamble | Section::Content | Section::Epilogue if state.matched > 0 => {
                return self.delimiter(piece);
            }
            Section::Preamble | Section::Content | Section::Epilogue => return self.part_content(piece),
            Section::Head => return self.part_head(piece),
            Section::DelimiterEnd => match byte {
                b'-' => Some(Section::Dash),
                b'\r' => Some(Section::Return),
                b'\n' => {
                    self.evaluator.violation(Violation::MultipartBareLf, b"");
                    Some(Section::Head)
                }
                _ => None,
            },
            Section::Dash => (byte == b'-').then_some(Section::Epilogue),
            Section::Return => (byte == b'\n').then_some(Section::Head),
        };
        let state = &mut self.content.multipart;
        match expected {
            Some(Section::Head) => state.begin_part(),
            Some(section) => state.section = section,
            // A line that only begins with the delimiter: it ends the part for some targets.
            None => {
                state.section = Section::Content;
                // Only this byte is there in every segmentation.
                self.evaluator
                    .violation(Violation::MultipartDelimiter, &piece[..1]);
                return 0;
            }
        }
        1
    }

    /// Content up to what may be a delimiter.
    fn part_content(&mut self, piece: &[u8]) -> usize {
        let candidate = memchr::memchr_iter(b'\n', piece).find(|at| {
            let rest = &piece[at + 1..];
            let length = rest.len().min(2);
            rest[..length] == b"--"[..length]
        });
        if take(&mut self.content.multipart.cr) {
            if candidate == Some(0) {
                self.content.multipart.cr = true;
                self.content.multipart.matched = 1;
                return 1;
            }
            self.append(b"\r");
            return 0;
        }
        let (end, next) = match candidate {
            Some(at) => (at, at + 1),
            None => (piece.len(), piece.len()),
        };
        let cr = piece[..end].ends_with(b"\r");
        let end = end - usize::from(cr);
        if end > 0 {
            self.fill(&piece[..end], false);
        }
        self.content.multipart.cr = cr;
        self.content.multipart.matched = candidate.is_some().into();
        next
    }

    /// Compares what may be a delimiter.
    fn delimiter(&mut self, piece: &[u8]) -> usize {
        let state = &mut self.content.multipart;
        let matched = usize::from(state.matched);
        let more = state.boundary.matches(matched, piece);
        if matched + more == state.boundary.delimiter_length() {
            let first = take(&mut state.at_start);
            let bare = !take(&mut state.cr) && !first;
            let closed = state.section == Section::Epilogue;
            state.matched = 0;
            self.end_of_unit(&[]);
            self.content.multipart.section = Section::DelimiterEnd;
            if bare {
                self.evaluator.violation(Violation::MultipartBareLf, b"");
            }
            if closed {
                self.evaluator.violation(Violation::MultipartOutside, b"");
            }
        } else if more == piece.len() {
            state.matched += more as u8;
        } else {
            self.no_delimiter(matched + more);
        }
        more
    }

    /// The first `count` bytes of a delimiter, which have come, are content after all.
    fn no_delimiter(&mut self, count: usize) {
        let state = &mut self.content.multipart;
        let boundary = state.boundary;
        let cr = take(&mut state.cr);
        let at_start = take(&mut state.at_start);
        state.matched = 0;
        let [line, rest] = boundary.delimiter_start(count);
        if cr && !at_start {
            self.append(b"\r");
        }
        self.append(if at_start { &line[1..] } else { line });
        self.append(rest);
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.fill(bytes, false)..];
        }
    }

    fn part_head(&mut self, piece: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', piece);
        let taken = end.map_or(piece.len(), |at| at + 1);
        let room = self.limits.window as usize - self.carry.len();
        self.carry.extend_from_slice(&piece[..taken]);
        if end.is_some() || taken == room {
            let mut line = take(self.carry);
            self.part_line(&line);
            line.clear();
            *self.carry = line;
        }
        taken
    }

    fn part_line(&mut self, line: &[u8]) {
        let line = match line {
            [line @ .., b'\r', b'\n'] => line,
            [line @ .., b'\n'] => {
                self.evaluator.violation(Violation::MultipartBareLf, line);
                line
            }
            // Longer than a window.
            line => {
                self.evaluator.violation(Violation::MultipartHeader, b"");
                line
            }
        };
        let state = &mut self.content.multipart;
        if line.is_empty() {
            state.section = Section::Content;
            if state.form && !state.disposed {
                self.evaluator.violation(Violation::MultipartDisposition, b"");
            }
            return;
        }
        state.lines = state.lines.saturating_add(1);
        let odd = state.lines > HEAD_LINES || line.iter().any(|byte| matches!(byte, 0 | b'\r'));
        match http::parse_field(line) {
            Ok((name, value)) if !odd => self.part_field(name, value),
            Ok(_) | Err(FieldError::SpaceBeforeColon | FieldError::Malformed) => {
                self.evaluator.violation(Violation::MultipartHeader, line);
                self.score(Target::Header, b"", line);
            }
        }
    }

    fn part_field(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("content-disposition") {
            return self.part_disposition(value);
        }
        let identity = || {
            [&b"7bit"[..], b"8bit", b"binary"]
                .iter()
                .any(|coding| value.eq_ignore_ascii_case(coding))
        };
        let nested = || {
            value
                .get(..10)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
        };
        if is("content-transfer-encoding") && !identity() {
            self.evaluator
                .violation(Violation::MultipartTransferEncoding, value);
        } else if is("content-type") && nested() {
            self.evaluator.violation(Violation::MultipartNested, value);
        }
        self.score(Target::Header, name, value);
    }

    fn part_disposition(&mut self, value: &[u8]) {
        let found = http::disposition(value);
        let state = &mut self.content.multipart;
        let repeated = state.disposed;
        let form = state.form;
        state.disposed = true;
        state.file |= found.filename.is_some() || found.extended.is_some();
        state.name = Excerpt::of(found.name.unwrap_or_default());
        if repeated || (form && (found.malformed || found.name.is_none())) {
            self.evaluator.violation(Violation::MultipartDisposition, value);
        }
        if found.escaped {
            self.evaluator.violation(Violation::MultipartQuotedPair, value);
        }
        if found.extended.is_some() {
            self.evaluator.violation(Violation::MultipartExtendedName, value);
        }
        if found.malformed {
            // No telling what a target takes for names.
            self.score(Target::Header, b"content-disposition", value);
        }
        self.count_param(value);
        if let Some(name) = found.name {
            self.score(Target::FormName, name, name);
        }
        for filename in [found.filename, found.extended].into_iter().flatten() {
            self.score(Target::FileName, found.name.unwrap_or_default(), filename);
        }
    }

    /// Scores a part's content, or a window of it.
    pub(super) fn part_unit(&mut self, text: &[u8]) {
        let Multipart {
            section,
            file,
            name,
            form,
            ..
        } = self.content.multipart;
        if section != Section::Content {
            if text.iter().all(u8::is_ascii_whitespace) {
                return;
            }
            self.evaluator.violation(Violation::MultipartOutside, text);
        }
        if section == Section::Content && form && !file {
            self.score(Target::Form, name.as_bytes(), text);
        } else if http::is_binary(text) {
            self.binary(name.as_bytes(), text);
        } else {
            self.score(Target::Body, name.as_bytes(), text);
        }
    }

    /// The body has ended.
    pub(super) fn multipart_end(&mut self) {
        let Multipart {
            section, matched, cr, ..
        } = self.content.multipart;
        if matched > 0 {
            self.no_delimiter(matched.into());
        } else if cr {
            self.append(b"\r");
        }
        if section == Section::Head && !self.carry.is_empty() {
            let mut line = take(self.carry);
            self.part_line(&line);
            line.clear();
            *self.carry = line;
        }
        self.end_of_unit(&[]);
        if section != Section::Epilogue {
            self.evaluator.violation(Violation::MultipartIncomplete, b"");
        }
    }
}
