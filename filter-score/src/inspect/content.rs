//! The content of a body, after framing and content codings: cut into units by its kind.
//!
//! Units longer than a window are scored in windows that overlap, at offsets that depend on the content
//! alone.

use std::mem::take;

use serde::{Deserialize, Serialize};

use super::Inspection;
use super::json::JsonCursor;
use super::multipart::Multipart;
use super::xml::XmlCursor;
use crate::findings::Place;
use crate::http::{self, BodyKind, Boundary, Sniffed, Violation};
use crate::policy::Limits;
use crate::target::Target;

/// Where in the content of a body the parser stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) kind: BodyKind,
    /// What it is if it is not the JSON text that it looked like.
    pub(super) fallback: BodyKind,
    pub(super) json: JsonCursor,
    pub(super) xml: XmlCursor,
    pub(super) multipart: Multipart,
    /// No decoder was free for what looks like gzip.
    pub(super) exhausted: bool,
    /// The first bytes have not told yet what this is.
    pub(super) sniffing: bool,
    start: Start,
}

/// The first few bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Start {
    bytes: [u8; http::SNIFF_BYTES],
    length: u8,
}

impl Start {
    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.length)] = byte;
        self.length += 1;
    }
}

impl Content {
    pub(crate) fn new(kind: BodyKind, boundary: Boundary) -> Self {
        Self {
            kind,
            fallback: kind,
            json: JsonCursor::new(true),
            xml: XmlCursor::default(),
            multipart: Multipart::new(boundary, kind == BodyKind::MultipartForm),
            sniffing: !matches!(
                kind,
                BodyKind::Multipart | BodyKind::MultipartForm | BodyKind::Unscored
            ),
            exhausted: false,
            start: Start::default(),
        }
    }
}

impl Content {
    /// Whether a parser under these limits could have come here.
    pub(crate) fn is_sound(&self, limits: &Limits) -> bool {
        let start = usize::from(self.start.length) + usize::from(self.sniffing);
        start <= http::SNIFF_BYTES
            && self.json.is_sound(limits.depth)
            && self.xml.is_sound()
            && self.multipart.is_sound()
    }
}

impl Inspection<'_> {
    /// Takes content: all of it, or up to the end of a unit in which something was found. `last`: the
    /// content ends with `piece`.
    pub(super) fn take_content(&mut self, piece: &[u8], last: bool) -> usize {
        let found = self.evaluator.findings.mark();
        let mut at = 0;
        let plain = !self.decoders.is_active();
        while at < piece.len()
            && self.evaluator.findings.mark() == found
            && self.decoders.is_active() != plain
        {
            let room = self.limits.window as usize - self.carry.len();
            let run = &piece[at..piece.len().min(at + room)];
            let last = last && at + run.len() == piece.len();
            at += match self.content.kind {
                _ if self.content.sniffing => {
                    self.sniff(run[0]);
                    1
                }
                BodyKind::Form => self.form(run, last),
                BodyKind::Json => self.json(run),
                BodyKind::Xml => self.xml(run),
                BodyKind::Multipart | BodyKind::MultipartForm => self.multipart(run),
                BodyKind::Unknown | BodyKind::Text => self.fill(run, last),
                BodyKind::Unscored => piece.len() - at,
            };
        }
        at
    }

    /// The content has ended.
    pub(super) fn content_end(&mut self) {
        if self.content.sniffing {
            self.sniffed();
        }
        match self.content.kind {
            BodyKind::Multipart | BodyKind::MultipartForm => self.multipart_end(),
            BodyKind::Json => self.json_end(),
            BodyKind::Unscored => self.carry.clear(),
            BodyKind::Form | BodyKind::Xml | BodyKind::Unknown | BodyKind::Text => self.end_of_unit(&[]),
        }
    }

    /// Looks at the first byte after white space and a few more, until they tell what the content is.
    fn sniff(&mut self, byte: u8) {
        let content = &mut *self.content;
        if content.start.is_empty() && byte.is_ascii_whitespace() {
            return;
        }
        content.start.push(byte);
        match http::sniff(content.kind, content.start.as_bytes()) {
            Sniffed::More => return,
            Sniffed::Json => {
                content.json = JsonCursor::new(content.kind == BodyKind::Json);
                content.kind = BodyKind::Json;
            }
            Sniffed::Xml => content.kind = BodyKind::Xml,
            Sniffed::Gzip if !self.decoders.is_active() => return self.sniffed_gzip(),
            Sniffed::Gzip | Sniffed::Same => {}
            Sniffed::Wide => self.evaluator.violation(Violation::WideCharset, b""),
        }
        self.sniffed();
    }

    /// The body is compressed without saying so: what it decodes to may be anything, too.
    fn sniffed_gzip(&mut self) {
        let start = self.content.start;
        *self.content = Content::new(BodyKind::Unknown, Boundary::NONE);
        if self.decoders.begin_gzip(self.pool) {
            self.decoders.feed(start.as_bytes());
        } else {
            self.content.exhausted = true;
        }
    }

    /// The first bytes are read again, by the parser of their kind.
    fn sniffed(&mut self) {
        self.content.sniffing = false;
        let start = take(&mut self.content.start);
        let mut start = start.as_bytes();
        start = start.strip_prefix(http::UTF8_MARK).unwrap_or(start);
        while !start.is_empty() {
            start = &start[self.take_content(start, false)..];
        }
    }

    fn form(&mut self, piece: &[u8], last: bool) -> usize {
        if let Some(end) = memchr::memchr(b'&', piece) {
            self.end_of_unit(&piece[..end]);
            end + 1
        } else {
            self.fill(piece, last)
        }
    }

    /// Adds to the unit at hand, which ends with the body if `piece` is the `last`. Takes what fits into
    /// the window.
    pub(super) fn fill(&mut self, piece: &[u8], last: bool) -> usize {
        let room = self.limits.window as usize - self.carry.len();
        if piece.len() >= room {
            self.window(&piece[..room]);
            return room;
        }
        if last {
            self.end_of_unit(piece);
        } else {
            self.carry.extend_from_slice(piece);
        }
        piece.len()
    }

    /// `piece` fills the window: scores it and keeps the overlap.
    fn window(&mut self, piece: &[u8]) {
        let overlap = self.limits.overlap as usize;
        if self.carry.is_empty() {
            self.unit(piece);
            self.carry.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            let mut window = take(self.carry);
            window.extend_from_slice(piece);
            self.unit(&window);
            window.drain(..window.len() - overlap);
            *self.carry = window;
        }
        *self.scored = overlap;
    }

    /// The unit ends with `piece`: scores what was not scored yet.
    pub(super) fn end_of_unit(&mut self, piece: &[u8]) {
        if self.carry.is_empty() {
            if !piece.is_empty() {
                self.unit(piece);
            }
        } else {
            let mut unit = take(self.carry);
            unit.extend_from_slice(piece);
            if unit.len() > *self.scored {
                self.unit(&unit);
            }
            unit.clear();
            *self.carry = unit;
        }
        *self.scored = 0;
    }

    fn unit(&mut self, text: &[u8]) {
        match self.content.kind {
            BodyKind::Form if *self.scored == 0 => {
                self.param(Target::Form, Target::FormName, text);
            }
            BodyKind::Form => {
                let place = Place {
                    target: Target::Form,
                    name: b"",
                };
                self.evaluator.field(place, text, true);
            }
            BodyKind::Json => self.json_unit(text),
            BodyKind::Xml => self.xml_unit(text),
            BodyKind::Multipart | BodyKind::MultipartForm => self.part_unit(text),
            BodyKind::Unknown if http::is_binary(text) => self.binary(b"", text),
            // Nobody reads all of it as text: it is the pieces that are, if any.
            BodyKind::Text if http::is_binary(text) && !http::is_wide(text) => {
                for piece in http::printable_runs(text) {
                    self.score(Target::Body, b"", piece);
                }
            }
            BodyKind::Unknown | BodyKind::Text => self.score(Target::Body, b"", text),
            BodyKind::Unscored => {}
        }
    }

    /// Scores a window of binary content.
    pub(super) fn binary(&mut self, name: &[u8], content: &[u8]) {
        let place = Place {
            target: Target::File,
            name,
        };
        self.evaluator.binary(place, content);
    }

    /// Scores a value that is as it was sent, without plus signs for spaces.
    pub(super) fn score(&mut self, target: Target, name: &[u8], text: &[u8]) {
        if !text.is_empty() {
            self.evaluator.field(Place { target, name }, text, false);
        }
    }
}
