//! `[geo]`: blocks by country and by network operator, from a database of this host's.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Findings;

/// Blocks by where an address is registered. The networks are put on the block list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Geo {
    /// A file in `MaxMind`'s format with countries; unset: none.
    pub database: Option<PathBuf>,
    /// Another one with autonomous systems; unset: they are in `database`, too.
    pub asn_database: Option<PathBuf>,
    /// Countries whose networks are blocked, by their ISO 3166-1 codes.
    pub block_countries: Vec<String>,
    /// If any are named, the networks of all other countries are blocked; addresses of no known country are not.
    pub allow_countries: Vec<String>,
    /// Autonomous systems whose networks are blocked, wherever they are.
    pub block_asns: Vec<u32>,
}

impl Geo {
    /// Whether countries matter.
    #[must_use]
    pub fn has_countries(&self) -> bool {
        !self.block_countries.is_empty() || !self.allow_countries.is_empty()
    }

    /// The database with autonomous systems.
    #[must_use]
    pub fn asns(&self) -> Option<&PathBuf> {
        self.asn_database.as_ref().or(self.database.as_ref())
    }

    /// What is wrong with it.
    pub(super) fn check(&self, findings: &mut Findings) {
        for (key, path) in [
            ("geo.database", &self.database),
            ("geo.asn_database", &self.asn_database),
        ] {
            if let Some(path) = path
                && !path.is_file()
            {
                findings.add(
                    key,
                    format!("`{}` is not a file", path.display()),
                    "name a database in MaxMind's format (.mmdb), or leave the key out",
                );
            }
        }
        let needs = "name a database in MaxMind's format (.mmdb)";
        if self.has_countries() && self.database.is_none() {
            findings.add(
                "geo.database",
                "countries are named, and there is no database",
                needs,
            );
        }
        if !self.block_asns.is_empty() && self.asns().is_none() {
            findings.add(
                "geo.asn_database",
                "autonomous systems are named, and there is no database",
                needs,
            );
        }
        for (key, codes) in [
            ("geo.block_countries", &self.block_countries),
            ("geo.allow_countries", &self.allow_countries),
        ] {
            for (i, code) in codes.iter().enumerate() {
                if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    findings.add(
                        format!("{key}.{i}"),
                        format!("`{code}` is no country"),
                        "use codes of ISO 3166-1 in capitals, such as \"NL\"",
                    );
                }
            }
        }
        if let Some(i) = self
            .block_countries
            .iter()
            .position(|code| self.allow_countries.contains(code))
        {
            findings.add(
                format!("geo.block_countries.{i}"),
                format!("{} is also on geo.allow_countries", self.block_countries[i]),
                "keep it on one list",
            );
        }
    }
}
