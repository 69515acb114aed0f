//! `portcullis report`

use std::{io::Write, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Connection, connection::unexpected};
use crate::{
    control::{Request, Response},
    report::Snapshot,
};

/// Report latencies: print percentiles, and write .hgrm files, JSON and a page with the plot.
#[derive(Debug, Args)]
#[command(after_help = "Stages:
  driver_to_dequeued   from the network driver until the engine has read the packet
  dequeued_to_verdict  from there until the packet's fate is decided
  driver_to_forwarded  from the network driver until the packet is handed on

Examples:
  sudo portcullis report --output /tmp/report
  sudo portcullis report --reset --json
  portcullis report --from /tmp/report/latency.json --output /tmp/again")]
pub(super) struct Report {
    /// Where to write [default: the configuration's report.directory]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Read a latency.json instead of asking the running engine
    #[arg(long, value_name = "FILE", conflicts_with = "reset")]
    from: Option<PathBuf>,

    /// Start new histograms in the engine after this report
    #[arg(long)]
    reset: bool,

    /// Print JSON; files are written only with --output
    #[arg(long)]
    json: bool,
}

impl Report {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let snapshot = match &self.from {
            Some(path) => Snapshot::read(path)?,
            None => self.ask(connection)?,
        };
        if self.json {
            write!(out, "{}", snapshot.to_json())?;
        } else {
            write!(out, "{}", snapshot.table())?;
        }
        let directory = match self.output {
            Some(directory) => directory,
            None if self.json => return Ok(()),
            None => connection.load()?.report.directory,
        };
        let files = snapshot.write(&directory).with_context(|| {
            format!(
                "cannot write to {}\n  fix: name another directory with --output",
                directory.display()
            )
        })?;
        if !self.json {
            writeln!(
                out,
                "\n{} files in {}; open latency.html for the plot",
                files.len(),
                directory.display()
            )?;
        }
        Ok(())
    }

    fn ask(&self, connection: &Connection) -> anyhow::Result<Snapshot> {
        let mut client = connection.connect()?;
        let status = match client.ask(&Request::Status {})? {
            Response::Status(status) => status,
            other => return Err(unexpected(&other)),
        };
        match client.ask(&Request::Latency { reset: self.reset })? {
            Response::Latency(latencies) => Ok(Snapshot::now(&status, latencies)),
            other => Err(unexpected(&other)),
        }
    }
}
