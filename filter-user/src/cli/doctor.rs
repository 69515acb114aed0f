//! `portcullis doctor`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use super::{Connection, connection::print_json};
use crate::{
    config::Interfaces,
    doctor::{Facts, Finding, Verdict, examine},
};

/// Check whether this host is fit for an engine, and print what mends it.
#[derive(Debug, Args)]
#[command(
    after_help = "Looks at the kernel, at what this process may, at the configured user and the directories that it writes in, at what
dead engines have left, and at the interfaces: driver, offloads, other programs, queues, reverse-path filter. It changes nothing. The exit code is 0 if
nothing is wrong; warnings do not count.

Examples:
  sudo portcullis doctor --iface eth0
  sudo portcullis doctor --json"
)]
pub(super) struct Doctor {
    /// An interface to look at; can be repeated [default: those of the configuration]
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    iface: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let mut config = connection.load()?;
        if let Some(socket) = &connection.socket {
            config.engine.control_socket.clone_from(socket);
        }
        let mut names = self.iface;
        if names.is_empty() {
            let configured = config.engine.interface.iter().flat_map(Interfaces::names);
            names = configured
                .cloned()
                .chain(config.engine.server_interface.clone())
                .collect();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let facts = runtime.block_on(Facts::gather(&config, &names));
        let findings = examine(&facts, &config);
        if self.json {
            print_json(out, &findings)?;
        } else {
            print(&findings, out)?;
        }
        let is_wrong = findings.iter().any(|finding| finding.verdict == Verdict::Wrong);
        Ok(if is_wrong {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "WRONG",
        };
        let subject = match &finding.interface {
            Some(interface) => format!("{} {interface}", finding.check),
            None => finding.check.to_owned(),
        };
        writeln!(out, "{verdict:<8} {subject:<18} {}", finding.found)?;
        if let Some(fix) = &finding.fix {
            writeln!(out, "{:<8} {:<18} fix: {fix}", "", "")?;
        }
    }
    Ok(())
}
