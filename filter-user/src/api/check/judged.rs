//! What is told of a request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use filter_score::{Family, OwnedDecision, OwnedHit, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

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
pub(in crate::api) struct Judged {
    request_id: String,
    /// RFC 3339.
    timestamp: String,
    pub(super) prediction: Prediction,
    /// Whether it would be blocked.
    is_anomaly: bool,
    /// Of rules and model together, 0 to 1.
    anomaly_score: f32,
    /// Of the score, from which requests are blocked.
    threshold: f32,
    /// Of the prediction, 0 to 1.
    confidence: f32,
    categories: Vec<Family>,
    rules: Vec<OwnedHit>,
    explanation: String,
    /// Whether the same bytes were judged before, by the same rules.
    pub(super) cached: bool,
    processing_time_ms: f64,
}

/// One request of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::api) enum Outcome {
    Judged(Box<Judged>),
    Malformed { error: String },
}

impl Judged {
    pub(super) fn new(
        decision: &Arc<OwnedDecision>,
        threshold: f32,
        id: u128,
        cached: bool,
        took: Duration,
    ) -> Self {
        let prediction = match decision.decision {
            Verdict::Allow => Prediction::Benign,
            Verdict::Suspicious => Prediction::Suspicious,
            Verdict::Block => Prediction::Malicious,
        };
        let is_anomaly = prediction == Prediction::Malicious;
        Self {
            request_id: format!("{id:032x}"),
            timestamp: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            prediction,
            is_anomaly,
            anomaly_score: decision.score,
            threshold,
            confidence: if is_anomaly {
                decision.score
            } else {
                1.0 - decision.score
            },
            categories: decision.categories.clone(),
            rules: decision.rules.clone(),
            explanation: decision.explanation.clone(),
            cached,
            processing_time_ms: took.as_secs_f64() * 1000.0,
        }
    }
}
