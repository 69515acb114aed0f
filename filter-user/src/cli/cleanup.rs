//! `portcullis cleanup`

use std::io::Write;

use clap::Args;

use super::Connection;
use crate::cleanup::clean_up;

/// Remove what a killed engine has left: programs, blocks, devices, switched-off offloads.
#[derive(Debug, Args)]
#[command(
    after_help = "What a killed engine leaves is meant to stay: blocks hold, and the next engine takes over. This is for
hosts that shall have no engine any more. It refuses while one runs.

Examples:
  sudo portcullis cleanup"
)]
pub(super) struct Cleanup {}

impl Cleanup {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self {} = self;
        let mut config = connection.load()?;
        if let Some(socket) = &connection.socket {
            config.engine.control_socket.clone_from(socket);
        }
        let done = clean_up(&config)?;
        for line in &done {
            writeln!(out, "{line}")?;
        }
        if done.is_empty() {
            writeln!(out, "nothing was left")?;
        }
        Ok(())
    }
}
