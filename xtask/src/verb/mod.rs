//! The verbs of `cargo xtask`, one file each.

pub mod bench;
pub mod build;
pub mod clippy;
pub mod fuzz;
pub mod lab;
pub mod package;
pub mod run;
pub mod setup;
pub mod test;
pub mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set-up, builds, the lab and the tests of Portcullis.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Setup(setup::Setup),
    Build(build::Build),
    Run(run::Run),
    Test(test::Test),
    Clippy(clippy::Clippy),
    Lab(lab::LabVerb),
    Bench(bench::Bench),
    Train(train::Train),
    Fuzz(fuzz::Fuzz),
    Package(package::Package),
}

impl Cli {
    /// Runs the verb that was asked for.
    ///
    /// # Errors
    /// Whatever stopped it, ready to be shown to a person.
    pub fn run(self) -> Result<ExitCode> {
        match self.verb {
            Verb::Setup(verb) => verb.run(),
            Verb::Build(verb) => verb.run(),
            Verb::Run(verb) => verb.run(),
            Verb::Test(verb) => verb.run(),
            Verb::Clippy(verb) => verb.run(),
            Verb::Lab(verb) => verb.run(),
            Verb::Bench(verb) => verb.run(),
            Verb::Train(verb) => verb.run(),
            Verb::Fuzz(verb) => verb.run(),
            Verb::Package(verb) => verb.run(),
        }
    }
}
