//! `portcullis config`

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::{
    Connection,
    connection::{print_json, unexpected},
};
use crate::{
    config::{Config, INITIAL, Origin, Override, schema},
    control::{Request, Response},
    tuning::Tuned,
};

/// Write, check and show configurations.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis config init | sudo tee /etc/portcullis/portcullis.toml
  portcullis config check gateway.toml
  portcullis config show --set engine.interface=eth0
  portcullis config show --origin --profile staging
  portcullis config schema > portcullis.schema.json")]
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
        /// Say where each value is from: a line of the file, a profile, a variable, an option, or the default
        #[arg(long)]
        origin: bool,
        /// Ask the running engine for the configuration in force instead, reloads included
        #[arg(long, conflicts_with_all = ["overrides", "origin"])]
        running: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the form of a configuration file as JSON Schema, for editors
    Schema,
}

impl ConfigVerb {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Init => Ok(write!(out, "{INITIAL}")?),
            Self::Check { file } => {
                let file = file.as_deref().or(connection.config.as_deref());
                let origin = connection.origin_of(file, &[])?;
                let config = origin.check()?;
                let tuned = Tuned::load(&config, &origin, &config.services(), None)?;
                super::warn_of_model(&tuned.rules)?;
                let name = file.map_or("the configuration".to_owned(), |file| file.display().to_string());
                Ok(writeln!(out, "{name}: ok")?)
            }
            Self::Show {
                running: true, json, ..
            } => match connection.ask(&Request::Config {})? {
                Response::Config { config } if json => print_json(out, &config),
                Response::Config { config } => Ok(write!(out, "{}", config.to_toml())?),
                other => Err(unexpected(&other)),
            },
            Self::Show {
                overrides,
                origin: with_origin,
                json,
                ..
            } => {
                let origin = connection.origin(&overrides)?;
                let config = origin.config()?;
                match (with_origin, json) {
                    (false, true) => print_json(out, &config),
                    (false, false) => Ok(write!(out, "{}", config.to_toml())?),
                    (true, json) => show_origin(&origin, &config, json, out),
                }
            }
            Self::Schema => print_json(out, &schema()),
        }
    }
}

/// Each key with its value and where that is from.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: toml::Value,
    origin: String,
}

fn show_origin(origin: &Origin, config: &Config, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let keys = config.flat();
    let sources = origin.sources(keys.iter().map(|(key, _)| key.as_str()))?;
    let settings = keys
        .into_iter()
        .zip(sources)
        .map(|((key, value), source)| Setting {
            key,
            value,
            origin: source.to_string(),
        });
    if json {
        return print_json(out, &settings.collect::<Vec<_>>());
    }
    for Setting { key, value, origin } in settings {
        writeln!(out, "{key} = {value}  # {origin}")?;
    }
    Ok(())
}
