//! Streams in, verdicts out.

use std::sync::Arc;

use crate::cache::Known;
use crate::evaluate::{Evaluator, Scratch};
use crate::inspect::{Event, Inspection};
use crate::policy::{Mode, Policy};
use crate::request::Request;
use crate::rules::{RuleBits, RuleSet};
use crate::verdict::{Decision, Disposition, OpaqueKind, Verdict};

/// Empty lines tolerated before a request line (RFC 9112 §2.2 asks for one at least), in bytes.
const LEADING_BYTES: u8 = 16;

/// The client's half of one TCP connection. Idle between requests it is a few words; a request in
/// progress lives in the scorer's pool. Give it back with [`Scorer::release`] when the flow ends.
#[derive(Debug, Default)]
pub struct Stream {
    state: State,
    /// Bytes of empty lines before the next request line.
    leading: u8,
    /// A request asked for another protocol.
    upgrade_asked: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Active(Box<Request>),
    Unsynced,
    Blocked,
    Opaque(OpaqueKind),
}

impl Stream {
    /// A stream seen from its first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream first seen somewhere in the middle: it is scored from the first segment on that
    /// begins with a request line.
    #[must_use]
    pub fn resuming() -> Self {
        Self {
            state: State::Unsynced,
            ..Self::default()
        }
    }

    /// Whether no request is in progress and the next byte begins one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}

/// One thread's scoring engine: rules, policy, working memory and a fixed number of request buffers.
/// Feeding allocates nothing.
#[derive(Debug)]
pub struct Scorer {
    rules: Arc<RuleSet>,
    policy: Policy,
    active: RuleBits,
    scratch: Scratch,
    /// Free requests. One more than `capacity`, so that a request that is complete in its segment is
    /// scored even when all others are taken.
    #[expect(clippy::vec_box, reason = "streams take the boxes as they are")]
    pool: Vec<Box<Request>>,
    generation: u32,
    known: Known,
}

impl Scorer {
    /// `capacity`: requests that may be incomplete at once. Memory: `capacity` times the larger of
    /// `limits.head_bytes` and `limits.window`, touched only as far as it is used.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, policy: Policy, capacity: usize) -> Self {
        let count = rules.rules.len();
        let pool = (0..=capacity)
            .map(|_| Box::new(Request::new(count, policy.limits, 0)))
            .collect();
        Self {
            active: active(&rules, &policy),
            scratch: Scratch::new(count, Request::carry_bytes(policy.limits)),
            pool,
            rules,
            policy,
            generation: 0,
            known: Known::new(0, &[0; 16]),
        }
    }

    /// Remembers up to about `entries` requests that were found clean and a quarter as many header lines, at 16
    /// bytes each, and does not score them again while the same rules and policy are in force. `key` is 16 bytes that no client can guess.
    #[must_use]
    pub fn with_cache(mut self, entries: usize, key: &[u8; 16]) -> Self {
        self.known = Known::new(entries, key);
        self
    }

    /// Requests that were known to be clean, since the start.
    #[must_use]
    pub fn cache_hits(&self) -> u64 {
        self.known.requests_known()
    }

    /// Header lines that were known to be clean, and those that were looked up, since the start.
    #[must_use]
    pub fn line_hits(&self) -> (u64, u64) {
        self.known.lines_known()
    }

    /// Puts other rules and another policy in force. Requests in progress keep what was found in them
    /// and the limits they began with; their remaining units are scored by the new rules and thresholds.
    pub fn replace(&mut self, rules: Arc<RuleSet>, policy: Policy) {
        self.generation += 1;
        let count = rules.rules.len();
        let longest = Request::carry_bytes(policy.limits).max(Request::carry_bytes(self.policy.limits));
        self.active = active(&rules, &policy);
        self.scratch = Scratch::new(count, longest);
        for request in &mut self.pool {
            **request = Request::new(count, policy.limits, self.generation);
        }
        self.rules = rules;
        self.policy = policy;
        self.known.clear();
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Buffers that are free for incomplete requests.
    #[must_use]
    pub fn available(&self) -> usize {
        self.pool.len() - 1
    }

    /// Scores the next bytes of a stream, in order and without gaps, in any segmentation. Each request
    /// is decided once: at its end, or as soon as it is certain to be blocked.
    pub fn feed(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        mut on_decision: impl FnMut(&Decision<'_>),
    ) -> Disposition {
        let fingerprint = if stream.is_idle() && !stream.upgrade_asked {
            self.known.request(bytes)
        } else {
            None
        };
        if fingerprint.is_some_and(|fingerprint| self.known.is_clean_request(fingerprint)) {
            stream.leading = 0;
            on_decision(&Decision::clean(bytes));
            return Disposition::Accept;
        }
        let mut rest = bytes;
        loop {
            let mut request = match std::mem::take(&mut stream.state) {
                State::Blocked => {
                    stream.state = State::Blocked;
                    return Disposition::Block;
                }
                State::Opaque(kind) => {
                    stream.state = State::Opaque(kind);
                    return Disposition::Opaque(kind);
                }
                State::Unsynced if !begins_request(rest) => {
                    stream.state = State::Unsynced;
                    return Disposition::Unsynced;
                }
                State::Active(request) => request,
                State::Idle | State::Unsynced => {
                    while let [b'\r' | b'\n', tail @ ..] = rest
                        && stream.leading < LEADING_BYTES
                    {
                        rest = tail;
                        stream.leading += 1;
                    }
                    if rest.is_empty() {
                        return Disposition::Accept;
                    }
                    let Some(mut request) = self.pool.pop() else {
                        // The last one is never kept by a stream.
                        unreachable!("one request is always free between calls");
                    };
                    request.after_upgrade = stream.upgrade_asked;
                    request
                }
            };
            let (taken, end) = self.run(&mut request, rest, &mut on_decision);
            rest = &rest[taken..];
            let Some(end) = end else {
                if self.pool.is_empty() {
                    self.give_back(request);
                    stream.state = State::Unsynced;
                    return Disposition::Exhausted;
                }
                stream.state = State::Active(request);
                return Disposition::Accept;
            };
            stream.leading = 0;
            stream.upgrade_asked |= request.head.upgrade || request.head.connect;
            if let Some(fingerprint) = fingerprint
                && end == End::Complete
                && taken == bytes.len()
                && request.findings.anomaly() == 0
                && !stream.upgrade_asked
            {
                self.known.keep_request(fingerprint);
            }
            self.give_back(request);
            match end {
                End::Complete => {
                    stream.state = State::Idle;
                    if rest.is_empty() {
                        return Disposition::Accept;
                    }
                }
                End::Blocked => {
                    stream.state = State::Blocked;
                    return Disposition::Block;
                }
                End::Undecided => {
                    stream.state = State::Idle;
                    return Disposition::Undecided {
                        taken: bytes.len() - rest.len(),
                    };
                }
                End::Opaque(kind) => {
                    stream.state = State::Opaque(kind);
                    return Disposition::Opaque(kind);
                }
            }
        }
    }

    /// The stream has ended: a request that is still incomplete is decided on what there is of it.
    pub fn finish(&mut self, stream: &mut Stream, mut on_decision: impl FnMut(&Decision<'_>)) -> Disposition {
        let mut disposition = Disposition::Accept;
        if let State::Active(mut request) = std::mem::take(&mut stream.state) {
            self.adopt(&mut request);
            if !request.decided {
                self.inspection(&mut request).truncated();
                let decision = Decision::at_end(&request, &self.policy, false);
                if decision.verdict == Verdict::Block && self.policy.mode == Mode::Block {
                    disposition = Disposition::Block;
                } else if decision.waits(&self.policy) {
                    disposition = Disposition::Undecided { taken: 0 };
                }
                on_decision(&decision);
            }
            self.give_back(request);
        }
        *stream = Stream::default();
        disposition
    }

    /// Makes a request of a stream that has none, so that an empty stream gets a decision.
    pub(crate) fn open(&mut self, stream: &mut Stream) {
        if stream.is_idle()
            && let Some(request) = self.pool.pop()
        {
            stream.state = State::Active(request);
        }
    }

    /// The flow is gone: its buffer returns to the pool and the stream is as new.
    pub fn release(&mut self, stream: &mut Stream) {
        if let State::Active(request) = std::mem::take(stream).state {
            self.give_back(request);
        }
    }

    /// Runs a request as far as `input` goes.
    fn run(
        &mut self,
        request: &mut Request,
        input: &[u8],
        on_decision: &mut impl FnMut(&Decision<'_>),
    ) -> (usize, Option<End>) {
        self.adopt(request);
        let mut at = 0;
        while at < input.len() || request.phase.immediate() {
            let (taken, event) = self.inspection(request).step(&input[at..]);
            at += taken;
            request.bytes += taken as u64;
            if request.findings.anomaly() > 0 && !request.decided {
                let decision = Decision::of(request, &self.policy, event == Event::Complete);
                if decision.verdict == Verdict::Block {
                    on_decision(&decision);
                    request.decided = true;
                    if self.policy.mode == Mode::Block {
                        return (at, Some(End::Blocked));
                    }
                }
            }
            let end = match event {
                Event::Continue => continue,
                Event::Complete => End::Complete,
                Event::Opaque(kind) => End::Opaque(kind),
            };
            let decision = match end {
                _ if request.decided => return (at, Some(end)),
                End::Complete => Decision::at_end(request, &self.policy, true),
                _ => Decision::of(request, &self.policy, false),
            };
            on_decision(&decision);
            let waits = decision.waits(&self.policy);
            return (at, Some(if waits { End::Undecided } else { end }));
        }
        (at, None)
    }

    fn inspection<'a>(&'a mut self, request: &'a mut Request) -> Inspection<'a> {
        Inspection {
            evaluator: Evaluator {
                rules: &self.rules,
                active: &self.active,
                scratch: &mut self.scratch,
                findings: &mut request.findings,
            },
            known: &mut self.known,
            phase: &mut request.phase,
            head: &mut request.head,
            remaining: &mut request.remaining,
            chunk: &mut request.chunk,
            json: &mut request.json,
            carry: &mut request.carry,
            scored: &mut request.scored,
            line: &mut request.line,
            limits: request.limits,
            after_upgrade: request.after_upgrade,
        }
    }

    fn adopt(&self, request: &mut Request) {
        if request.generation != self.generation {
            request.findings.adopt(&self.rules);
            request.generation = self.generation;
        }
    }

    fn give_back(&mut self, mut request: Box<Request>) {
        if request.generation == self.generation && request.limits == self.policy.limits {
            request.reset();
        } else {
            *request = Request::new(self.rules.rules.len(), self.policy.limits, self.generation);
        }
        self.pool.push(request);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// Complete, and for the second tier to decide.
    Undecided,
    Blocked,
    Opaque(OpaqueKind),
}

fn active(rules: &RuleSet, policy: &Policy) -> RuleBits {
    let mut active = RuleBits::new(rules.rules.len());
    for (index, rule) in rules.rules.iter().enumerate() {
        if rule.info.paranoia <= policy.paranoia {
            active.insert(index);
        }
    }
    active
}

/// Whether a segment begins with what only a request line begins with: a usual method and the start of
/// a target. Shorter segments do not count.
fn begins_request(segment: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"TRACE ",
        b"CONNECT ",
    ];
    METHODS.iter().any(|method| {
        segment.strip_prefix(*method).is_some_and(|target| {
            matches!(target, [b'/', ..] | [b'*', b' ', ..])
                || target.starts_with(b"http://")
                || target.starts_with(b"https://")
                || (*method == b"CONNECT " && target.first().is_some_and(u8::is_ascii_alphanumeric))
        })
    })
}
