//! Scoring of recorded requests, one at a time.

use std::net::IpAddr;
use std::sync::Arc;

use crate::deep::{DeepJob, DeepScorer, DeepVerdict};
use crate::policies::Policies;
use crate::policy::Policy;
use crate::rules::RuleSet;
use crate::scorer::{Scorer, Stream};
use crate::verdict::{Decision, OwnedDecision};

/// Scores single requests, each as a connection of its own.
#[derive(Debug)]
pub struct OfflineScorer {
    scorer: Scorer,
    second_look: SecondLook,
    source: Option<IpAddr>,
    policy: u16,
}

/// The second tier, asked at once.
#[derive(Debug)]
pub struct SecondLook {
    scorer: DeepScorer,
    job: DeepJob,
    verdict: DeepVerdict,
}

impl SecondLook {
    /// Nothing is remembered: recorded requests are judged one by one.
    #[must_use]
    pub fn new(policies: &Policies) -> Self {
        Self {
            scorer: DeepScorer::new(policies, 0, &[0; 16]),
            job: DeepJob::default(),
            verdict: DeepVerdict::default(),
        }
    }

    /// A copy of a decision after both tiers had their say.
    pub fn decide(&mut self, decision: &Decision<'_>) -> OwnedDecision {
        let mut owned = decision.to_owned();
        if decision.is_undecided() {
            decision.copy_doubts(&mut self.job);
            self.scorer.score(&self.job, &mut self.verdict);
            owned.settle(&self.verdict);
        }
        owned
    }
}

impl OfflineScorer {
    /// Always in detect mode: a block needs no stopping here. What counts are the thresholds.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, policy: Policy) -> Self {
        Self::with_policies(Policies::single(rules, policy))
    }

    /// The same, with the exclusions and services of `policies`.
    #[must_use]
    pub fn with_policies(policies: Policies) -> Self {
        let policies = Arc::new(policies.offline());
        Self {
            second_look: SecondLook::new(&policies),
            scorer: Scorer::with_policies(policies, 1),
            source: None,
            policy: 0,
        }
    }

    /// What is found clean is remembered as by [`Scorer::with_cache`], so that most of a request that is like others is not scored
    /// again. Decisions stay the same. `key` is 16 bytes that no client can guess.
    #[must_use]
    pub fn with_cache(mut self, entries: usize, key: &[u8; 16]) -> Self {
        self.scorer = self.scorer.with_cache(entries, key);
        self
    }

    /// Requests are taken to be from `source`, and for the service with this policy.
    #[must_use]
    pub fn from_source(mut self, source: Option<IpAddr>, policy: u16) -> Self {
        self.source = source;
        self.policy = policy;
        self
    }

    /// Scores the first request in `raw`. One that is incomplete or does not parse gets a decision
    /// too, with its protocol violation. Where several requests are pipelined, the worst one counts.
    pub fn score_request(&mut self, raw: &[u8]) -> OwnedDecision {
        let mut worst: Option<OwnedDecision> = None;
        let Self {
            scorer,
            second_look,
            source,
            policy,
        } = self;
        let mut keep = |decision: &Decision<'_>| {
            let decision = second_look.decide(decision);
            if worst.as_ref().is_none_or(|worst| decision.score > worst.score) {
                worst = Some(decision);
            }
        };
        let mut stream = Stream::new().under(*policy);
        if let Some(source) = *source {
            stream = stream.from_source(source);
        }
        scorer.feed(&mut stream, raw, &mut keep);
        if stream.is_idle() && raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            // Nothing at all: a request line of no bytes.
            scorer.open(&mut stream);
        }
        scorer.finish(&mut stream, &mut keep);
        worst.unwrap_or_else(|| unreachable!("a stream of at least one byte, or opened, gets a decision"))
    }
}

/// A request as its parts, as logs and test sets have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestParts<'a> {
    /// `GET` if empty.
    pub method: &'a str,
    /// Path as sent, `/` if empty. It may have a query of its own.
    pub path: &'a str,
    /// Names and values before percent-encoding; appended to the path.
    pub query_params: &'a [(&'a str, &'a str)],
    /// Header lines. Host and Content-Length are added if missing.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body as sent.
    pub body: &'a [u8],
}

impl RequestParts<'_> {
    /// The request's bytes on the wire, as a client would send it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(256 + self.body.len());
        self.write(&mut raw);
        raw
    }

    /// Appends them.
    pub fn write(&self, raw: &mut Vec<u8>) {
        let or = |text, usual| if str::is_empty(text) { usual } else { text };
        add(raw, &[or(self.method, "GET"), " ", or(self.path, "/")]);
        let mut separator = if self.path.contains('?') { b'&' } else { b'?' };
        for (name, value) in self.query_params {
            raw.push(separator);
            separator = b'&';
            percent_encode(name.as_bytes(), raw);
            raw.push(b'=');
            percent_encode(value.as_bytes(), raw);
        }
        raw.extend_from_slice(b" HTTP/1.1\r\n");
        let has = |wanted: &str| {
            self.headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        if !has("host") {
            raw.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in self.headers {
            add(raw, &[name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            add(raw, &["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        raw.extend_from_slice(b"\r\n");
        raw.extend_from_slice(self.body);
    }
}

fn add(raw: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        raw.extend_from_slice(part.as_bytes());
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub fn percent_encode(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for run in bytes.chunk_by(|a, b| is_unreserved(*a) && is_unreserved(*b)) {
        match *run {
            [byte] if !is_unreserved(byte) => out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]),
            _ => out.extend_from_slice(run),
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
