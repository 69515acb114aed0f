//! `portcullis rules`

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::{Connection, connection::print_json};
use crate::rules::{self, RulesError};

/// List and check rules.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis rules list --json
  portcullis rules lint my-rules/
  portcullis rules test my-rules/sqli.toml")]
pub(super) enum Rules {
    /// Print the rules in force, one a line
    List {
        /// A rule pack or a directory of them [default: the configuration's]
        path: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run rules against their own samples
    Test {
        /// A rule pack or a directory of them [default: the configuration's]
        path: Option<PathBuf>,
    },
    /// Compile rules; every mistake is named with its line
    Lint {
        /// A rule pack or a directory of them [default: the configuration's]
        path: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Row<'a> {
    id: u32,
    severity: filter_score::Severity,
    family: filter_score::Family,
    paranoia: u8,
    message: &'a str,
    tags: &'a [String],
}

impl Rules {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::List { path, json } => {
                let rules = load(connection, path)?;
                let rows: Vec<_> = rules
                    .set
                    .rules()
                    .map(|rule| Row {
                        id: rule.id,
                        severity: rule.severity,
                        family: rule.family,
                        paranoia: rule.paranoia,
                        message: &rule.message,
                        tags: &rule.tags,
                    })
                    .collect();
                if json {
                    return print_json(out, &rows);
                }
                for Row {
                    id,
                    severity,
                    family,
                    paranoia,
                    message,
                    ..
                } in rows
                {
                    let severity = format!("{severity:?}").to_lowercase();
                    writeln!(
                        out,
                        "{id:>8}  {severity:<8}  {:<10}  {paranoia}  {message}",
                        family.name()
                    )?;
                }
                Ok(())
            }
            Self::Test { path } => {
                let rules = load(connection, path)?;
                rules.test()?;
                Ok(writeln!(
                    out,
                    "{} rules agree with their samples",
                    rules.set.rules().len()
                )?)
            }
            Self::Lint { path } => {
                let rules = load(connection, path)?;
                Ok(writeln!(
                    out,
                    "{} rules, no mistakes; version {}",
                    rules.set.rules().len(),
                    rules.version
                )?)
            }
        }
    }
}

fn load(connection: &Connection, path: Option<PathBuf>) -> anyhow::Result<rules::Rules> {
    let loaded: Result<_, RulesError> = match path {
        Some(path) => rules::Rules::load_path(&path),
        None => rules::Rules::load(&connection.load()?.scoring.rules),
    };
    Ok(loaded?)
}
