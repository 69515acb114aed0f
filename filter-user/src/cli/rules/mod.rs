//! `portcullis rules`

mod explain;
mod lint;
mod list;

use std::{io::Write, path::PathBuf};

use clap::{Args, Subcommand};

use super::Connection;
use crate::rules;

/// List, check and explain rules.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis rules list --family sqli --paranoia 1
  portcullis rules explain 100110
  portcullis rules lint --patch my-rules/
  portcullis rules test my-rules/sqli.toml")]
pub(super) enum Rules {
    List(list::List),
    Explain(explain::Explain),
    Lint(lint::Lint),
    /// Run rules against their own samples
    Test(Packs),
}

/// Which rules are meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct Packs {
    /// A rule pack or a directory of them [default: the configuration's]
    path: Option<PathBuf>,

    /// Take PATH together with the configuration's rules, as `rules.folder` does
    #[arg(long, requires = "path")]
    patch: bool,
}

impl Packs {
    fn load(&self, connection: &Connection) -> anyhow::Result<rules::Rules> {
        if let (Some(path), false) = (&self.path, self.patch) {
            return Ok(rules::Rules::load_path(path)?);
        }
        let config = connection.load()?;
        let folder = self.path.as_deref().or(config.rules.folder.as_deref());
        Ok(rules::Rules::load(&config.scoring.rules, folder)?)
    }
}

impl Rules {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(connection, out),
            Self::Explain(verb) => verb.run(connection, out),
            Self::Lint(verb) => verb.run(connection, out),
            Self::Test(packs) => {
                let rules = packs.load(connection)?;
                rules.test()?;
                Ok(writeln!(
                    out,
                    "{} rules agree with their samples",
                    rules.set.rules().len()
                )?)
            }
        }
    }
}
