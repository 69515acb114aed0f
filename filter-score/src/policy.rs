//! The operator's choices: thresholds, mode, paranoia level and limits.

use serde::{Deserialize, Serialize};

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
            window: 8 * 1024,
            overlap: 512,
            chunk_line: 256,
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
            overlap: 8000,
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
