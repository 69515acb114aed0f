//! What messages are about.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// A request that was not simply allowed.
    Verdicts,
    /// A source was blocked, unblocked or put on the allow list.
    Blocks,
    /// Something went wrong, or is right again.
    Alerts,
    /// The reputation of a source has changed.
    Sources,
    /// Packets that the XDP program dropped: a sample.
    Flows,
    /// Rates and levels, once a second.
    Stats,
    /// A reload, its end, and what became of it.
    Config,
    /// The workers of the second tier, and its breaker.
    Workers,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Verdicts,
        Self::Blocks,
        Self::Alerts,
        Self::Sources,
        Self::Flows,
        Self::Stats,
        Self::Config,
        Self::Workers,
    ];

    /// Whether it goes into the audit log.
    #[must_use]
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Verdicts | Self::Blocks | Self::Alerts | Self::Config)
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdicts => "verdicts",
            Self::Blocks => "blocks",
            Self::Alerts => "alerts",
            Self::Sources => "sources",
            Self::Flows => "flows",
            Self::Stats => "stats",
            Self::Config => "config",
            Self::Workers => "workers",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("`{text}` is no topic; there are {names}")
            })
    }
}
