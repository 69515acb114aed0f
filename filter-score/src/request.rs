//! A request in progress: everything the parser must remember between two segments.

use crate::excerpt::Excerpt;
use crate::findings::Findings;
use crate::http::{BodyKind, ChunkSize, Version};
use crate::policy::Limits;
use crate::subject::Subject;

/// Bytes of the request line that a decision shows.
pub(crate) const LINE_BYTES: usize = 192;

/// Which part of the message comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    RequestLine,
    Headers,
    /// Body bytes, `remaining` of them in this chunk or in all.
    Body,
    /// All body bytes were taken; the last unit is not scored yet.
    BodyEnd,
    ChunkSize,
    /// CRLF after chunk data; the count of bytes seen.
    ChunkEnd(u8),
    Trailers,
    Complete,
}

impl Phase {
    /// Whether the next step needs no input.
    pub(crate) const fn immediate(self) -> bool {
        matches!(self, Self::BodyEnd | Self::Complete)
    }
}

/// What the head said about framing and body.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a head")]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) connect: bool,
    pub(crate) upgrade: bool,
    pub(crate) hosts: u8,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) kind: BodyKind,
    pub(crate) encoded: bool,
    /// Bytes of head lines taken so far, without the line in the buffer.
    pub(crate) bytes: u32,
    pub(crate) lines: u16,
    pub(crate) params: u16,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            version: Version::Http11,
            connect: false,
            upgrade: false,
            hosts: 0,
            content_length: None,
            chunked: false,
            kind: BodyKind::Unknown,
            encoded: false,
            bytes: 0,
            lines: 0,
            params: 0,
        }
    }
}

/// Where in a JSON text the parser stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JsonCursor {
    pub(crate) in_string: bool,
    pub(crate) escaped: bool,
}

/// Lives in the scorer's pool; a stream holds it only while a request is incomplete.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    pub(crate) head: Head,
    /// Body bytes still to come, in this chunk or in all.
    pub(crate) remaining: u64,
    pub(crate) chunk: ChunkSize,
    pub(crate) json: JsonCursor,
    /// The incomplete line or unit. Its capacity is fixed when the pool is made.
    pub(crate) carry: Vec<u8>,
    /// How much of `carry` was scored as part of the window before.
    pub(crate) scored: usize,
    pub(crate) limits: Limits,
    /// Number of the policy that it is judged by.
    pub(crate) policy: u16,
    /// Of the whole request, so far.
    pub(crate) bytes: u64,
    pub(crate) line: Excerpt<LINE_BYTES>,
    pub(crate) findings: Findings,
    /// Its decision was reported.
    pub(crate) decided: bool,
    /// The request before asked for another protocol: this one may be no request at all.
    pub(crate) after_upgrade: bool,
    /// Which rules the findings' indices belong to.
    pub(crate) generation: u32,
    /// Which policies its buffers were made for.
    pub(crate) made: u32,
}

impl Request {
    pub(crate) fn new(rules: usize, limits: Limits, subject: Subject, generation: u32) -> Self {
        Self {
            phase: Phase::RequestLine,
            head: Head::default(),
            remaining: 0,
            chunk: ChunkSize::default(),
            json: JsonCursor::default(),
            carry: Vec::with_capacity(Self::carry_bytes(limits)),
            scored: 0,
            limits,
            policy: 0,
            bytes: 0,
            line: Excerpt::default(),
            findings: Findings::new(rules, subject),
            decided: false,
            after_upgrade: false,
            generation,
            made: generation,
        }
    }

    /// The largest incomplete piece: a head of one line, or a window.
    pub(crate) fn carry_bytes(limits: Limits) -> usize {
        limits.head_bytes.max(limits.window) as usize
    }

    /// Ready for the next request; keeps its buffers.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::RequestLine;
        self.head = Head::default();
        self.remaining = 0;
        self.chunk = ChunkSize::default();
        self.json = JsonCursor::default();
        self.carry.clear();
        self.scored = 0;
        self.bytes = 0;
        self.line = Excerpt::default();
        self.findings.clear();
        self.decided = false;
        self.after_upgrade = false;
    }
}
