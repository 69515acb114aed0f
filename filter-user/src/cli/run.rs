//! `portcullis run`

use clap::Args;

use toml::Value;

use super::{Connection, Datapath};
use crate::config::{FailurePolicy, Forward, Level, Mode, Override, XdpMode};

/// Attach to interfaces and filter until stopped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis run --iface eth0
  sudo portcullis run --iface eth0 --iface eth1
  sudo portcullis run --iface eth0 --bridge eth1
  sudo portcullis run --config gateway.toml --replace
  sudo portcullis run --iface eth0 --mode detect --set 'service=[{port=8080}]'
  sudo portcullis run --config gateway.toml --set reputation.first_block_s=300

The keys of --set are those of the configuration; `portcullis config init` lists them.")]
pub(super) struct Run {
    /// The interface to filter; can be repeated
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    iface: Vec<String>,

    /// Take over from the engine that runs, without a gap: its queues, maps and flows
    #[arg(long)]
    replace: bool,

    /// Bridge to this interface, which the servers are behind, instead of giving packets back to the stack
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,

    /// Carry decisions out, or only count and log them
    #[arg(long)]
    mode: Option<Mode>,

    /// What becomes of packets that should be inspected and cannot be
    #[arg(long, value_name = "POLICY")]
    on_failure: Option<FailurePolicy>,

    /// How the XDP program attaches
    #[arg(long, value_name = "MODE")]
    xdp_mode: Option<XdpMode>,

    /// The least severe level to log
    #[arg(long, value_name = "LEVEL")]
    log: Option<Level>,

    /// Set any key of the configuration; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    overrides: Vec<Override>,
}

impl Run {
    pub(super) fn run(self, connection: &Connection, datapath: &impl Datapath) -> anyhow::Result<()> {
        let replace = self.replace;
        let origin = connection.origin(&self.into_overrides(connection))?;
        let config = origin.config()?;
        config.interfaces()?;
        datapath.run(config, origin, replace)
    }

    /// The options as keys of the configuration; they win over `--set`.
    fn into_overrides(self, connection: &Connection) -> Vec<Override> {
        let mut overrides = self.overrides;
        if !self.iface.is_empty() {
            let origin = format!("--iface {}", self.iface.join(","));
            let names = self.iface.into_iter().map(Value::String).collect();
            overrides.push(Override::option(origin, "engine.interface", Value::Array(names)));
        }
        let forward = self.bridge.as_ref().map(|_| Forward::Bridge.to_string());
        let socket = connection.socket.as_ref().map(|path| path.display().to_string());
        for (option, key, value) in [
            ("--bridge", "engine.server_interface", self.bridge),
            ("--bridge", "engine.forward", forward),
            ("--mode", "scoring.mode", self.mode.map(|mode| mode.to_string())),
            (
                "--on-failure",
                "engine.on_failure",
                self.on_failure.map(|policy| policy.to_string()),
            ),
            (
                "--xdp-mode",
                "engine.xdp_mode",
                self.xdp_mode.map(|mode| mode.to_string()),
            ),
            ("--log", "engine.log", self.log.map(|level| level.to_string())),
            ("--socket", "engine.control_socket", socket),
        ] {
            if let Some(value) = value {
                overrides.push(Override::option(format!("{option} {value}"), key, value));
            }
        }
        overrides
    }
}
