//! From findings to a decision that explains itself.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::baseline::Deviation;
use crate::deep::{DeepJob, DeepVerdict};
use crate::findings::{ExcludedHit, Findings, Hit};
use crate::model::{Inference, OwnedInference};
use crate::policies::Policies;
use crate::policy::{Mode, Policy};
use crate::request::{HEAD_BYTES, LINE_BYTES, Request};
use crate::rules::{Family, Severity};

/// What a request is judged to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing of note.
    Allow,
    /// Noted, not stopped.
    Suspicious,
    /// An attack.
    Block,
}

/// Why the rest of a stream is not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpaqueKind {
    /// After CONNECT or an Upgrade, and it does not look like HTTP/1.
    Upgraded,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// After an HTTP/0.9 request.
    Http09,
    /// The stream does not begin with a method.
    NotHttp,
    /// Where the request ends cannot be known.
    Unframed,
}

/// What to do with the bytes that were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Forward them.
    Accept,
    /// They complete an attack: do not forward them, nor anything after them.
    Block,
    /// The request that ends after `taken` of the bytes is suspicious, and the second tier has a say
    /// ([`Decision::copy_doubts`]). The bytes behind it were not looked at: feed them when it has. Only where something
    /// is blocked at all, and only with [`Policy::deep`].
    Undecided {
        /// Bytes up to the request's end.
        taken: usize,
    },
    /// The caller's [`Reception`](crate::Reception) has not let the request in: they, and all after them, are not to be
    /// forwarded.
    Refused,
    /// No buffer or decoder was free. They were not scored and the stream is out of step: the failure policy decides.
    Exhausted,
    /// Picked up in mid-stream and no request line came yet: the failure policy decides.
    Unsynced,
    /// Nothing from here on is scored.
    Opaque(OpaqueKind),
}

/// Steepness of the score over the anomaly sum: one critical hit is just above the default threshold
/// for blocking, one error or warning is suspicious, one notice is neither.
const STEEPNESS: f32 = 0.25;

/// The score of an anomaly sum: `1 - exp(-0.25 · anomaly)`; 2 → 0.39, 3 → 0.53, 4 → 0.63, 5 → 0.71.
/// It rises with every hit and stays below 1.
#[must_use]
pub fn score(anomaly: u32) -> f32 {
    if anomaly == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "sums of severities are small")]
    let anomaly = anomaly as f32;
    weighed(anomaly)
}

/// The score of a sum in which not every point counts in full.
pub(crate) fn weighed(anomaly: f32) -> f32 {
    1.0 - (-STEEPNESS * anomaly).exp()
}

/// A score below `block` with a deviation from the baseline as one more witness, which may come close to `block`, and no further.
fn raised(score: f32, deviation: Option<&Deviation>, block: f32) -> f32 {
    match deviation {
        Some(deviation) if score < block => joint(score, deviation.score()).min(block.next_down()),
        _ => score,
    }
}

/// The score of two independent witnesses: the chance that at least one of them is right.
pub(crate) fn joint(one: f32, other: f32) -> f32 {
    1.0 - (1.0 - one) * (1.0 - other)
}

impl Policy {
    /// The verdict on a score and an anomaly sum.
    #[must_use]
    pub fn judge(&self, score: f32, anomaly: u32) -> Verdict {
        if score >= self.block || anomaly >= self.anomaly {
            Verdict::Block
        } else if score >= self.suspicious {
            Verdict::Suspicious
        } else {
            Verdict::Allow
        }
    }

    /// Whether these hits alone have a request blocked, whatever else is found.
    pub(crate) fn blocks(&self, anomaly: u32) -> bool {
        self.mode == Mode::Block && self.judge(score(anomaly), anomaly) == Verdict::Block
    }
}

/// The judgement of one request, borrowed from the scorer. [`Decision::to_owned`] keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Verdict under the policy's thresholds; in detect mode nothing follows from `Block`.
    pub verdict: Verdict,
    /// Of rules, model and baseline together, 0..1.
    pub score: f32,
    /// Sum of the severities of the distinct rules that hit.
    pub anomaly: u32,
    /// What hit, in the order of the request; at most 16. Those that are only detected do not count.
    pub hits: &'a [Hit],
    /// Hits beyond those in `hits`.
    pub omitted_hits: u32,
    /// What the model suspects, if anything.
    pub model: Option<Inference<'a>>,
    /// What is most unlike what the service usually gets, if anything is.
    pub deviation: Option<&'a Deviation>,
    /// What hit and does not count because of an exclusion: the first hit of each rule, at most 16.
    pub excluded: &'a [ExcludedHit],
    /// All hits that exclusions kept from counting.
    pub excluded_hits: u32,
    /// The start of the request line, at most 192 bytes, as sent.
    pub request_line: &'a [u8],
    /// The head up to where the decision fell, at most 1024 bytes, as sent. With secrets, if there are any.
    pub head: &'a [u8],
    /// The bytes that came with those that completed an attack in the head, and were not looked at. They depend on the segments.
    pub unseen: &'a [u8],
    /// Bytes of the request up to where the decision fell; up to its body if that is encoded.
    pub bytes: u64,
    /// Whether the request had ended. A block is decided as soon as it is certain.
    pub complete: bool,
    /// Who sent it, if that is known.
    pub source: Option<IpAddr>,
    /// What the second tier is to look at, if it has a say.
    pub(crate) undecided: Option<(&'a Request, &'a Policies)>,
}

impl<'a> Decision<'a> {
    pub(crate) fn of(request: &'a Request, policies: &'a Policies, complete: bool) -> Self {
        let policy = policies.policy(request.policy);
        let findings: &Findings = &request.findings;
        let anomaly = findings.anomaly();
        let suspicion = findings.suspicion();
        let deviation = findings.deviation();
        let score = joint(score(anomaly), suspicion.score());
        let score = raised(score, deviation, policy.block);
        Self {
            verdict: policy.judge(score, anomaly),
            score,
            anomaly,
            hits: findings.hits(),
            omitted_hits: findings.omitted(),
            model: policy.model.choose(policies.rules()).and_then(|model| {
                Some(Inference {
                    model,
                    suspect: suspicion.suspect()?,
                    score: suspicion.score(),
                })
            }),
            deviation,
            excluded: findings.excluded(),
            excluded_hits: findings.excluded_count(),
            request_line: request.line.as_bytes(),
            head: &request.shown,
            unseen: &[],
            bytes: request.bytes - request.encoded,
            complete,
            source: findings.subject.source,
            undecided: None,
        }
    }

    /// The same, with what came behind.
    pub(crate) fn before(self, unseen: &'a [u8]) -> Self {
        Self { unseen, ..self }
    }

    /// The decision about a request that has ended: what is merely suspicious goes to the second tier.
    pub(crate) fn at_end(request: &'a Request, policies: &'a Policies, complete: bool) -> Self {
        let mut decision = Self::of(request, policies, complete);
        let deep = policies.policy(request.policy).deep;
        if deep && decision.verdict == Verdict::Suspicious && !request.findings.doubts().is_empty() {
            decision.undecided = Some((request, policies));
        }
        decision
    }

    /// Whether the second tier has a say. Until then the request is suspicious.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.undecided.is_some()
    }

    /// Whether feeding stops here until the second tier has had its say.
    pub(crate) fn waits(&self) -> bool {
        self.undecided
            .is_some_and(|(request, policies)| policies.policy(request.policy).mode == Mode::Block)
    }

    /// Copies what the second tier needs of an undecided request. Allocates nothing.
    pub fn copy_doubts(&self, job: &mut DeepJob) {
        if let Some((request, policies)) = self.undecided {
            job.fill(request, policies);
        }
    }

    /// The decision about `request`, a whole request of `source` in which nothing was found.
    pub(crate) fn clean(request: &'a [u8], source: Option<IpAddr>) -> Self {
        let end = request.len().min(LINE_BYTES);
        let line = request[..end].split(|&byte| byte == b'\r').next();
        Self {
            verdict: Verdict::Allow,
            score: 0.0,
            anomaly: 0,
            hits: &[],
            omitted_hits: 0,
            model: None,
            deviation: None,
            excluded: &[],
            excluded_hits: 0,
            request_line: line.unwrap_or_default(),
            head: head_of(&request[..request.len().min(HEAD_BYTES)]),
            unseen: &[],
            bytes: request.len() as u64,
            complete: true,
            source,
            undecided: None,
        }
    }

    /// The hits that count.
    pub fn counting(&self) -> impl Iterator<Item = &'a Hit> + use<'a> {
        self.hits.iter().filter(|hit| !hit.detect_only)
    }

    /// Whether a rule has hit that is only detected.
    #[must_use]
    pub fn has_detected(&self) -> bool {
        self.hits.iter().any(|hit| hit.detect_only)
    }

    /// The first protocol violation that counts, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&'a Hit> {
        self.counting().find(|hit| hit.rule.family == Family::Protocol)
    }

    /// One line for a person: what was found where, worst first.
    #[must_use]
    pub fn explanation(&self) -> Explanation<'a> {
        Explanation {
            hits: self.hits,
            omitted: self.omitted_hits,
            model: self.reason(),
            told: None,
            deviation: self.deviation.filter(|_| self.verdict >= Verdict::Suspicious),
            excluded: self.excluded,
        }
    }

    /// What the model says, where it matters: below `suspicious` nobody asks.
    fn reason(&self) -> Option<Inference<'a>> {
        self.model.filter(|_| self.verdict >= Verdict::Suspicious)
    }

    /// A copy for logs and reports. Allocates.
    #[must_use]
    pub fn to_owned(&self) -> OwnedDecision {
        let mut categories: Vec<_> = self.counting().map(|hit| hit.rule.family).collect();
        categories.sort_unstable();
        categories.dedup();
        let model = self.reason().map(|inference| inference.to_owned());
        let explanation = Explanation {
            told: model.as_ref(),
            ..self.explanation()
        };
        OwnedDecision {
            decision: self.verdict,
            score: self.score,
            anomaly: self.anomaly,
            categories,
            rules: self.hits.iter().map(OwnedHit::of).collect(),
            explanation: explanation.to_string(),
            model,
            excluded: self.excluded.iter().map(OwnedExclusion::of).collect(),
            request_line: escaped(self.request_line),
            head: self.head.into(),
            bytes: self.bytes,
            complete: self.complete,
        }
    }
}

/// The head of the request in `bytes`, with the empty line that ends it.
fn head_of(bytes: &[u8]) -> &[u8] {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) => &bytes[..end + 4],
        None => bytes,
    }
}

/// Bytes escaped for display. Most have nothing to escape, and a formatter that is asked for each byte takes longer than scoring a line.
fn escaped(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'\'' | b'"');
    match str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(is_plain) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// Displays the hits of a decision, what the model suspects and what is unlike the baseline, in one line.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a> {
    hits: &'a [Hit],
    omitted: u32,
    model: Option<Inference<'a>>,
    /// What the model says, if that was worked out already.
    told: Option<&'a OwnedInference>,
    deviation: Option<&'a Deviation>,
    excluded: &'a [ExcludedHit],
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hits.is_empty() && self.model.is_none() && self.deviation.is_none() {
            f.write_str("nothing found")?;
        }
        let mut separator = "";
        for severity in [
            Severity::Critical,
            Severity::Error,
            Severity::Warning,
            Severity::Notice,
        ] {
            for hit in self.hits.iter().filter(|hit| hit.rule.severity == severity) {
                write!(f, "{separator}{hit}")?;
                separator = "; ";
            }
        }
        if self.omitted > 0 {
            write!(f, "; and {} more", self.omitted)?;
        }
        if let Some(inference) = &self.model {
            match self.told {
                Some(told) => write!(f, "{separator}{told}")?,
                None => write!(f, "{separator}{inference}")?,
            }
            if inference.suspect.usual {
                f.write_str("; less, as its characters and length are usual there")?;
            }
            separator = "; ";
        }
        if let Some(deviation) = self.deviation {
            write!(f, "{separator}{deviation}")?;
        }
        for ExcludedHit { hit, reason } in self.excluded {
            write!(f, "; excluded ({reason}): {hit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            target,
            name,
            matched,
            shape,
            decodings,
            detect_only,
        } = self;
        if *detect_only {
            f.write_str("detect only: ")?;
        }
        write!(
            f,
            "{} [{} {}] in {}",
            rule.message,
            rule.family.name(),
            rule.id,
            target.name()
        )?;
        if !name.as_bytes().is_empty() {
            write!(f, ":{name}")?;
        }
        if !shape.is_empty() {
            write!(f, ": {shape}")?;
        }
        if !matched.as_bytes().is_empty() {
            write!(f, ": {matched}")?;
        }
        if !decodings.is_empty() {
            write!(f, " (decoded: {decodings})")?;
        }
        Ok(())
    }
}

/// A decision that owns its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnedDecision {
    /// Verdict.
    pub decision: Verdict,
    /// 0..1.
    pub score: f32,
    /// Sum of severities.
    pub anomaly: u32,
    /// Families of the rules that hit and count, without repetition.
    pub categories: Vec<Family>,
    /// The rules that hit.
    pub rules: Vec<OwnedHit>,
    /// What the model suspects, from the verdict `suspicious` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<OwnedInference>,
    /// The rules that hit and do not count because of an exclusion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<OwnedExclusion>,
    /// One line for a person.
    pub explanation: String,
    /// Start of the request line, escaped.
    pub request_line: String,
    /// The head up to where the decision fell, at most 1024 bytes, as sent. With secrets, if there are any: it is never shown as it is.
    #[serde(skip)]
    pub head: Box<[u8]>,
    /// Bytes up to where the decision fell.
    pub bytes: u64,
    /// Whether the request had ended.
    pub complete: bool,
}

impl OwnedDecision {
    /// Adds what came with the head and belongs to it, for people who want to know who sent what to whom.
    #[must_use]
    pub fn with_unseen(mut self, unseen: &[u8]) -> Self {
        if !unseen.is_empty()
            && head_of(&self.head).len() == self.head.len()
            && !self.head.ends_with(b"\r\n\r\n")
        {
            let room = HEAD_BYTES.saturating_sub(self.head.len());
            let mut head = self.head.into_vec();
            head.extend_from_slice(&unseen[..unseen.len().min(room)]);
            head.truncate(head_of(&head).len());
            self.head = head.into();
        }
        self
    }

    /// The second tier has had its say: an attack becomes `block`, everything else stays as it is. Allocates.
    pub fn settle(&mut self, verdict: &DeepVerdict) {
        use fmt::Write as _;
        if !verdict.block {
            return;
        }
        self.decision = Verdict::Block;
        self.score = verdict.score;
        self.anomaly = verdict.anomaly;
        let mut separator = "; on a second look: ";
        for hit in &verdict.hits {
            // Writing to a string does not fail.
            let _ = write!(self.explanation, "{separator}{hit}");
            separator = "; ";
        }
        if let Some(inference) = &verdict.model {
            let _ = write!(self.explanation, "{separator}{inference}");
            self.model = Some(OwnedInference::clone(inference));
        }
        self.rules.extend(verdict.hits.iter().map(OwnedHit::of));
        self.categories
            .extend(verdict.hits.iter().map(|hit| hit.rule.family));
        self.categories.sort_unstable();
        self.categories.dedup();
    }
}

/// A hit that owns its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnedHit {
    /// Rule id.
    pub id: u32,
    /// Family.
    pub family: Family,
    /// Severity.
    pub severity: Severity,
    /// The rule's message.
    pub message: String,
    /// Where, such as `query:q`, `header:user-agent` or `body`.
    pub target: String,
    /// The bytes that matched, decoded, then escaped for display.
    pub matched: String,
    /// What the field had been decoded by, such as `url+entity`; `none` if it was matched as sent.
    pub decoding: String,
    /// The rule is above the policy's paranoia level: the hit does not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detect_only: bool,
}

/// An excluded hit that owns its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnedExclusion {
    /// The exclusion's reason.
    pub reason: String,
    /// The hit.
    #[serde(flatten)]
    pub hit: OwnedHit,
}

impl OwnedExclusion {
    fn of(excluded: &ExcludedHit) -> Self {
        Self {
            reason: excluded.reason.to_string(),
            hit: OwnedHit::of(&excluded.hit),
        }
    }
}

impl OwnedHit {
    fn of(hit: &Hit) -> Self {
        Self {
            id: hit.rule.id,
            family: hit.rule.family,
            severity: hit.rule.severity,
            message: hit.rule.message.clone(),
            target: hit.target.label(&hit.name),
            matched: hit.matched.to_string(),
            decoding: hit.decodings.to_string(),
            detect_only: hit.detect_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_are_escaped_like_others() {
        for byte in 0..=u8::MAX {
            let bytes = [b'a', byte, b' '];
            assert_eq!(escaped(&bytes), bytes.escape_ascii().to_string(), "{byte}");
        }
        assert_eq!(escaped(b""), "");
    }

    #[test]
    fn severities_meet_the_default_thresholds() {
        let policy = Policy::default();
        let verdict = |anomaly| policy.judge(score(anomaly), anomaly);
        assert_eq!(verdict(0), Verdict::Allow);
        assert_eq!(verdict(Severity::Notice.points()), Verdict::Allow);
        assert_eq!(verdict(Severity::Warning.points()), Verdict::Suspicious);
        assert_eq!(verdict(Severity::Error.points()), Verdict::Suspicious);
        assert_eq!(verdict(Severity::Critical.points()), Verdict::Block);
        assert!(score(1000) <= 1.0);
        assert!((0..100).all(|anomaly| score(anomaly) <= score(anomaly + 1)));
    }
}
