//! `portcullis log`

use std::io::Write;

use clap::Args;

use super::Connection;
use crate::{config::Level, control::Request};

/// Change what a running engine logs, until it stops.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis log --engine debug
  sudo portcullis log --ebpf off")]
pub(super) struct Log {
    /// The least severe level of the engine
    #[arg(long, value_name = "LEVEL", required_unless_present = "ebpf")]
    engine: Option<Level>,

    /// The least severe level of the XDP program
    #[arg(long, value_name = "LEVEL")]
    ebpf: Option<Level>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        connection.tell(
            &Request::LogLevel {
                engine: self.engine,
                ebpf: self.ebpf,
            },
            self.json,
            out,
        )
    }
}
