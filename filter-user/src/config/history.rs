//! `[history]`: snapshots of how the engine has done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Snapshots of how the engine has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Where they are written.
    pub directory: PathBuf,
    /// Seconds from one to the next; 0: none.
    pub interval_s: u32,
    /// How many are kept.
    pub files: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/portcullis/history"),
            interval_s: 300,
            files: 288,
        }
    }
}
