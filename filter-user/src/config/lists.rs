//! `[lists]` and `[report]`.

use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cidr;

/// Addresses and CIDR blocks that are settled beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    /// Sources that always pass, uninspected.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<IpNet>,
    /// Sources that are always dropped.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub block: Vec<IpNet>,
    /// Sources whose flows are suspicious.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub watch: Vec<IpNet>,
    /// Addresses that cannot be blocked, beside the host's own, its gateways' and the management client's.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub never_block: Vec<IpNet>,
}

/// What the engine reports by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// Where `portcullis report` writes when no directory is named.
    pub directory: PathBuf,
    /// Seconds between summary lines; 0: none.
    pub summary_interval_s: u32,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/portcullis/report"),
            summary_interval_s: 10,
        }
    }
}
