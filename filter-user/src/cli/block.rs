//! `portcullis block` and `portcullis unblock`

use std::{io::Write, process::ExitCode};

use clap::Args;
use ipnet::IpNet;

use super::{
    Connection,
    blocklist::{self, Loader},
    connection::print_json,
    duration,
};
use crate::{config, control::Request};

/// Block sources: their packets are dropped in the network driver.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis block 192.0.2.7 --for 10m --reason \"login abuse\"
  sudo portcullis block 2001:db8:1::/48
  sudo portcullis block --file list.txt --for 1d

A file has one address or CIDR block a line; what follows # or ; is a comment. A line that is none is
reported, and the rest is blocked; the exit code is 7 then. Single sources have room in
limits.max_blocks, other CIDR blocks of either family in limits.max_list_entries.

To try a block, let it end by itself (--for 60s), and give it again without an end to keep it.

Addresses on the never-block list (this host's own, its gateways', the management client's, and
lists.never_block) are refused.")]
pub(super) struct Block {
    /// The address or CIDR block
    #[arg(value_name = "ADDR|CIDR", value_parser = config::parse_cidr, required_unless_present = "file")]
    target: Option<IpNet>,

    /// A file of them; `-` is standard input
    #[arg(long, value_name = "LIST", conflicts_with = "target")]
    file: Option<String>,

    /// How long, like 90s, 10m, 2h or 7d [default: until it is unblocked]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse_seconds)]
    seconds: Option<u64>,

    /// Why, for those who list it later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Block {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        if let Some(target) = self.target {
            let request = Request::Block {
                target,
                for_s: self.seconds,
                reason: self.reason,
            };
            connection.tell(&request, self.json, out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.file.as_deref().unwrap_or("-");
        let list = blocklist::open(name)?;
        let mut loader = Loader {
            client: connection.connect()?,
            name,
            for_s: self.seconds,
            reason: &self.reason,
        };
        let mut outcome = loader.load(list)?;
        if self.json {
            print_json(out, &outcome)?;
        } else if outcome.end.is_none() {
            writeln!(
                out,
                "{} blocked, {} refused, {} lines not readable, in {:.1} s",
                outcome.blocked, outcome.refused, outcome.unreadable, outcome.seconds
            )?;
        }
        blocklist::ensure_complete(&mut outcome)?;
        Ok(outcome.exit_code())
    }
}

/// End a block and forget the source's offences.
#[derive(Debug, Args)]
pub(super) struct Unblock {
    /// The address or CIDR block, as `portcullis blocks` lists it
    #[arg(value_name = "ADDR|CIDR", value_parser = config::parse_cidr)]
    target: IpNet,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Unblock {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        connection.tell(&Request::Unblock { target: self.target }, self.json, out)
    }
}
