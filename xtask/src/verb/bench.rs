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
        if self.quick {
            arguments.push("--quick".into());
        }
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
        if self.quick {
            command.arg("--quick");
        }
        build::succeed(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}
