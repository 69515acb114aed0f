//! Exclusions that are made while an engine runs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most of them.
pub const MAX_EXCLUSIONS: usize = 256;
/// The most rules of one.
pub const MAX_EXCLUDED_RULES: usize = 64;

/// What is not to count, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExclusion {
    /// Rules by id, at most 64.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<u32>,
    /// The request's path: a folder, or a pattern with `*` and `?`; none: any.
    #[serde(default)]
    pub path: Option<String>,
    /// Where the rules hit, with or without a name: `query`, `query:id`; none: anywhere.
    #[serde(default)]
    pub target: Option<String>,
    /// For so many seconds; none: until it is ended, or the engine ends.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// Why.
    pub reason: String,
}

/// An exclusion in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExclusionEntry {
    /// Its number.
    pub id: u64,
    /// Rules by id.
    pub rules: Vec<u32>,
    /// The request's path; none: any.
    pub path: Option<String>,
    /// Where the rules hit; none: anywhere.
    pub target: Option<String>,
    /// Seconds until it ends; none: it stays.
    pub remaining_s: Option<u64>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for ExclusionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |value: &Option<String>| value.clone().unwrap_or_else(|| "any".to_owned());
        write!(
            f,
            "exclusion {} of rules {:?}, path {}, target {}, for {}: {}",
            self.id,
            self.rules,
            any(&self.path),
            any(&self.target),
            self.remaining_s
                .map_or("good".to_owned(), |seconds| format!("{seconds} s")),
            self.reason
        )
    }
}
