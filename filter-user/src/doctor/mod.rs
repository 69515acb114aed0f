//! Looks whether a host is fit for an engine: what is wrong, and the command that mends it.

mod directory;
mod engine;
mod facts;
mod host;
mod interface;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::config::Config;

pub use facts::Facts;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// An engine does not start, or filters nothing.
    Wrong,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    /// The interface, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            interface: None,
            verdict: Verdict::Ok,
            found: found.into(),
            fix: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            fix: Some(fix.into()),
            ..Self::ok(check, found)
        }
    }

    fn wrong(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Wrong,
            ..Self::warning(check, found, fix)
        }
    }

    fn of(self, interface: &str) -> Self {
        Self {
            interface: Some(interface.to_owned()),
            ..self
        }
    }
}

/// Judges facts by what the configuration takes.
#[must_use]
pub fn examine(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = host::examine(&facts.host, config);
    findings.extend(engine::examine(&facts.engine, config));
    let directories = facts.directories.iter();
    findings.extend(directories.map(|directory| directory::examine(directory, config)));
    for interface in &facts.interfaces {
        findings.extend(interface::examine(interface, &facts.host, config));
    }
    if facts.interfaces.is_empty() {
        findings.push(Finding::warning(
            "interface",
            "no interface is named, so none was looked at",
            "portcullis doctor --iface eth0",
        ));
    }
    findings
}
