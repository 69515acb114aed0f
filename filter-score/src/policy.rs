//! The operator's choices: thresholds, mode, paranoia level and limits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::rules::RuleSet;

/// What happens to a request that is judged an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The packet that completes the attack must not be forwarded.
    #[default]
    Block,
    /// Decisions are made and reported, but every packet is accepted.
    Detect,
}

/// Whether the learned model has a say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelUse {
    /// Rules and model make the score together.
    #[default]
    On,
    /// Rules alone.
    Off,
}

impl ModelUse {
    pub(crate) fn choose(self, rules: &RuleSet) -> Option<&Model> {
        match self {
            Self::On => rules.model().map(Arc::as_ref),
            Self::Off => None,
        }
    }
}

/// What becomes of what is learnt of a service's parameters. Nothing is, without [`crate::Scorer::with_baseline`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineUse {
    /// Nothing is learnt.
    #[default]
    Off,
    /// It is learnt, and has no say.
    Learn,
    /// What is usual makes a field less suspicious, what is unlike that makes the request suspicious, but never a block.
    On,
}

/// Thresholds, mode and limits of one service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Block or only report.
    pub mode: Mode,
    /// A score from here on is `suspicious` (0..1).
    pub suspicious: f32,
    /// A score from here on is `block` (0..1).
    pub block: f32,
    /// An anomaly sum from here on is `block`, whatever the score.
    pub anomaly: u32,
    /// Rules up to this paranoia level (1..=4) count.
    pub paranoia: u8,
    /// Rules above `paranoia` and up to this level run and are reported, but do not count.
    pub detect_paranoia: u8,
    /// Whether the rule set's model has a say, if it has one.
    pub model: ModelUse,
    /// Whether a baseline of the service's parameters is learnt, and has a say.
    pub baseline: BaselineUse,
    /// Whether suspicious requests are looked at a second time ([`crate::DeepScorer`]).
    pub deep: bool,
    /// Bounds of what is held and looked at.
    pub limits: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Block,
            suspicious: 0.4,
            block: 0.7,
            anomaly: 5,
            paranoia: 1,
            detect_paranoia: 1,
            model: ModelUse::On,
            baseline: BaselineUse::Off,
            deep: true,
            limits: Limits::default(),
        }
    }
}

/// Bounds of a request. Crossing one is a protocol violation, except `window` and `overlap`, which
/// only cut long values into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Request line, header and trailer lines together, in bytes.
    pub head_bytes: u32,
    /// Header and trailer lines.
    pub headers: u16,
    /// Parameters in query and form together.
    pub params: u16,
    /// The request target, in bytes; 0: any that `head_bytes` has room for.
    pub url_bytes: u32,
    /// One header line, in bytes; 0: any that `head_bytes` has room for.
    pub header_bytes: u32,
    /// Name and value of one parameter of query or form together, in bytes as sent, at most `window`; 0: any.
    pub param_bytes: u32,
    /// Values and texts longer than this are scored in windows of this many bytes.
    pub window: u32,
    /// How many bytes two neighbouring windows share.
    pub overlap: u32,
    /// A chunk-size line including its extensions, in bytes.
    pub chunk_line: u16,
    /// How deep a JSON or XML body may be nested, at most 64.
    pub depth: u8,
    /// Strings, numbers and names of a JSON body, or tags of an XML body.
    pub values: u32,
    /// Bytes of a body as it is sent; 0: any.
    pub body_bytes: u64,
    /// What happens at `body_bytes`.
    pub body_overflow: Overflow,
    /// Bytes of a body after each of its content codings, in steps of 32 KiB.
    pub decoded_bytes: u32,
    /// How many times as long as it was sent a body may become by decoding, after the first 64 KiB.
    pub decoded_ratio: u16,
    /// What happens at `decoded_bytes` and `decoded_ratio`.
    pub decoded_overflow: Overflow,
    /// Bodies in gzip or deflate that may be incomplete at once; beyond, [`crate::Disposition::Exhausted`].
    pub inflaters: u16,
    /// The same in br, and 0 for none; such a decoder takes 7.5 MiB.
    pub brotli_decoders: u16,
}

/// What happens to a body that exceeds a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overflow {
    /// The request is refused: a violation of critical severity.
    #[default]
    Reject,
    /// What came before the limit was scored, what comes after is not: a violation of low severity.
    Partial,
}

impl Overflow {
    pub(crate) const ALL: [Self; 2] = [Self::Reject, Self::Partial];
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            headers: 128,
            params: 1024,
            url_bytes: 0,
            header_bytes: 0,
            param_bytes: 0,
            window: 16 * 1024,
            overlap: 512,
            chunk_line: 256,
            depth: 64,
            values: 10_000,
            body_bytes: 16 << 20,
            body_overflow: Overflow::Reject,
            decoded_bytes: 16 << 20,
            decoded_ratio: 100,
            decoded_overflow: Overflow::Reject,
            inflaters: 32,
            brotli_decoders: 2,
        }
    }
}

/// A policy that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyError {
    /// Path of the offending setting, such as `limits.window`.
    pub field: &'static str,
    /// What is wrong and which values are right.
    pub problem: &'static str,
}

impl Policy {
    /// Checks ranges and relations between settings.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let checks = [
            (
                "suspicious",
                (0.0..=1.0).contains(&self.suspicious),
                "must lie between 0 and 1",
            ),
            (
                "block",
                self.block > 0.0 && self.block <= 1.0,
                "must be above 0 and at most 1",
            ),
            (
                "block",
                self.block >= self.suspicious,
                "must not be below `suspicious`",
            ),
            (
                "anomaly",
                self.anomaly > 0,
                "must be at least 1, or every request would be blocked",
            ),
            (
                "paranoia",
                (1..=4).contains(&self.paranoia),
                "must be 1, 2, 3 or 4",
            ),
            (
                "detect-paranoia",
                (1..=4).contains(&self.detect_paranoia),
                "must be 1, 2, 3 or 4",
            ),
            (
                "limits.head-bytes",
                (1024..=1 << 20).contains(&self.limits.head_bytes),
                "must lie between 1024 and 1048576 bytes",
            ),
            ("limits.headers", self.limits.headers > 0, "must be at least 1"),
            ("limits.params", self.limits.params > 0, "must be at least 1"),
            (
                "limits.window",
                (1024..=1 << 20).contains(&self.limits.window),
                "must lie between 1024 and 1048576 bytes",
            ),
            (
                "limits.param-bytes",
                self.limits.param_bytes <= self.limits.window,
                "must be at most `limits.window`, as longer values are scored in windows",
            ),
            (
                "limits.overlap",
                self.limits.overlap >= 64 && self.limits.overlap <= self.limits.window / 2,
                "must be at least 64 bytes and at most half of `limits.window`",
            ),
            (
                "limits.chunk-line",
                (32..=4096).contains(&self.limits.chunk_line),
                "must lie between 32 and 4096 bytes",
            ),
            (
                "limits.depth",
                (1..=64).contains(&self.limits.depth),
                "must lie between 1 and 64",
            ),
            ("limits.values", self.limits.values > 0, "must be at least 1"),
            (
                "limits.decoded-bytes",
                (1 << 16..=1 << 30).contains(&self.limits.decoded_bytes),
                "must lie between 65536 and 1073741824 bytes",
            ),
            (
                "limits.decoded-ratio",
                self.limits.decoded_ratio > 0,
                "must be at least 1",
            ),
            (
                "limits.inflaters",
                (2..=4096).contains(&self.limits.inflaters),
                "must lie between 2 and 4096",
            ),
            (
                "limits.brotli-decoders",
                self.limits.brotli_decoders <= 256,
                "must be at most 256",
            ),
        ];
        match checks.into_iter().find(|(_, holds, _)| !holds) {
            Some((field, _, problem)) => Err(PolicyError { field, problem }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_contradictions_are_named() {
        assert_eq!(Policy::default().validate(), Ok(()));
        let policy = Policy {
            block: 0.3,
            ..Policy::default()
        };
        assert_eq!(policy.validate().unwrap_err().field, "block");
        let policy = Policy {
            block: f32::NAN,
            ..Policy::default()
        };
        assert_eq!(policy.validate().unwrap_err().field, "block");
        let limits = Limits {
            overlap: Limits::default().window / 2 + 1,
            ..Limits::default()
        };
        let policy = Policy {
            limits,
            ..Policy::default()
        };
        assert_eq!(policy.validate().unwrap_err().field, "limits.overlap");
    }

    #[test]
    fn reads_from_toml_with_defaults_and_refuses_unknown_settings() {
        let policy: Policy = toml::from_str("mode = \"detect\"\n[limits]\nhead-bytes = 4096").unwrap();
        assert_eq!(policy.mode, Mode::Detect);
        assert_eq!(policy.limits.head_bytes, 4096);
        assert_eq!(policy.limits.window, Limits::default().window);
        assert!(toml::from_str::<Policy>("treshold = 3").is_err());
    }
}
