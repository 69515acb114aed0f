//! Streams in, verdicts out.

mod continuation;

use std::net::IpAddr;
use std::sync::Arc;

use crate::baseline::{BaselineFill, Baselines, Observations, Service};
use crate::cache::Known;
use crate::coding::DecoderPool;
use crate::evaluate::{Evaluator, Scratch};
use crate::gather::{Gather, Progress};
use crate::http;
use crate::inspect::{Event, Inspection};
use crate::policies::Policies;
use crate::policy::{Mode, Policy};
use crate::reception::{Asks, OnDecision, Reception, RequestHead};
use crate::request::Request;
use crate::rules::RuleSet;
use crate::subject::Subject;
use crate::train::Tap;
use crate::verdict::{Decision, Disposition, OpaqueKind, Verdict};

pub use continuation::Continuation;

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
    /// Number of the policy for its requests.
    policy: u16,
    source: Option<IpAddr>,
    asks: Asks,
}

/// Where a client is in its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underway {
    /// Between two, or nowhere: the stream is not followed.
    #[default]
    Nothing,
    /// In the request line or the header.
    Head,
    /// In the body, or behind it in the trailers.
    Body,
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

    /// The client's address, which exclusions may ask for.
    #[must_use]
    pub fn from_source(self, source: IpAddr) -> Self {
        let source = Some(source.to_canonical());
        Self { source, ..self }
    }

    /// The address that its requests are from, as far as the stream itself says.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Requests that begin from now on are from this address.
    pub fn set_source(&mut self, source: IpAddr) {
        self.source = Some(source.to_canonical());
    }

    /// What is asked of the [`Reception`] about requests that begin from now on.
    pub fn set_asks(&mut self, asks: Asks) {
        self.asks = asks;
    }

    /// The number of the policy that its requests are judged by, see [`Policies`]; 0 is the general one.
    #[must_use]
    pub fn under(self, policy: u16) -> Self {
        Self { policy, ..self }
    }

    /// The number of the policy.
    #[must_use]
    pub fn policy(&self) -> u16 {
        self.policy
    }

    /// The same client, and nothing of its stream: what it has in progress is returned.
    fn restart(&mut self) -> State {
        let Self {
            policy, source, asks, ..
        } = *self;
        let before = Self {
            policy,
            source,
            asks,
            ..Self::default()
        };
        std::mem::replace(self, before).state
    }

    /// Whether no request is in progress and the next byte begins one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Where the client is in its request.
    #[must_use]
    pub fn underway(&self) -> Underway {
        match &self.state {
            State::Active(request) if request.phase.in_head() => Underway::Head,
            State::Active(_) => Underway::Body,
            _ => Underway::Nothing,
        }
    }
}

/// One thread's scoring engine: rules, policy, working memory and a fixed number of request buffers.
/// Feeding allocates nothing.
#[derive(Debug)]
pub struct Scorer {
    policies: Arc<Policies>,
    scratch: Scratch,
    /// Free requests. One more than `capacity`, so that a request that is complete in its segment is
    /// scored even when all others are taken.
    #[expect(clippy::vec_box, reason = "streams take the boxes as they are")]
    pool: Vec<Box<Request>>,
    decoders: DecoderPool,
    generation: u32,
    known: Known,
    baselines: Baselines,
    /// Of a request that is known, and so in no buffer.
    subject: Subject,
}

impl Scorer {
    /// `capacity`: requests that may be incomplete at once. Memory: `capacity` times the larger of
    /// `limits.head_bytes` and `limits.window`, touched only as far as it is used, and the decoders of
    /// `limits.inflaters` and `limits.brotli_decoders`.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, policy: Policy, capacity: usize) -> Self {
        Self::with_policies(Arc::new(Policies::single(rules, policy)), capacity)
    }

    /// The same, with a policy for each service. The buffers are as large as the largest limits of all of them ask for.
    #[must_use]
    pub fn with_policies(policies: Arc<Policies>, capacity: usize) -> Self {
        Self {
            scratch: scratch(&policies, 0),
            pool: (0..=capacity).map(|_| Box::new(request(&policies, 0))).collect(),
            decoders: decoders(&policies),
            policies,
            generation: 0,
            known: Known::new(0, &[0; 16]),
            baselines: Baselines::new(0, &[0; 16]),
            subject: Subject::new(true),
        }
    }

    /// Remembers up to about `entries` requests that were found clean, as many fields and a quarter as many header lines, at 16
    /// bytes each, and does not score them again while the same rules and policy are in force. `key` is 16 bytes that no client can guess.
    #[must_use]
    pub fn with_cache(mut self, entries: usize, key: &[u8; 16]) -> Self {
        self.known = Known::new(entries, key);
        self
    }

    /// Learns what about `entries` parameters of each service usually hold, where the service's policy says so
    /// ([`Policy::baseline`]); 32 bytes a parameter, for each number of a policy. `key` is 16 bytes that no client can guess.
    /// Requests that the cache knows are not counted again.
    #[must_use]
    pub fn with_baseline(mut self, entries: usize, key: &[u8; 16]) -> Self {
        self.baselines = Baselines::new(entries, key);
        self.baselines.fit(&self.policies);
        self
    }

    /// How much of the baselines is in use.
    #[must_use]
    pub fn baseline(&self) -> BaselineFill {
        self.baselines.fill()
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

    /// Fields that were known to be clean, and those that were looked up, since the start.
    #[must_use]
    pub fn field_hits(&self) -> (u64, u64) {
        self.known.fields_known()
    }

    /// Puts other rules and another policy in force. Requests in progress keep what was found in them
    /// and the limits they began with; their remaining units are scored by the new rules and thresholds.
    pub fn replace(&mut self, rules: Arc<RuleSet>, policy: Policy) {
        self.replace_all(Arc::new(Policies::single(rules, policy)));
    }

    /// The same, with a policy for each service. What was learnt of services stays, but for those whose baseline is now off.
    pub fn replace_all(&mut self, policies: Arc<Policies>) {
        self.generation += 1;
        self.scratch = scratch(&policies, Request::carry_bytes(self.policies.widest()));
        for free in &mut self.pool {
            **free = request(&policies, self.generation);
        }
        self.baselines.fit(&policies);
        self.policies = policies;
        self.known.clear();
    }

    /// The general policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.policies.policy(0)
    }

    /// Rules and policies in force.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        self.policies.rules()
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
        on_decision: impl FnMut(&Decision<'_>),
    ) -> Disposition {
        self.feed_through(stream, bytes, &mut OnDecision(on_decision))
    }

    /// The same, with a reception that knows clients and lets requests in, where the stream asks for it
    /// ([`Stream::set_asks`]). A refused request is not decided, and ends the stream.
    pub fn feed_through(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        reception: &mut impl Reception,
    ) -> Disposition {
        let fingerprint = if stream.is_idle() && !stream.upgrade_asked {
            self.known
                .request(bytes, self.policies.ruling(stream.policy).index)
        } else {
            None
        };
        if fingerprint.is_some_and(|fingerprint| self.known.is_clean_request(fingerprint)) {
            stream.leading = 0;
            return self.take_known(stream, bytes, reception);
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
                    self.begin(stream)
                }
            };
            let (taken, end) = self.run(&mut request, rest, reception);
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
                && request.findings.is_unremarkable()
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
                End::Exhausted => {
                    stream.state = State::Unsynced;
                    return Disposition::Exhausted;
                }
                End::Refused => {
                    stream.state = State::Blocked;
                    return Disposition::Refused;
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

    /// A buffer for the stream's next request.
    fn begin(&mut self, stream: &Stream) -> Box<Request> {
        let Some(mut request) = self.pool.pop() else {
            // The last one is never kept by a stream.
            unreachable!("one request is always free between calls");
        };
        request.after_upgrade = stream.upgrade_asked;
        request.policy = stream.policy;
        request.limits = self.policies.policy(stream.policy).limits;
        request.findings.subject.source = stream.source;
        request.gather = Gather::new(stream.asks.client);
        request.asks_admission = stream.asks.admission;
        request
    }

    /// A whole request that is known to be clean.
    fn take_known(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        reception: &mut impl Reception,
    ) -> Disposition {
        let mut source = stream.source;
        if stream.asks.client {
            source = reception.client(bytes).or(source);
        }
        if stream.asks.admission {
            let line = memchr::memchr(b'\r', bytes).map_or(bytes, |end| &bytes[..end]);
            let http::RequestLine { method, target, .. } = http::parse_request_line(line);
            let path = http::path_and_query(method, target).map_or(&b""[..], |(path, _)| path);
            self.subject.note(method, path);
            if !reception.admits(&RequestHead::new(source, &mut self.subject)) {
                stream.state = State::Blocked;
                return Disposition::Refused;
            }
        }
        reception.decided(&Decision::clean(bytes, source));
        Disposition::Accept
    }

    /// The stream does not begin as it has to, which is for the caller to know: `bytes` are judged as a stream that is not
    /// HTTP. Where that does not block, the stream is as before, and the caller may go on.
    pub fn not_http(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        on_decision: impl FnOnce(&Decision<'_>),
    ) -> Disposition {
        let mut request = self.begin(stream);
        request.bytes = bytes.len() as u64;
        self.adopt(&mut request);
        self.inspection(&mut request).refuse_start(bytes);
        let decision = Decision::of(&request, &self.policies, false);
        let blocks = self.policies.policy(request.policy).mode == Mode::Block;
        let blocked = decision.verdict == Verdict::Block && blocks;
        on_decision(&decision);
        self.give_back(request);
        if blocked {
            stream.state = State::Blocked;
            return Disposition::Block;
        }
        Disposition::Accept
    }

    /// The stream has ended: a request that is still incomplete is decided on what there is of it.
    pub fn finish(&mut self, stream: &mut Stream, mut on_decision: impl FnMut(&Decision<'_>)) -> Disposition {
        let mut disposition = Disposition::Accept;
        if let State::Active(mut request) = stream.restart() {
            self.adopt(&mut request);
            if request.gather.is_on() {
                let blocked = self.score_gathered(&mut request, &mut OnDecision(&mut on_decision));
                if blocked == Some(End::Blocked) {
                    disposition = Disposition::Block;
                }
            }
            if !request.decided {
                self.inspection(&mut request).truncated();
                let decision = Decision::at_end(&request, &self.policies, false);
                let blocks = self.policies.policy(request.policy).mode == Mode::Block;
                if decision.verdict == Verdict::Block && blocks {
                    disposition = Disposition::Block;
                } else if decision.waits() {
                    disposition = Disposition::Undecided { taken: 0 };
                }
                on_decision(&decision);
            }
            self.give_back(request);
        }
        disposition
    }

    /// Where interesting fields go when a model is trained.
    pub(crate) fn tap(&mut self) -> &mut Option<Tap> {
        &mut self.scratch.tap
    }

    /// Makes a request of a stream that has none, so that an empty stream gets a decision.
    pub(crate) fn open(&mut self, stream: &mut Stream) {
        if stream.is_idle()
            && let Some(request) = self.pool.pop()
        {
            stream.state = State::Active(request);
        }
    }

    /// The flow is gone: its buffer returns to the pool and the stream is as new, of the same source and service.
    pub fn release(&mut self, stream: &mut Stream) {
        if let State::Active(request) = stream.restart() {
            self.give_back(request);
        }
    }

    /// Runs a request as far as `input` goes.
    fn run(
        &mut self,
        request: &mut Request,
        input: &[u8],
        reception: &mut impl Reception,
    ) -> (usize, Option<End>) {
        self.adopt(request);
        if !request.gather.is_on() {
            return self.parse(request, input, reception);
        }
        let limit = request.limits.head_bytes as usize;
        let (taken, progress) = request.gather.take(&mut request.carry, input, limit);
        match progress {
            Progress::More => return (taken, None),
            Progress::Complete => {
                let source = &mut request.findings.subject.source;
                *source = reception.client(&request.carry).or(*source);
            }
            Progress::Hopeless => {}
        }
        if let Some(end) = self.score_gathered(request, reception) {
            return (taken, Some(end));
        }
        let (more, end) = self.parse(request, &input[taken..], reception);
        (taken + more, end)
    }

    /// Scores the lines that were gathered; what is behind the last whole one stays in the buffer.
    fn score_gathered(&mut self, request: &mut Request, reception: &mut impl Reception) -> Option<End> {
        let complete = request.gather.end();
        let mut head = std::mem::take(&mut request.carry);
        let lines = if complete {
            head.len()
        } else {
            memchr::memrchr(b'\n', &head).map_or(0, |at| at + 1)
        };
        let (_, end) = self.parse(request, &head[..lines], reception);
        debug_assert!(request.carry.is_empty(), "lines were whole");
        head.drain(..lines);
        request.carry = head;
        end
    }

    /// Runs the parser as far as `input` goes.
    fn parse(
        &mut self,
        request: &mut Request,
        input: &[u8],
        reception: &mut impl Reception,
    ) -> (usize, Option<End>) {
        let mut at = 0;
        while at < input.len() || request.phase.immediate() {
            let in_head = request.phase.in_head();
            let encoded = request.decoders.is_active();
            let (taken, event) = self.inspection(request).step(&input[at..]);
            at += taken;
            request.bytes += taken as u64;
            if encoded && request.decoders.is_active() {
                request.encoded += taken as u64;
            } else {
                request.encoded = 0;
            }
            if event == Event::Exhausted {
                return (at, Some(End::Exhausted));
            }
            if !request.findings.is_clean() && !request.decided {
                let decision = Decision::of(request, &self.policies, event == Event::Complete);
                let decision = if in_head {
                    decision.before(&input[at..])
                } else {
                    decision
                };
                if decision.verdict == Verdict::Block {
                    reception.decided(&decision);
                    request.decided = true;
                    if self.policies.policy(request.policy).mode == Mode::Block {
                        return (at, Some(End::Blocked));
                    }
                }
            }
            let head_ends = in_head && (!request.phase.in_head() || event != Event::Continue);
            if head_ends && request.asks_admission {
                let subject = &mut request.findings.subject;
                if !reception.admits(&RequestHead::new(subject.source, subject)) {
                    return (at, Some(End::Refused));
                }
            }
            let end = match event {
                Event::Continue => continue,
                Event::Complete => End::Complete,
                Event::Opaque(kind) => End::Opaque(kind),
                Event::Exhausted => End::Exhausted,
            };
            let decision = match end {
                _ if request.decided => return (at, Some(end)),
                End::Complete => Decision::at_end(request, &self.policies, true),
                _ => Decision::of(request, &self.policies, false),
            };
            reception.decided(&decision);
            let (verdict, waits) = (decision.verdict, decision.waits());
            if end == End::Complete && request.findings.is_innocent() {
                let observations = &request.findings.observations;
                let clean = verdict == Verdict::Allow;
                self.baselines.learn(request.policy, observations, clean);
            }
            return (at, Some(if waits { End::Undecided } else { end }));
        }
        (at, None)
    }

    fn inspection<'a>(&'a mut self, request: &'a mut Request) -> Inspection<'a> {
        let rules = self.policies.rules();
        let ruling = self.policies.ruling(request.policy);
        Inspection {
            evaluator: Evaluator {
                rules,
                ruling,
                model: ruling.policy.model.choose(rules),
                scratch: &mut self.scratch,
                findings: &mut request.findings,
                service: Some(Service {
                    baselines: &mut self.baselines,
                    number: request.policy,
                }),
                known: Some(&mut self.known),
            },
            phase: &mut request.phase,
            head: &mut request.head,
            remaining: &mut request.remaining,
            chunk: &mut request.chunk,
            content: &mut request.content,
            decoders: &mut request.decoders,
            pool: &mut self.decoders,
            body_bytes: &mut request.body_bytes,
            carry: &mut request.carry,
            scored: &mut request.scored,
            line: &mut request.line,
            shown: &mut request.shown,
            limits: request.limits,
            after_upgrade: request.after_upgrade,
        }
    }

    fn adopt(&self, request: &mut Request) {
        if request.generation != self.generation {
            let ruling = self.policies.ruling(request.policy);
            request.findings.adopt(self.policies.rules(), ruling);
            request.generation = self.generation;
        }
    }

    fn give_back(&mut self, mut request: Box<Request>) {
        request.release(&mut self.decoders);
        if request.made == self.generation {
            request.reset();
        } else {
            *request = self::request(&self.policies, self.generation);
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
    /// The reception does not let it in.
    Refused,
    Opaque(OpaqueKind),
    /// No decoder was free.
    Exhausted,
}

/// Decoders for requests under any of the policies.
fn decoders(policies: &Policies) -> DecoderPool {
    let widest = policies.widest();
    DecoderPool::new(widest.inflaters, widest.brotli_decoders)
}

/// A buffer for a request under any of the policies.
fn request(policies: &Policies, generation: u32) -> Request {
    let subject = Subject::new(policies.ask_for_subject());
    let rules = policies.rules().rules.len();
    let mut request = Request::new(rules, policies.widest(), subject, generation);
    request.findings.observations = Observations::new(policies.ask_for_baseline());
    request
}

/// Working memory for requests under any of the policies, and for those in progress with carries of `longest` bytes.
fn scratch(policies: &Policies, longest: usize) -> Scratch {
    let longest = Request::carry_bytes(policies.widest()).max(longest);
    Scratch::new(policies.rules().rules.len(), longest)
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
