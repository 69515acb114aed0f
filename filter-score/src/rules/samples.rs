//! Every rule carries samples that it must find and samples that it must leave alone.

use std::sync::Arc;

use super::error::PackError;
use super::set::{Check, Rule, RuleSet};
use crate::evaluate::{Evaluator, Scratch};
use crate::findings::{Findings, Place};
use crate::offline::OfflineScorer;
use crate::policies::{Policies, Ruling, Tuning};
use crate::subject::Subject;
use crate::target::Target;

impl RuleSet {
    /// Runs every rule on its own samples, alone, and reports those that do not come out as written.
    ///
    /// A sample is the value of the rule's first target, before any decoding; that of a violation, or of a rule with
    /// conditions, is a whole stream. In it `{3×ab}` stands for `ababab`.
    #[must_use]
    pub fn check_samples(self: &Arc<Self>) -> Vec<PackError> {
        let mut errors = Vec::new();
        for (index, rule) in self.visible().enumerate() {
            let expected = [(&rule.matching, true), (&rule.passing, false)];
            for (samples, must_match) in expected {
                for sample in samples {
                    if self.matches(index, rule, &expand(&sample.text)) != must_match {
                        let (what, remedy) = if must_match {
                            (
                                "does not match",
                                "correct the rule, or move the sample to `samples.pass`",
                            )
                        } else {
                            (
                                "matches",
                                "narrow the rule, or move the sample to `samples.match`",
                            )
                        };
                        let message = format!("rule {} {what} this sample", rule.info.id);
                        errors.push(sample.place.error(message, remedy));
                    }
                }
            }
        }
        errors
    }

    fn matches(self: &Arc<Self>, index: usize, rule: &Rule, sample: &str) -> bool {
        if matches!(rule.check, Check::Violation) || !rule.conditions.is_empty() {
            let policies = Policies::compile(Arc::clone(self), &Tuning::strict(), &[]);
            let Ok(policies) = policies else { return false };
            let decision = OfflineScorer::with_policies(policies).score_request(sample.as_bytes());
            return decision.rules.iter().any(|hit| hit.id == rule.info.id);
        }
        let mut findings = Findings::new(self.rules.len(), Subject::new(false));
        let mut evaluator = Evaluator {
            rules: self,
            ruling: &Ruling::of_rule(self, index),
            scratch: &mut Scratch::new(self.rules.len(), sample.len()),
            findings: &mut findings,
        };
        let target = rule.targets.first().unwrap_or(Target::Query);
        let name = rule.headers.first().map_or("", String::as_str);
        evaluator.field(
            Place {
                target,
                name: name.as_bytes(),
            },
            sample.as_bytes(),
            false,
        );
        findings.anomaly() > 0
    }
}

/// Writes out repetitions.
fn expand(sample: &str) -> String {
    let mut out = String::new();
    let mut rest = sample;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let repetition = rest.find('}').and_then(|end| {
            let (count, text) = rest[1..end].split_once('×')?;
            Some((end, text.repeat(count.parse().ok()?)))
        });
        if let Some((end, text)) = repetition {
            out.push_str(&text);
            rest = &rest[end + 1..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn repetitions() {
        assert_eq!(expand("a{3×bc}d{x}{2×e}{"), "abcbcbcd{x}ee{");
    }
}
