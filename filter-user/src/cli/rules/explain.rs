//! `portcullis rules explain`

use std::io::{self, Write};

use clap::Args;
use filter_score::{RuleDescription, RuleInfo};
use serde_json::json;

use super::{super::connection::print_json, Connection, Packs};

/// Say everything about one rule: what it looks for, where, at what cost, and how to exclude it
#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    /// The rule's id
    id: u32,

    #[command(flatten)]
    packs: Packs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let rules = self.packs.load(connection)?;
        let (Some(rule), Some(description)) = (rules.set.rule(self.id), rules.set.describe(self.id)) else {
            if rules.set.disabled().contains(&self.id) {
                anyhow::bail!(
                    "rule {} is switched off by an [[override]]\n  fix: remove the override to see it in force",
                    self.id
                );
            }
            anyhow::bail!(
                "there is no rule {}\n  fix: `portcullis rules list` shows the ids",
                self.id
            );
        };
        if self.json {
            let RuleInfo {
                id,
                message,
                severity,
                family,
                paranoia,
                tags,
            } = rule;
            let value = json!({
                "id": id, "message": message, "severity": severity, "family": family, "paranoia": paranoia,
                "tags": tags, "description": description,
            });
            return print_json(out, &value);
        }
        Ok(prose(out, rule, &description)?)
    }
}

fn prose(out: &mut dyn Write, rule: &RuleInfo, description: &RuleDescription) -> io::Result<()> {
    let RuleInfo {
        id,
        message,
        severity,
        family,
        paranoia,
        tags,
    } = rule;
    let severity_name = format!("{severity:?}").to_lowercase();
    writeln!(out, "Rule {id}: {message}")?;
    writeln!(
        out,
        "Severity {severity_name}, which adds {} to the anomaly sum; family {}; from paranoia level {paranoia} on.",
        severity.points(),
        family.name()
    )?;
    if !tags.is_empty() {
        writeln!(out, "Tags: {}.", tags.join(", "))?;
    }
    writeln!(out, "Written in {}.", description.place)?;
    writeln!(out, "\nIt looks for {}", description.test)?;
    writeln!(out, "in {},", description.targets.join(", "))?;
    match description.decodings.as_slice() {
        [] => writeln!(out, "as it was sent.")?,
        decodings => writeln!(
            out,
            "as it was sent and after each of these decodings that changes it: {}.",
            decodings.join(", ")
        )?,
    }
    if !description.conditions.is_empty() {
        writeln!(out, "\nIt hits only if")?;
        for condition in &description.conditions {
            writeln!(out, "  - {condition}")?;
        }
    }
    writeln!(out, "\nIt runs {}.", description.gate)?;
    if description.automaton_bytes > 0 {
        writeln!(
            out,
            "Its automaton has {} bytes and takes at most two steps a byte of such a field.",
            description.automaton_bytes
        )?;
    }
    for (title, samples) in [
        ("It finds", &description.matching),
        ("It leaves alone", &description.passing),
    ] {
        writeln!(out, "\n{title}")?;
        for sample in samples {
            writeln!(out, "  {}", printable(sample))?;
        }
    }
    writeln!(
        out,
        "\nTo exclude it somewhere, add to the configuration:\n\n  [[scoring.exclusions]]\n  reason = \"why\"\n  \
         rules = [{id}]\n  paths = [\"/where\"]      # leave out what should not matter\n  names = [\"parameter\"]\n\n\
         To switch it off everywhere, add to a pack in rules.folder:\n\n  [[override]]\n  id = {id}\n  enabled = false"
    )
}

/// Quotes as they are, control bytes escaped: one line for a person.
fn printable(sample: &str) -> String {
    let mut shown = String::with_capacity(sample.len());
    for character in sample.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
