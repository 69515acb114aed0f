//! `[scoring.baseline]`: what the parameters of a service usually hold.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::keyword;

/// What is learnt of each service's parameters, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Baseline {
    /// Whether it is learnt, and has a say.
    pub mode: BaselineMode,
    /// Parameters that each queue keeps of each service that has a baseline, 32 bytes each; rounded up to a power of two.
    pub entries: u32,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            mode: BaselineMode::Off,
            entries: 1024,
        }
    }
}

/// What is different for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceBaseline {
    /// Whether it is learnt, and has a say.
    pub mode: Option<BaselineMode>,
}

impl ServiceBaseline {
    /// What is given here, and `general` for the rest.
    #[must_use]
    pub fn over(self, general: Baseline) -> Baseline {
        Baseline {
            mode: self.mode.unwrap_or(general.mode),
            ..general
        }
    }
}

keyword! {
    /// What becomes of what is learnt of a service's parameters.
    BaselineMode {
        /// Nothing is learnt.
        Off = "off",
        /// It is learnt and shown, and has no say.
        Learn = "learn",
        /// It lowers and raises suspicion.
        On = "on",
    }
}

impl From<BaselineMode> for filter_score::BaselineUse {
    fn from(mode: BaselineMode) -> Self {
        match mode {
            BaselineMode::Off => Self::Off,
            BaselineMode::Learn => Self::Learn,
            BaselineMode::On => Self::On,
        }
    }
}
