//! `portcullis config`

use std::{io::Write, path::PathBuf};

use clap::Subcommand;

use super::{Connection, connection::print_json};
use crate::{
    config::{Config, INITIAL, Origin, Override},
    tuning::Tuned,
};

/// Write, check and show configurations.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis config init | sudo tee /etc/portcullis/portcullis.toml
  portcullis config check gateway.toml
  portcullis config show --set engine.interface=eth0")]
pub(super) enum ConfigVerb {
    /// Print a commented configuration with every key at its default
    Init,
    /// Check a configuration; every mistake is named with its line
    Check {
        /// The file [default: the one `run` would read]
        file: Option<PathBuf>,
    },
    /// Print the configuration that `run` would use, defaults and all
    Show {
        /// Set any key; can be repeated
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
        overrides: Vec<Override>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl ConfigVerb {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Init => Ok(write!(out, "{INITIAL}")?),
            Self::Check { file } => {
                let file = file.as_deref().or(connection.config.as_deref());
                let origin = Origin::read(file, &[])?;
                let config = origin.config()?;
                let tuned = Tuned::load(&config, &origin, &config.services(), None)?;
                super::warn_of_model(&tuned.rules)?;
                let name = file.map_or("the configuration".to_owned(), |file| file.display().to_string());
                Ok(writeln!(out, "{name}: ok")?)
            }
            Self::Show { overrides, json } => {
                let config = Config::load(connection.config.as_deref(), &overrides)?;
                if json {
                    print_json(out, &config)
                } else {
                    Ok(write!(out, "{}", config.to_toml())?)
                }
            }
        }
    }
}
