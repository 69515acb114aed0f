//! `cargo xtask lab`: the namespaces alone.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};

use crate::lab::{self, Lab, Nginx, Offload, Options, address, lifetime, topology};
use crate::privilege;

/// The name of the lab that people use when they give none.
pub const DEFAULT_NAME: &str = "portcullis";

/// Network namespaces client – gateway – server, with nginx in the server.
#[derive(Args, Debug)]
pub struct LabVerb {
    /// The lab's name; labs of different names do not meet.
    #[arg(long, global = true, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start the lab and leave it running.
    Up(Links),
    /// Remove the lab, and what killed processes left of others.
    Down,
    /// Say whether the lab is up, and what is where.
    Status,
    /// Open a shell in a namespace.
    Shell {
        /// The namespace.
        #[arg(value_enum, default_value_t = Role::Client)]
        role: Role,
    },
    /// Run a command in a namespace: `lab exec client -- curl http://10.72.0.2/`.
    Exec {
        /// The namespace.
        #[arg(value_enum)]
        role: Role,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

/// A namespace of the lab.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Client,
    Gateway,
    Server,
}

impl Role {
    fn of(self, lab: &Lab) -> &lab::Namespace {
        match self {
            Self::Client => lab.client(),
            Self::Gateway => lab.gateway(),
            Self::Server => lab.server(),
        }
    }
}

/// How the lab's links are made.
#[derive(Args, Debug, Default)]
pub struct Links {
    /// RX and TX queues of the client's link.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(topology::MAX_QUEUES)))]
    pub queues: u32,
    /// Let all ends complete their checksums in software (`ethtool -K … tx off`).
    #[arg(long)]
    pub no_offload: bool,
}

impl Links {
    /// The lab's options for these flags.
    #[must_use]
    pub fn options(&self) -> Options {
        let offload = if self.no_offload {
            Offload::Off
        } else {
            Offload::On
        };
        Options {
            queues: self.queues,
            client_offload: offload,
            server_offload: offload,
            gateway_offload: offload,
            ..Options::default()
        }
    }
}

impl LabVerb {
    /// Runs the verb.
    ///
    /// # Errors
    /// If the lab cannot be built, or is not up when it should be.
    pub fn run(&self) -> Result<ExitCode> {
        if let Action::Status = self.action {
            return Ok(status(&self.name));
        }
        privilege::become_root(&env::args_os().skip(1).collect::<Vec<_>>())?;
        match &self.action {
            Action::Up(links) => up(&self.name, links),
            Action::Down => {
                Lab::remove_named(&self.name)?;
                let swept = lab::sweep();
                eprintln!(
                    "the lab `{}` is down; stale labs of other processes removed: {swept}",
                    self.name
                );
                Ok(ExitCode::SUCCESS)
            }
            Action::Status => Ok(status(&self.name)),
            Action::Shell { role } => {
                let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
                let lab = Lab::existing(&self.name)?;
                eprintln!("in {}; leave with `exit`", role.of(&lab).name());
                replace(role.of(&lab), &[shell])
            }
            Action::Exec { role, command } => replace(role.of(&Lab::existing(&self.name)?), command),
        }
    }
}

fn up(name: &str, links: &Links) -> Result<ExitCode> {
    let _lock = lifetime::lock_name(name)?;
    let mut lab = Lab::start_named(name, &links.options())?;
    let mut nginx = Nginx::start(&lab)?;
    nginx.leave_running();
    lab.keep();
    Ok(status(name))
}

fn status(name: &str) -> ExitCode {
    if !Lab::is_up(name) {
        println!("the lab `{name}` is down");
        return ExitCode::FAILURE;
    }
    println!(
        "the lab `{name}` is up; its files are in {}",
        lifetime::directory(name).display()
    );
    println!(
        "  client   {name}-client   eth0     {} {}",
        address::CLIENT_V4,
        address::CLIENT_V6
    );
    println!(
        "  gateway  {name}-gateway  outside  {} {}",
        address::OUTSIDE_V4,
        address::OUTSIDE_V6
    );
    println!(
        "                           inside   {} {}",
        address::INSIDE_V4,
        address::INSIDE_V6
    );
    println!(
        "  server   {name}-server   eth0     {} {}",
        address::SERVER_V4,
        address::SERVER_V6
    );
    println!(
        "try: cargo xtask lab exec client -- curl -s http://{}/",
        address::SERVER_V4
    );
    ExitCode::SUCCESS
}

/// Replaces this process by a command in a namespace.
fn replace(namespace: &lab::Namespace, command: &[OsString]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let error = namespace.command(program).args(arguments).exec();
    Err(error).with_context(|| format!("running {} in {}", program.display(), namespace.name()))
}
