//! `portcullis blocks`

use std::io::Write;

use clap::Args;

use super::{Connection, connection::unexpected, duration, plain::plain};
use crate::{
    config,
    control::{BlockEntry, MAX_PAGE, Page, Request, Response},
};

/// List what is blocked.
#[derive(Debug, Args)]
pub(super) struct Blocks {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Blocks {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut client = connection.connect()?;
        if !self.json {
            writeln!(
                out,
                "{:<43} {:<10} {:>9} {:>12}  REASON",
                "SOURCE", "BY", "ENDS IN", "PACKETS"
            )?;
        }
        let mut after = None;
        loop {
            let blocks = match client.ask(&Request::Blocks(Page {
                after,
                limit: MAX_PAGE,
            }))? {
                Response::Blocks { blocks } => blocks,
                other => return Err(unexpected(&other)),
            };
            for block in &blocks {
                self.print(block, out)?;
            }
            if blocks.len() < MAX_PAGE as usize {
                return Ok(());
            }
            after = blocks.last().map(|block| block.target);
        }
    }

    fn print(&self, block: &BlockEntry, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, block)?;
            return Ok(writeln!(out)?);
        }
        let ends = block
            .remaining_s
            .map_or("never".to_owned(), duration::show_seconds);
        // Free text.
        let reason = plain(&block.reason);
        let source = config::short_cidr(&block.target);
        Ok(writeln!(
            out,
            "{source:<43} {:<10} {ends:>9} {:>12}  {reason}",
            block.origin, block.packets
        )?)
    }
}
