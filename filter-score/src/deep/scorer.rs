//! Jobs in, verdicts out.

use std::sync::Arc;

use super::known::{Known, KnownVerdicts};
use super::readings::Readings;
use super::{DOUBT_BYTES, DeepJob};
use crate::cache::{Fingerprinter, LONGEST};
use crate::evaluate::{Evaluator, Scratch};
use crate::findings::{Findings, Hit};
use crate::policy::Policy;
use crate::rules::{RuleBits, RuleInfo, RuleSet};
use crate::target::Target;
use crate::verdict::{Verdict, joint, weighed};

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
}

impl Default for DeepVerdict {
    fn default() -> Self {
        Self {
            block: false,
            score: 0.0,
            anomaly: 0,
            hits: Vec::with_capacity(MAX_DEEP_HITS),
        }
    }
}

/// A model that is too slow for the first tier.
pub trait SecondStage: std::fmt::Debug + Send + Sync {
    /// The probability that this reading of a field is part of an attack, 0..1. The same for the same arguments.
    fn probability(&self, target: Target, reading: &[u8]) -> f32;
}

/// One thread's second tier. A verdict depends on the job, the rules and the policy alone, so those that were found
/// before are remembered.
#[derive(Debug)]
pub struct DeepScorer {
    rules: Arc<RuleSet>,
    policy: Policy,
    every: RuleBits,
    scratch: Scratch,
    findings: Findings,
    readings: Readings,
    stage: Option<Arc<dyn SecondStage>>,
    fingerprinter: Fingerprinter,
    known: KnownVerdicts,
    identity: Vec<u8>,
    served: u64,
}

impl DeepScorer {
    /// A scorer that remembers up to `entries` verdicts, rounded up to a power of two; 0 for none. `key` is 16
    /// bytes that no client can guess.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, policy: Policy, entries: usize, key: &[u8; 16]) -> Self {
        let count = rules.rules.len();
        Self {
            every: every(&rules),
            scratch: Scratch::new(count, DOUBT_BYTES),
            findings: Findings::new(count),
            readings: Readings::default(),
            stage: None,
            fingerprinter: Fingerprinter::new(key),
            known: KnownVerdicts::new(entries),
            identity: Vec::with_capacity(LONGEST),
            served: 0,
            rules,
            policy,
        }
    }

    /// Asks a model, too.
    #[must_use]
    pub fn with_second_stage(mut self, stage: Arc<dyn SecondStage>) -> Self {
        self.stage = Some(stage);
        self
    }

    /// Puts other rules and another policy in force.
    pub fn replace(&mut self, rules: Arc<RuleSet>, policy: Policy) {
        let count = rules.rules.len();
        self.every = every(&rules);
        self.scratch = Scratch::new(count, DOUBT_BYTES);
        self.findings = Findings::new(count);
        self.rules = rules;
        self.policy = policy;
        self.known.clear();
    }

    /// Verdicts that were known, since the start.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.served
    }

    /// Judges a request.
    pub fn score(&mut self, job: &DeepJob, verdict: &mut DeepVerdict) {
        job.identity(&mut self.identity);
        let fingerprint = self.fingerprinter.of(&self.identity);
        verdict.hits.clear();
        if let Some(known) = self.known.get(fingerprint) {
            self.served += 1;
            verdict.block = known.block;
            verdict.score = known.score;
            verdict.anomaly = known.anomaly;
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
            hits: (!verdict.hits.is_empty()).then(|| verdict.hits.as_slice().into()),
        };
        self.known.insert(fingerprint, known);
    }

    fn compute(&mut self, job: &DeepJob, verdict: &mut DeepVerdict) {
        self.findings.clear();
        self.findings.exclude(&self.rules, |rule| job.has_rule(rule.id));
        let mut probability = 0.0f32;
        let mut evaluator = Evaluator {
            rules: &self.rules,
            active: &self.every,
            scratch: &mut self.scratch,
            findings: &mut self.findings,
        };
        for (doubt, text) in job.doubts.iter() {
            self.readings.of(text, doubt.plus);
            for (reading, decodings) in self.readings.iter() {
                evaluator.look(doubt.place(), reading, decodings);
                if let Some(stage) = &self.stage {
                    probability = probability.max(stage.probability(doubt.target, reading));
                }
            }
        }
        let hits = self.findings.hits();
        let more: u32 = hits.iter().map(|hit| parts(&hit.rule, &self.policy)).sum();
        #[expect(clippy::cast_precision_loss, reason = "sums of severities are small")]
        let from_rules = weighed(more as f32 / PARTS as f32);
        verdict.score = joint(joint(job.score, from_rules), probability.clamp(0.0, 1.0));
        verdict.anomaly = job.anomaly + more / PARTS;
        verdict.block = self.policy.judge(verdict.score, verdict.anomaly) == Verdict::Block;
        if verdict.block {
            verdict.hits.extend(hits.iter().take(MAX_DEEP_HITS).cloned());
        }
    }
}

/// What a hit counts: its severity times the confidence in its rule. That is 1 for a rule that the first tier
/// runs, too, and halves with every paranoia level above the policy's.
fn parts(rule: &RuleInfo, policy: &Policy) -> u32 {
    (rule.severity.points() * PARTS) >> rule.paranoia.saturating_sub(policy.paranoia)
}

fn every(rules: &RuleSet) -> RuleBits {
    let mut every = RuleBits::new(rules.rules.len());
    for index in 0..rules.rules.len() {
        every.insert(index);
    }
    every
}
