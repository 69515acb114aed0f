//! `portcullis block` and `portcullis unblock`

use std::io::Write;

use clap::Args;
use ipnet::IpNet;

use super::{Connection, duration};
use crate::{config, control::Request};

/// Block a source: its packets are dropped in the network driver.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis block 192.0.2.7 --for 10m --reason \"login abuse\"
  sudo portcullis block 2001:db8:1::/48

Addresses on the never-block list (this host's own, its gateways', the management client's, and
lists.never_block) are refused.")]
pub(super) struct Block {
    /// The address or CIDR block
    #[arg(value_name = "ADDR|CIDR", value_parser = config::parse_cidr)]
    target: IpNet,

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
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let request = Request::Block {
            target: self.target,
            for_s: self.seconds,
            reason: self.reason,
        };
        connection.tell(&request, self.json, out)
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
