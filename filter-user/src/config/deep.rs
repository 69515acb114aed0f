//! `[deep]`: the second look at requests that are merely suspicious.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The second look at requests that are merely suspicious, on threads of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deep {
    /// Whether there is one.
    pub enabled: bool,
    /// How many threads there are.
    pub workers: Workers,
    /// Requests that a thread takes at once.
    pub batch: u32,
    /// How long a thread that has found more than one request waits for others, in microseconds.
    pub collect_us: u32,
    /// How long a request waits for its verdict before `engine.on_failure` decides, in milliseconds.
    pub deadline_ms: u32,
    /// Requests of one queue that may wait at once, 6 KiB each.
    pub queue: u32,
    /// Verdicts that each thread remembers; 0 for none.
    pub cache: u32,
}

impl Default for Deep {
    fn default() -> Self {
        Self {
            enabled: true,
            workers: Workers::default(),
            batch: 32,
            collect_us: 200,
            deadline_ms: 20,
            queue: 256,
            cache: 1024,
        }
    }
}

/// The number of threads follows the load between these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

impl Default for Workers {
    fn default() -> Self {
        Self { min: 2, max: 8 }
    }
}
