//! `portcullis reload` and `portcullis confirm`

use std::io::Write;

use clap::Args;

use super::{Connection, duration};
use crate::control::{Request, TRIAL_S};

/// Make the running engine read its rules and settings again; if they are wrong, those in force stay.
///
/// It says which keys have changed, from what to what, and which of them take effect only when the engine starts again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis reload --dry-run
  sudo portcullis reload
  sudo portcullis reload --confirm-within 2m && curl https://… && sudo portcullis confirm

A reload on trial is taken back by itself if nobody confirms it, for example because the new rules lock you out:
what was in force before comes back, and blocks by reputation since then are lifted. The files stay as they
are, and the next reload or start takes them in.")]
pub(super) struct Reload {
    /// Take it back after this time, like 90s or 2m (5s to 1h), unless `portcullis confirm` comes before
    #[arg(long, value_name = "TIME", value_parser = parse_trial)]
    confirm_within: Option<u64>,

    /// Take back the reload that is on trial, at once
    #[arg(long, conflicts_with = "confirm_within")]
    revert: bool,

    /// Only say what is wrong, or what would change
    #[arg(long, conflicts_with_all = ["confirm_within", "revert"])]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let request = if self.revert {
            Request::Revert {}
        } else {
            Request::Reload {
                confirm_within_s: self.confirm_within,
                dry_run: self.dry_run,
            }
        };
        connection.tell(&request, self.json, out)
    }
}

/// Keep the reload that is on trial.
#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Confirm {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        connection.tell(&Request::Confirm {}, self.json, out)
    }
}

fn parse_trial(text: &str) -> Result<u64, String> {
    let seconds = duration::parse_seconds(text)?;
    if TRIAL_S.contains(&seconds) {
        Ok(seconds)
    } else {
        Err("it must be between 5s and 1h".to_owned())
    }
}
