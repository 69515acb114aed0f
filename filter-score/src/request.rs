//! A request in progress: everything the parser must remember between two segments.

use serde::{Deserialize, Serialize};

use crate::coding::{Codings, DecoderPool, DecoderStack};
use crate::excerpt::Excerpt;
use crate::findings::Findings;
use crate::gather::Gather;
use crate::http::{BodyKind, Boundary, ChunkSize, Version};
use crate::inspect::Content;
use crate::policy::Limits;
use crate::subject::Subject;

/// Bytes of the request line that a decision shows.
pub(crate) const LINE_BYTES: usize = 192;

/// Bytes of the head that a decision shows.
pub(crate) const HEAD_BYTES: usize = 1024;

/// The request line that a decision shows.
pub(crate) type LineExcerpt = Excerpt<LINE_BYTES>;

/// Which part of the message comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    RequestLine,
    Headers,
    /// Body bytes, `remaining` of them in this chunk or in all.
    Body,
    /// Encoded body bytes were taken; what they decode to is not scored yet.
    Decoded,
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
        matches!(self, Self::Decoded | Self::BodyEnd | Self::Complete)
    }

    /// Whether request line or header lines are still to come.
    pub(crate) const fn in_head(self) -> bool {
        matches!(self, Self::RequestLine | Self::Headers)
    }
}

/// What the head said about framing and body.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a head")]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) connect: bool,
    pub(crate) upgrade: bool,
    pub(crate) hosts: u8,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) kind: BodyKind,
    /// Of a multipart body.
    pub(crate) boundary: Boundary,
    pub(crate) typed: bool,
    pub(crate) content_codings: Codings,
    pub(crate) transfer_codings: Codings,
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
            boundary: Boundary::NONE,
            typed: false,
            content_codings: Codings::default(),
            transfer_codings: Codings::default(),
            bytes: 0,
            lines: 0,
            params: 0,
        }
    }
}

/// Lives in the scorer's pool; a stream holds it only while a request is incomplete.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    pub(crate) head: Head,
    /// Body bytes still to come, in this chunk or in all.
    pub(crate) remaining: u64,
    pub(crate) chunk: ChunkSize,
    pub(crate) content: Content,
    pub(crate) decoders: DecoderStack,
    /// Bytes of the body taken so far, without chunk sizes.
    pub(crate) body_bytes: u64,
    /// Bytes of the request since its encoded body began. What a decoder has read ahead depends on the
    /// segments, so decisions do not count them before the body's end.
    pub(crate) encoded: u64,
    /// The incomplete line or unit. Its capacity is fixed when the pool is made.
    pub(crate) carry: Vec<u8>,
    /// How much of `carry` was scored as part of the window before.
    pub(crate) scored: usize,
    pub(crate) limits: Limits,
    /// Number of the policy that it is judged by.
    pub(crate) policy: u16,
    /// Of the whole request, so far.
    pub(crate) bytes: u64,
    pub(crate) line: LineExcerpt,
    /// The start of the head as it came, at most [`HEAD_BYTES`].
    pub(crate) shown: Vec<u8>,
    pub(crate) findings: Findings,
    /// Its head is collected before it is scored.
    pub(crate) gather: Gather,
    /// The reception is asked whether it is let in.
    pub(crate) asks_admission: bool,
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
            content: Content::new(BodyKind::Unknown, Boundary::NONE),
            decoders: DecoderStack::default(),
            body_bytes: 0,
            encoded: 0,
            carry: Vec::with_capacity(Self::carry_bytes(limits)),
            scored: 0,
            limits,
            policy: 0,
            bytes: 0,
            line: Excerpt::default(),
            shown: Vec::with_capacity(HEAD_BYTES),
            findings: Findings::new(rules, subject),
            gather: Gather::default(),
            asks_admission: false,
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

    /// Gives what it borrowed back.
    pub(crate) fn release(&mut self, decoders: &mut DecoderPool) {
        self.decoders.end(decoders);
    }

    /// Ready for the next request; keeps its buffers.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::RequestLine;
        self.head = Head::default();
        self.remaining = 0;
        self.chunk = ChunkSize::default();
        self.body_bytes = 0;
        self.encoded = 0;
        self.carry.clear();
        self.scored = 0;
        self.bytes = 0;
        self.line = Excerpt::default();
        self.shown.clear();
        self.findings.clear();
        self.gather = Gather::default();
        self.asks_admission = false;
        self.decided = false;
        self.after_upgrade = false;
    }
}
