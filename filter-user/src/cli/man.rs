//! `portcullis man`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory};

use super::Cli;

/// Write the manual pages, one for each command.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sudo portcullis man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The directory to write to, which has to be there
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<()> {
        clap_mangen::generate_to(Cli::command(), &self.directory)
            .with_context(|| format!("cannot write manual pages to {}", self.directory.display()))
    }
}
