//! Jobs in, verdicts out.

use std::sync::Arc;

use super::known::{Known, KnownVerdicts};
use super::readings::Readings;
use super::{DOUBT_BYTES, DeepJob};
use crate::cache::Fingerprinter;
use crate::evaluate::{Evaluator, Scratch};
use crate::findings::{Findings, Hit};
use crate::model::{self, Context, Inference, OwnedInference, Suspicion};
use crate::policies::Policies;
use crate::policy::Policy;
use crate::rules::RuleInfo;
use crate::subject::Subject;
use crate::verdict::{Verdict, joint, score, weighed};

/// Hits of a verdict that are kept for the explanation.
pub(crate) const MAX_DEEP_HITS: usize = 8;

/// Parts of a severity point that sums are counted in.
const PARTS: u32 = 8;

/// What the second tier made of a request. Kept and filled again, it allocates nothing.
#[derive(Clone, Debug)]
pub struct DeepVerdict {
    /// It is an attack.
    pub block: bool,
    /// Of both tiers together, 0..1.
    pub score: f32,
    /// Severity points of both tiers together, those of doubtful rules in part, rounded down.
    pub anomaly: u32,
    /// What the first tier had not found, at most eight; only of an attack.
    pub hits: Vec<Hit>,
    /// What the model suspects more than the first tier's did; only of an attack.
    pub model: Option<Arc<OwnedInference>>,
}

impl Default for DeepVerdict {
    fn default() -> Self {
        Self {
            block: false,
            score: 0.0,
            anomaly: 0,
            hits: Vec::with_capacity(MAX_DEEP_HITS),
            model: None,
        }
    }
}

/// One thread's second tier. A verdict depends on the job, the rules and the policies alone, so those that were found
/// before are remembered.
#[derive(Debug)]
pub struct DeepScorer {
    policies: Policies,
    scratch: Scratch,
    findings: Findings,
    suspicion: Suspicion,
    readings: Readings,
    fingerprinter: Fingerprinter,
    known: KnownVerdicts,
    served: u64,
}

impl DeepScorer {
    /// A scorer that remembers up to `entries` verdicts, rounded up to a power of two; 0 for none. `key` is 16
    /// bytes that no client can guess.
    #[must_use]
    pub fn new(policies: &Policies, entries: usize, key: &[u8; 16]) -> Self {
        let count = policies.rules().rules.len();
        Self {
            policies: policies.for_second_tier(),
            scratch: Scratch::new(count, DOUBT_BYTES),
            findings: Findings::new(count, Subject::new(false)),
            suspicion: Suspicion::new(),
            readings: Readings::default(),
            fingerprinter: Fingerprinter::new(key),
            known: KnownVerdicts::new(entries),
            served: 0,
        }
    }

    /// Puts other rules and policies in force.
    pub fn replace(&mut self, policies: &Policies) {
        let count = policies.rules().rules.len();
        self.policies = policies.for_second_tier();
        self.scratch = Scratch::new(count, DOUBT_BYTES);
        self.findings = Findings::new(count, Subject::new(false));
        self.known.clear();
    }

    /// Verdicts that were known, since the start.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.served
    }

    /// Judges a request. What exclusions of other policies than those in force are about is left at what the first tier
    /// made of it: that is for the moment of a reload.
    pub fn score(&mut self, job: &DeepJob, verdict: &mut DeepVerdict) {
        verdict.hits.clear();
        verdict.model = None;
        if job.has_exclusions() {
            if job.policies == self.policies.id() {
                self.compute(job, verdict);
            } else {
                verdict.block = false;
                verdict.score = joint(score(job.anomaly), job.model);
                verdict.anomaly = job.anomaly;
            }
            return;
        }
        let fingerprint = self.fingerprinter.of(job.identity(), u64::from(job.policy));
        if let Some(known) = self.known.get(fingerprint) {
            self.served += 1;
            verdict.block = known.block;
            verdict.score = known.score;
            verdict.anomaly = known.anomaly;
            verdict.model.clone_from(&known.model);
            verdict
                .hits
                .extend(known.hits.iter().flat_map(|hits| hits.iter().cloned()));
            return;
        }
        self.compute(job, verdict);
        let known = Known {
            block: verdict.block,
            score: verdict.score,
            anomaly: verdict.anomaly,
            model: verdict.model.clone(),
            hits: (!verdict.hits.is_empty()).then(|| verdict.hits.as_slice().into()),
        };
        self.known.insert(fingerprint, known);
    }

    fn compute(&mut self, job: &DeepJob, verdict: &mut DeepVerdict) {
        let rules = self.policies.rules();
        let ruling = self.policies.ruling(job.policy);
        let model = ruling.policy.model.choose(rules);
        self.findings.clear();
        self.findings.discount(rules, |rule| job.has_rule(rule.id));
        let (mut suspected, mut suspect) = (job.model, None);
        for (doubt, text) in job.doubts() {
            let place = doubt.place();
            self.findings.give(doubt.excluded);
            let model = model.filter(|_| !ruling.exclusions.silence_model_among(&doubt.excluded));
            self.readings.of(text, doubt.plus);
            for (reading, decodings, plain) in self.readings.iter() {
                let classes = Evaluator {
                    rules,
                    ruling,
                    model: None,
                    scratch: &mut self.scratch,
                    findings: &mut self.findings,
                    service: None,
                    known: None,
                }
                .look(place, reading, decodings);
                if let Some(model) = model
                    && plain
                    && model::interesting(place, reading, classes, true)
                {
                    // Only what is decoded all the way is like what the model has learnt from.
                    self.suspicion.clear();
                    let context = Context {
                        target: place.target,
                        decodings,
                        anomaly: job.anomaly,
                        families: job.families,
                    };
                    self.suspicion.weigh(model, place, reading, context, false);
                    if self.suspicion.score() > suspected {
                        suspected = self.suspicion.score();
                        suspect = self.suspicion.suspect().cloned();
                    }
                }
            }
        }
        let policy = &ruling.policy;
        let hits = self.findings.hits();
        let more: u32 = hits.iter().map(|hit| parts(&hit.rule, policy)).sum();
        #[expect(clippy::cast_precision_loss, reason = "sums of severities are small")]
        let points = job.anomaly as f32 + more as f32 / PARTS as f32;
        verdict.score = joint(weighed(points), suspected);
        verdict.anomaly = job.anomaly + more / PARTS;
        verdict.block = policy.judge(verdict.score, verdict.anomaly) == Verdict::Block;
        if verdict.block {
            verdict.hits.extend(hits.iter().take(MAX_DEEP_HITS).cloned());
            verdict.model = model.zip(suspect.as_ref()).map(|(model, suspect)| {
                let inference = Inference {
                    model,
                    suspect,
                    score: suspected,
                };
                Arc::new(inference.to_owned())
            });
        }
    }
}

/// What a hit counts: its severity times the confidence in its rule. That is 1 for a rule that the first tier
/// runs, too, and halves with every paranoia level above the policy's.
fn parts(rule: &RuleInfo, policy: &Policy) -> u32 {
    (rule.severity.points() * PARTS) >> rule.paranoia.saturating_sub(policy.paranoia)
}
