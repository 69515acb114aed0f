//! How a command finds the configuration and the running engine.

use std::{io::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    config::{Config, ConfigError},
    control::{Client, ClientError, Request, Response},
};

#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The configuration file [default: /etc/portcullis/portcullis.toml if it exists]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

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
            Response::Done { message } => Ok(writeln!(out, "{message}")?),
            other => Err(unexpected(&other)),
        }
    }

    /// The configuration, without anything that only `run` can set.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), &[])
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
