//! `portcullis rules lint`

use std::io::Write;

use clap::Args;
use filter_score::PackError;

use super::{Connection, Packs};
use crate::rules::RulesError;

/// Compile rules and look for what is odd about them; every mistake is named with its line
///
/// Odd are literals that are of no use, large automata, rules that can never hit and samples given twice. Mistakes end with
/// exit code 6, oddities only with --strict.
#[derive(Debug, Args)]
pub(in crate::cli) struct Lint {
    #[command(flatten)]
    packs: Packs,

    /// Take oddities for mistakes
    #[arg(long)]
    strict: bool,
}

impl Lint {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let rules = self.packs.load(connection)?;
        let oddities = rules.set.lint();
        if self.strict && !oddities.is_empty() {
            return Err(RulesError::Packs(oddities).into());
        }
        for PackError {
            file,
            line,
            column,
            message,
            remedy,
        } in &oddities
        {
            writeln!(out, "{file}:{line}:{column}: {message}\n  fix: {remedy}")?;
        }
        let odd = match oddities.len() {
            0 => String::new(),
            count => format!(", {count} oddities"),
        };
        Ok(writeln!(
            out,
            "{} rules, no mistakes{odd}; version {}",
            rules.set.rules().len(),
            rules.version
        )?)
    }
}
