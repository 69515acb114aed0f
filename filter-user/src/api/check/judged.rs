//! What is told of a request.

use std::time::Duration;

use filter_score::{Family, OwnedDecision, OwnedHit, Verdict};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// What a request is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum Prediction {
    Benign,
    Suspicious,
    Malicious,
}

/// A judgement, as clients read it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct Judged<'a> {
    #[serde(serialize_with = "hexadecimal")]
    #[schemars(with = "String")]
    request_id: u128,
    /// RFC 3339.
    timestamp: &'a str,
    pub(super) prediction: Prediction,
    /// Whether it would be blocked.
    is_anomaly: bool,
    /// Of rules and model together, 0 to 1.
    anomaly_score: f32,
    /// Of the score, from which requests are blocked.
    threshold: f32,
    /// Of the prediction, 0 to 1.
    confidence: f32,
    categories: &'a [Family],
    rules: &'a [OwnedHit],
    explanation: &'a str,
    /// Whether the same bytes were judged before, by the same rules.
    cached: bool,
    processing_time_ms: f64,
}

/// One request of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::api) enum Outcome<'a> {
    Judged(Judged<'a>),
    Malformed { error: &'a str },
}

/// What a judgement has beside its decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) id: u128,
    /// RFC 3339.
    pub(super) timestamp: &'a str,
    /// Of the score, from which requests are blocked.
    pub(super) threshold: f32,
    /// Whether the decision was remembered.
    pub(super) cached: bool,
    pub(super) took: Duration,
}

impl<'a> Judged<'a> {
    pub(super) fn new(decision: &'a OwnedDecision, circumstances: Circumstances<'a>) -> Self {
        let Circumstances {
            id,
            timestamp,
            threshold,
            cached,
            took,
        } = circumstances;
        let prediction = match decision.decision {
            Verdict::Allow => Prediction::Benign,
            Verdict::Suspicious => Prediction::Suspicious,
            Verdict::Block => Prediction::Malicious,
        };
        let is_anomaly = prediction == Prediction::Malicious;
        Self {
            request_id: id,
            timestamp,
            prediction,
            is_anomaly,
            anomaly_score: decision.score,
            threshold,
            confidence: if is_anomaly {
                decision.score
            } else {
                1.0 - decision.score
            },
            categories: &decision.categories,
            rules: &decision.rules,
            explanation: &decision.explanation,
            cached,
            processing_time_ms: took.as_secs_f64() * 1000.0,
        }
    }
}

/// Without a formatter, which takes longer.
fn hexadecimal<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    let digits: [u8; 32] =
        std::array::from_fn(|at| b"0123456789abcdef"[(id >> (124 - 4 * at)) as usize & 15]);
    serializer.serialize_str(str::from_utf8(&digits).expect("digits are ASCII"))
}
