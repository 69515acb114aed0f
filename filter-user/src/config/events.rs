//! `[events]`: what the engine tells as it happens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the engine tells as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Decisions a second that are told, each in full; further ones are only counted. A source has at most a quarter of them, and the
    /// last quarter is for blocked requests.
    pub rate: u32,
    /// Messages that are kept for those who were away.
    pub history: u32,
    /// Web sockets at once.
    pub clients: u32,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            rate: 1000,
            history: 4096,
            clients: 64,
        }
    }
}
