//! `cargo xtask bench`: the benchmarks, each beside what it is compared with.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::build::{self, Build};
use crate::{privilege, workspace};

/// Build the engine optimised and run the benchmarks in the lab. Results go to target/bench/*.json and to the
/// terminal. Candidates alternate within one run; nothing fails because it is slow.
#[derive(Args, Debug)]
pub struct Bench {
    /// Which benchmarks (http); all without a name.
    names: Vec<OsString>,
    /// Short rounds: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Without the engine's cache of clean requests: wrk sends one request over and over.
    #[arg(long)]
    no_cache: bool,
}

impl Bench {
    /// Runs the verb.
    ///
    /// # Errors
    /// If something cannot be built, or a benchmark gets wrong results.
    pub fn run(&self) -> Result<ExitCode> {
        let engine = Build::default().build()?;
        let mut arguments = vec![OsString::from("bench")];
        arguments.extend(self.names.iter().cloned());
        arguments.extend(self.flags());
        privilege::become_root(&arguments)?;
        let mut command = workspace::cargo_command();
        command
            .args(["run", "--quiet", "--package", "benches", "--"])
            .args(&self.names);
        command
            .arg("--engine")
            .arg(engine)
            .arg("--output")
            .arg(workspace::target().join("bench"));
        command.args(self.flags());
        build::succeed(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }

    fn flags(&self) -> impl Iterator<Item = OsString> {
        let flags = [(self.quick, "--quick"), (self.no_cache, "--no-cache")];
        flags
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, flag)| flag.into())
    }
}
