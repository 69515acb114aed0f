//! `[alerts]`: when the engine says that something is wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Findings;

/// When the engine says that something is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// Where alerts are posted as JSON; none: nowhere.
    pub webhook: Option<String>,
    /// Seconds that the webhook may take.
    pub webhook_timeout_s: u32,
    /// Microseconds from the driver until packets are handed on, which one of a hundred exceeds.
    pub latency_p99_us: Threshold,
    /// The part of the inspected packets that went on unscored or were lost, 0 to 1.
    pub unscored: Threshold,
    /// How full the fullest queue's ring is, 0 to 1.
    pub backlog: Threshold,
    /// The part of the requests that were not known from before, 0 to 1.
    pub cache_misses: Threshold,
    /// The second tier's breaker is not closed: 1, or 0.
    pub breaker: Threshold,
    /// Packets dropped a second.
    pub drops: Threshold,
    /// Requests blocked a second.
    pub attack: Threshold,
    /// Feeds that cannot be had; what they had before stays in force.
    pub feeds: Threshold,
    /// Milliseconds since the most silent queue has last shown itself.
    pub silence_ms: Threshold,
}

/// What is too much, and for how long it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Threshold {
    /// More than this; 0: never.
    pub above: f64,
    /// For so many seconds; as long has it to be below four fifths of it until it is over.
    pub for_s: u32,
}

impl Threshold {
    const fn new(above: f64, for_s: u32) -> Self {
        Self { above, for_s }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook: None,
            webhook_timeout_s: 5,
            latency_p99_us: Threshold::new(5000.0, 30),
            unscored: Threshold::new(0.01, 10),
            backlog: Threshold::new(0.8, 10),
            cache_misses: Threshold::new(0.0, 60),
            breaker: Threshold::new(0.5, 5),
            drops: Threshold::new(10_000.0, 10),
            attack: Threshold::new(5.0, 10),
            feeds: Threshold::new(0.5, 600),
            silence_ms: Threshold::new(1000.0, 1),
        }
    }
}

impl Alerts {
    /// Notes what is wrong.
    pub(super) fn check(&self, findings: &mut Findings) {
        findings.range("alerts.webhook_timeout_s", self.webhook_timeout_s, 1..=60);
        if let Some(url) = &self.webhook
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            findings.add(
                "alerts.webhook",
                "this is no URL",
                "write it like \"https://hooks.example.com/portcullis\"",
            );
        }
        for (name, threshold) in [
            ("latency_p99_us", self.latency_p99_us),
            ("unscored", self.unscored),
            ("backlog", self.backlog),
            ("cache_misses", self.cache_misses),
            ("breaker", self.breaker),
            ("drops", self.drops),
            ("attack", self.attack),
            ("feeds", self.feeds),
            ("silence_ms", self.silence_ms),
        ] {
            findings.range(&format!("alerts.{name}.above"), threshold.above, 0.0..=1e12);
            findings.range(&format!("alerts.{name}.for_s"), threshold.for_s, 0..=86_400);
        }
    }
}
