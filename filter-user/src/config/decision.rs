//! `[rules]`, `[scoring]`, `[response]` and `[reputation]`: from a request to what is done about it.

use std::{fmt, path::PathBuf};

use filter_score::Glob;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Baseline, Limits,
    engine::keyword,
    exclusion::{Exclusion, Written},
};

/// Rules beside those of `scoring.rules`: virtual patches and an operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesFolder {
    /// A directory whose `*.toml` packs are compiled with the others; unset: none.
    pub folder: Option<PathBuf>,
    /// Seconds between looks at it: packs that have changed are taken in; 0: only at a reload.
    pub watch_s: u32,
}

impl Default for RulesFolder {
    fn default() -> Self {
        Self {
            folder: None,
            watch_s: 2,
        }
    }
}

/// How requests are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scoring {
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// The score from which a request is suspicious, 0..1.
    pub suspicious: f64,
    /// The score from which a request is blocked, 0..1.
    pub block: f64,
    /// The sum of rule severities from which a request is blocked.
    pub anomaly: u32,
    /// Rules up to this paranoia level (1 to 4) count: higher levels find more, and err more often.
    pub paranoia: u8,
    /// Rules above `paranoia` and up to this level are reported, but do not count; unset: none.
    pub detect_paranoia: Option<u8>,
    /// Where the rule packs are.
    pub rules: RulesSource,
    /// Where the learned model is.
    pub model: ModelSource,
    /// Clean requests that each queue remembers, so as not to score them again; 0 for none. 16 bytes each.
    pub cache: u32,
    /// What is learnt of the parameters of services.
    pub baseline: Baseline,
    /// Hits that do not count.
    pub exclusions: Vec<Exclusion>,
    /// What requests may be.
    pub allow: Allow,
    /// How large the parts of a request may be.
    pub limits: RequestLimits,
}

/// What requests may be; what is not given is as it is elsewhere, and at last as [`filter_score::Allowance`] has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Methods, in capitals.
    pub methods: Option<Vec<String>>,
    /// Patterns for content types without parameters.
    pub content_types: Option<Vec<Written<Glob>>>,
    /// Patterns for protocols that requests may ask to upgrade to.
    pub upgrades: Option<Vec<Written<Glob>>>,
}

/// How large the parts of a request may be; what is not given is as it is elsewhere, and at last as
/// [`filter_score::Limits`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestLimits {
    /// Bytes of the request target; 0: any.
    pub url_bytes: Option<u32>,
    /// Bytes of one header line; 0: any.
    pub header_bytes: Option<u32>,
    /// Header lines.
    pub headers: Option<u16>,
    /// Bytes of one parameter, name and value; 0: any.
    pub param_bytes: Option<u32>,
    /// Parameters of query and form together.
    pub params: Option<u16>,
}

impl Allow {
    /// What is given here, and `general` for the rest.
    #[must_use]
    pub fn over(&self, general: &Self) -> Self {
        Self {
            methods: self.methods.clone().or_else(|| general.methods.clone()),
            content_types: self
                .content_types
                .clone()
                .or_else(|| general.content_types.clone()),
            upgrades: self.upgrades.clone().or_else(|| general.upgrades.clone()),
        }
    }
}

impl RequestLimits {
    /// What is given here, and `general` for the rest.
    #[must_use]
    pub fn over(&self, general: &Self) -> Self {
        Self {
            url_bytes: self.url_bytes.or(general.url_bytes),
            header_bytes: self.header_bytes.or(general.header_bytes),
            headers: self.headers.or(general.headers),
            param_bytes: self.param_bytes.or(general.param_bytes),
            params: self.params.or(general.params),
        }
    }

    fn limits(&self, base: filter_score::Limits) -> filter_score::Limits {
        filter_score::Limits {
            url_bytes: self.url_bytes.unwrap_or(base.url_bytes),
            header_bytes: self.header_bytes.unwrap_or(base.header_bytes),
            headers: self.headers.unwrap_or(base.headers),
            param_bytes: self.param_bytes.unwrap_or(base.param_bytes),
            params: self.params.unwrap_or(base.params),
            ..base
        }
    }
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            mode: Mode::Block,
            suspicious: 0.4,
            block: 0.7,
            anomaly: 5,
            paranoia: 1,
            detect_paranoia: None,
            rules: RulesSource::Builtin,
            model: ModelSource::Builtin,
            cache: 16_384,
            baseline: Baseline::default(),
            exclusions: Vec::new(),
            allow: Allow::default(),
            limits: RequestLimits::default(),
        }
    }
}

impl Scoring {
    /// Thresholds and bounds as the scoring engine takes them. `deep`: suspicious requests are looked at a second time.
    fn policy(&self, limits: &Limits, deep: bool) -> filter_score::Policy {
        filter_score::Policy {
            mode: match self.mode {
                Mode::Block => filter_score::Mode::Block,
                Mode::Detect => filter_score::Mode::Detect,
            },
            suspicious: self.suspicious as f32,
            block: self.block as f32,
            anomaly: self.anomaly,
            paranoia: self.paranoia,
            detect_paranoia: self.detect_paranoia.unwrap_or(self.paranoia),
            model: filter_score::ModelUse::On,
            baseline: self.baseline.mode.into(),
            deep,
            limits: self.limits.limits(limits.request()),
        }
    }

    /// The policy and what is excepted from it.
    pub(super) fn tuning(&self, limits: &Limits, deep: bool) -> filter_score::Tuning {
        let compiled = |patterns: &Vec<Written<Glob>>| -> Vec<Glob> {
            patterns.iter().map(|pattern| pattern.value().clone()).collect()
        };
        let Allow {
            methods,
            content_types,
            upgrades,
        } = &self.allow;
        filter_score::Tuning {
            policy: self.policy(limits, deep),
            exclusions: self.exclusions.iter().map(Exclusion::compiled).collect(),
            allow: filter_score::Allowance {
                methods: methods.clone().unwrap_or_default(),
                content_types: content_types.as_ref().map(compiled).unwrap_or_default(),
                upgrades: upgrades.as_ref().map(compiled),
            },
        }
    }
}

keyword! {
    /// Whether decisions are carried out.
    Mode {
        /// Attacks are blocked.
        Block = "block",
        /// Attacks are counted and logged; nothing is dropped because of its content.
        Detect = "detect",
    }
}

/// Where the rule packs are: `"builtin"` or a directory of `*.toml` files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesSource {
    /// The packs compiled into the program.
    Builtin,
    /// The `*.toml` files of this directory.
    Directory(PathBuf),
}

impl fmt::Display for RulesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for RulesSource {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RulesSource {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?;
        Ok(if text == "builtin" {
            Self::Builtin
        } else {
            Self::Directory(PathBuf::from(text))
        })
    }
}

/// Where the learned model is: `"builtin"`, a file that `portcullis train` wrote, or `"off"` for rules alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The model compiled into the program.
    Builtin,
    /// Rules judge alone.
    Off,
    /// This file.
    File(PathBuf),
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Off => f.write_str("off"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for ModelSource {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelSource {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?;
        Ok(match text.as_str() {
            "builtin" => Self::Builtin,
            "off" => Self::Off,
            _ => Self::File(PathBuf::from(text)),
        })
    }
}

/// What the two ends of a blocked flow get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    /// What the client gets; the server always gets a reset, unless this is `drop`.
    pub respond: Respond,
    /// An HTML page for the 403; `{request_id}` in it is replaced. Unset: the built-in page.
    pub page: Option<PathBuf>,
}

impl Default for Response {
    fn default() -> Self {
        Self {
            respond: Respond::Forbidden,
            page: None,
        }
    }
}

keyword! {
    /// What the client of a blocked flow gets.
    Respond {
        /// A 403 page and a FIN.
        Forbidden = "403",
        /// A reset.
        Reset = "reset",
        /// Nothing.
        Drop = "drop",
    }
}

/// How blocked requests add up to a blocked source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reputation {
    /// Points a blocked request adds to its source.
    pub points_per_block: u32,
    /// Seconds in which the points of a source halve.
    pub half_life_s: u32,
    /// Points from which a source is blocked.
    pub threshold: u32,
    /// Seconds of the first block; each relapse doubles it.
    pub first_block_s: u32,
    /// Seconds of the longest block.
    pub max_block_s: u32,
    /// Seconds without an offence after the last block's end until the next block counts as the first.
    pub forgive_after_s: u32,
    /// The prefix length that stands for one IPv6 source: a client can use any address of its network.
    pub ipv6_prefix: u8,
}

impl Default for Reputation {
    fn default() -> Self {
        Self {
            points_per_block: 10,
            half_life_s: 300,
            threshold: 30,
            first_block_s: 60,
            max_block_s: 86_400,
            forgive_after_s: 86_400,
            ipv6_prefix: 64,
        }
    }
}
