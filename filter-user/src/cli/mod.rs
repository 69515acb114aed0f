//! The command line: one file a verb.

mod allow;
mod audit;
mod block;
mod blocklist;
mod blocks;
mod check;
mod cleanup;
mod completions;
mod config;
mod connection;
mod datapath;
mod doctor;
mod duration;
mod events;
mod exit;
mod feeds;
mod http;
mod log;
mod man;
mod plain;
mod queues;
mod reload;
mod report;
mod rules;
mod run;
mod scan;
mod status;
#[cfg(test)]
mod tests;
mod top;
mod train;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use connection::Connection;
pub use datapath::Datapath;

use crate::{journal, processor};

/// Filters HTTP attacks in front of this host or network: in the network driver where an address or flow
/// is known, in user space where a request has to be read.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Status(status::Status),
    Top(top::Top),
    Block(block::Block),
    Unblock(block::Unblock),
    Allow(allow::Allow),
    Blocks(blocks::Blocks),
    Feeds(feeds::Feeds),
    Reload(reload::Reload),
    Queues(queues::Queues),
    Confirm(reload::Confirm),
    Log(log::Log),
    Events(events::Events),
    Audit(audit::Audit),
    Explain(audit::Explain),
    Report(report::Report),
    Scan(scan::Scan),
    Check(check::Check),
    Train(train::Train),
    #[command(subcommand)]
    Rules(rules::Rules),
    #[command(subcommand)]
    Config(config::ConfigVerb),
    Doctor(doctor::Doctor),
    Cleanup(cleanup::Cleanup),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command line of this process.
pub fn main(datapath: &impl Datapath) -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = processor::check()
        .and_then(|()| cli.run(datapath, &mut out))
        .and_then(|code| Ok(out.flush().map(|()| code)?));
    match done {
        Ok(code) => code,
        // The reader has seen enough (`portcullis blocks | head`).
        Err(error) if exit::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes are in the messages of our own errors already.
            let mut message = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !message.contains(&cause) {
                    message = format!("{message}: {cause}");
                }
            }
            message.insert_str(0, "error: ");
            if journal::has_standard_error() {
                message = journal::error(&message);
            }
            let _ = writeln!(io::stderr(), "{message}");
            exit::code_of(&error)
        }
    }
}

impl Cli {
    fn run(self, datapath: &impl Datapath, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let connection = &self.connection;
        match self.verb {
            Verb::Run(verb) => verb.run(connection, datapath)?,
            Verb::Status(verb) => verb.run(connection, out)?,
            Verb::Top(verb) => verb.run(connection, out)?,
            Verb::Block(verb) => return verb.run(connection, out),
            Verb::Unblock(verb) => verb.run(connection, out)?,
            Verb::Allow(verb) => verb.run(connection, out)?,
            Verb::Blocks(verb) => verb.run(connection, out)?,
            Verb::Feeds(verb) => verb.run(connection, out)?,
            Verb::Reload(verb) => verb.run(connection, out)?,
            Verb::Queues(verb) => verb.run(connection, out)?,
            Verb::Confirm(verb) => verb.run(connection, out)?,
            Verb::Log(verb) => verb.run(connection, out)?,
            Verb::Events(verb) => verb.run(connection, out)?,
            Verb::Audit(verb) => verb.run(connection, out)?,
            Verb::Explain(verb) => verb.run(connection, out)?,
            Verb::Report(verb) => verb.run(connection, out)?,
            Verb::Scan(verb) => return verb.run(connection, datapath, out),
            Verb::Check(verb) => verb.run(connection, out)?,
            Verb::Train(verb) => verb.run(connection, out)?,
            Verb::Rules(verb) => verb.run(connection, out)?,
            Verb::Config(verb) => verb.run(connection, out)?,
            Verb::Doctor(verb) => return verb.run(connection, out),
            Verb::Cleanup(verb) => verb.run(connection, out)?,
            Verb::Completions(verb) => verb.run(out),
            Verb::Man(verb) => verb.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells whoever has called that the configured model is not in force.
fn warn_of_model(rules: &crate::rules::Rules) -> io::Result<()> {
    match rules.model_warning() {
        Some(warning) => writeln!(io::stderr(), "warning: {warning}"),
        None => Ok(()),
    }
}
