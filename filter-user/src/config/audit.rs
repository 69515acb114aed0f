//! `[audit]`: the log of decisions that matter.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The log of decisions that matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Whether there is one.
    pub enabled: bool,
    /// Where its files are.
    pub directory: PathBuf,
    /// How large a file may be, MiB.
    pub file_mb: u32,
    /// How many files are kept.
    pub files: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: PathBuf::from("/var/log/portcullis"),
            file_mb: 64,
            files: 8,
        }
    }
}
