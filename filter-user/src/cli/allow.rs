//! `portcullis allow`

use std::io::Write;

use clap::Args;
use ipnet::IpNet;

use super::{
    Connection,
    connection::{print_json, unexpected},
};
use crate::{
    config,
    control::{MAX_PAGE, Page, Request, Response},
};

/// Let a source pass uninspected, or list the sources that do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis allow 192.0.2.0/24
  sudo portcullis allow 192.0.2.0/24 --remove
  sudo portcullis allow                       # list them

What is allowed here outlives the engine, and a reboot, until it is taken off.")]
pub(super) struct Allow {
    /// The address or CIDR block; without one the list is printed
    #[arg(value_name = "ADDR|CIDR", value_parser = config::parse_cidr)]
    target: Option<IpNet>,

    /// Take it off the list
    #[arg(long, requires = "target")]
    remove: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Allow {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.target {
            Some(target) => connection.tell(
                &Request::Allow {
                    target,
                    remove: self.remove,
                },
                self.json,
                out,
            ),
            None => self.list(connection, out),
        }
    }

    fn list(&self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut client = connection.connect()?;
        let mut all: Vec<IpNet> = Vec::new();
        loop {
            let page = Page {
                after: all.last().copied(),
                limit: MAX_PAGE,
            };
            let targets = match client.ask(&Request::Allowed(page))? {
                Response::Allowed { targets } => targets,
                other => return Err(unexpected(&other)),
            };
            let last = targets.len() < MAX_PAGE as usize;
            all.extend(targets);
            if last {
                break;
            }
        }
        if self.json {
            return print_json(out, &all);
        }
        for target in &all {
            writeln!(out, "{}", config::short_cidr(target))?;
        }
        Ok(())
    }
}
