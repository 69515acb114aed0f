//! How a command finds the configuration and the running engine.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use crate::{
    config::{Config, ConfigError, Origin, Override, environment},
    control::{Client, ClientError, Reloaded, Request, Response},
};

#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The configuration file [default: /etc/portcullis/portcullis.toml if it exists]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// The configuration's profile: dev, staging, production or one of its own [default: the configuration's]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) profile: Option<String>,

    /// The running engine's control socket [default: the configuration's]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

impl Connection {
    /// Connects to the running engine.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        let path = match &self.socket {
            Some(path) => path.clone(),
            None => self.load()?.engine.control_socket,
        };
        Ok(Client::connect(&path)?)
    }

    /// Asks the running engine one thing.
    pub(super) fn ask(&self, request: &Request) -> anyhow::Result<Response> {
        Ok(self.connect()?.ask(request)?)
    }

    /// Tells the running engine to do something, and prints what it did.
    pub(super) fn tell(&self, request: &Request, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.ask(request)? {
            response @ Response::Done { .. } if json => print_json(out, &response),
            response @ Response::Reloaded { .. } if json => print_json(out, &response),
            Response::Done { message } | Response::Reloaded(Reloaded { message, .. }) => {
                Ok(writeln!(out, "{message}")?)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The configuration, without anything that only `run` can set.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        self.origin(&[])?.config()
    }

    /// What the configuration is read from: the file, the environment over it, and over that `--profile` and `overrides`.
    pub(super) fn origin(&self, overrides: &[Override]) -> Result<Origin, ConfigError> {
        self.origin_of(self.config.as_deref(), overrides)
    }

    /// The same for another file; without one, the default.
    pub(super) fn origin_of(
        &self,
        file: Option<&Path>,
        overrides: &[Override],
    ) -> Result<Origin, ConfigError> {
        let mut all = environment(std::env::vars_os())?;
        if let Some(name) = &self.profile {
            all.push(Override::option(
                format!("--profile {name}"),
                "profile",
                name.as_str(),
            ));
        }
        all.extend_from_slice(overrides);
        Origin::read(file, &all)
    }
}

/// An answer to another question.
pub(super) fn unexpected(response: &Response) -> anyhow::Error {
    let message = format!("the engine answered something else: {response:.80?}");
    ClientError::Protocol {
        path: PathBuf::from("control socket"),
        message,
    }
    .into()
}

pub(super) fn print_json(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
