//! `portcullis reload`

use std::io::Write;

use clap::Args;

use super::Connection;
use crate::control::Request;

/// Make the running engine read its rules and `scoring` settings again; if they are wrong, those in force stay.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        connection.tell(&Request::Reload {}, self.json, out)
    }
}
