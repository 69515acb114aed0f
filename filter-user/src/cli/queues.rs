//! `portcullis queues`

use std::io::Write;

use clap::Args;

use super::Connection;
use crate::control::Request;

/// Give the interface another number of queues while the engine runs; of several, each.
#[derive(Debug, Args)]
#[command(
    after_help = "The engine lets go of the queues, as drivers change their number only then, sets it, as
`ethtool -L NAME combined COUNT` would, and reads all of them; its flows go on. Packets for inspected
services that come in these milliseconds are dropped, and TCP sends them again.

Examples:
  sudo portcullis queues 4"
)]
pub(super) struct Queues {
    /// How many
    count: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Queues {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        connection.tell(&Request::Queues { count: self.count }, self.json, out)
    }
}
