//! Every rule carries samples that it must find and samples that it must leave alone.

use std::sync::Arc;

use super::error::PackError;
use super::set::{Check, Rule, RuleSet};
use crate::decode::hex;
use crate::evaluate::{Evaluator, Scratch};
use crate::findings::{Findings, Place};
use crate::http::Violation;
use crate::offline::OfflineScorer;
use crate::policies::{Policies, Ruling, Tuning};
use crate::policy::Overflow;
use crate::subject::Subject;
use crate::target::Target;

impl RuleSet {
    /// Runs every rule on its own samples, alone, and reports those that do not come out as written.
    ///
    /// A sample is the value of the rule's first target, before any decoding; that of a violation, or of a rule with
    /// conditions, is a whole stream. In it `{3×ab}` stands for `ababab`, and `{hex:1f8b}` for these two bytes. Streams
    /// are scored with limits that are small enough for samples to exceed, and bodies of at most 128 KiB.
    #[must_use]
    pub fn check_samples(self: &Arc<Self>) -> Vec<PackError> {
        let mut errors = Vec::new();
        let mut scorers = Overflow::ALL.map(|overflow| {
            let policies = Policies::compile(Arc::clone(self), &Tuning::strict(overflow), &[]);
            let Ok(policies) = policies else {
                unreachable!("there are no exclusions to be wrong")
            };
            OfflineScorer::with_policies(policies)
        });
        for (index, rule) in self.visible().enumerate() {
            let expected = [(&rule.matching, true), (&rule.passing, false)];
            for (samples, must_match) in expected {
                for sample in samples {
                    if self.matches(index, rule, &expand(&sample.text), &mut scorers) != must_match {
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

    fn matches(&self, index: usize, rule: &Rule, sample: &[u8], scorers: &mut [OfflineScorer; 2]) -> bool {
        if matches!(rule.check, Check::Violation) || !rule.conditions.is_empty() {
            let partial = self.violation(Violation::PartlyScored) == Some(index);
            let decision = scorers[usize::from(partial)].score_request(sample);
            return decision.rules.iter().any(|hit| hit.id == rule.info.id);
        }
        let mut findings = Findings::new(self.rules.len(), Subject::new(false));
        let mut evaluator = Evaluator {
            model: None,
            rules: self,
            ruling: &Ruling::of_rule(self, index),
            scratch: &mut Scratch::new(self.rules.len(), sample.len()),
            findings: &mut findings,
            service: None,
            known: None,
        };
        let target = rule.targets.first().unwrap_or(Target::Query);
        let name = rule.headers.first().map_or("", String::as_str);
        evaluator.field(
            Place {
                target,
                name: name.as_bytes(),
            },
            sample,
            false,
        );
        findings.anomaly() > 0
    }
}

/// Writes out repetitions and bytes.
fn expand(sample: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = sample;
    while let Some(start) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..start]);
        rest = &rest[start..];
        let written_out = rest
            .find('}')
            .and_then(|end| Some((end, repeated(&rest[1..end]).or_else(|| bytes(&rest[1..end]))?)));
        if let Some((end, bytes)) = written_out {
            out.extend_from_slice(&bytes);
            rest = &rest[end + 1..];
        } else {
            out.push(b'{');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn repeated(text: &str) -> Option<Vec<u8>> {
    let (count, text) = text.split_once('×')?;
    Some(text.repeat(count.parse().ok()?).into_bytes())
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("hex:")?.as_bytes();
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(hex(*high)? << 4 | hex(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn repetitions_and_bytes() {
        assert_eq!(expand("a{3×bc}d{x}{2×e}{"), b"abcbcbcd{x}ee{");
        assert_eq!(expand("{hex:1f8B}x{hex:1}{hex:zz}"), b"\x1f\x8bx{hex:1}{hex:zz}");
    }
}
