//! `cargo xtask bench`: the benchmarks, each beside what it is compared with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::build::{self, Build};
use crate::{privilege, workspace};

/// Build the engine optimised and run the benchmarks in the lab. Results go to target/bench/*.json and to the
/// terminal. Candidates alternate within one run; nothing fails because it is slow.
#[derive(Args, Debug)]
pub struct Bench {
    /// Which benchmarks (score, http, flood, listeners); all without a name.
    names: Vec<OsString>,
    /// Short rounds: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Without the engine's cache of clean requests: wrk sends one request over and over.
    #[arg(long)]
    no_cache: bool,
    /// Folder with recorded requests for `score`.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Look for inputs that cost the scoring engine most, for so many seconds, and keep them in benches/worst.
    #[arg(long, value_name = "SECONDS")]
    search: Option<u64>,
}

impl Bench {
    /// Runs the verb.
    ///
    /// # Errors
    /// If something cannot be built, or a benchmark gets wrong results.
    pub fn run(&self) -> Result<ExitCode> {
        let mut flags = self.flags();
        // The scoring engine alone needs neither the lab nor the program.
        let others = self.names.is_empty() || self.names.iter().any(|name| name != "score");
        if self.search.is_none() && others {
            let engine = Build::default().build()?;
            let arguments = [OsString::from("bench")]
                .into_iter()
                .chain(self.names.iter().cloned());
            privilege::become_root(&arguments.chain(flags.iter().cloned()).collect::<Vec<_>>())?;
            flags.extend(["--engine".into(), engine.into()]);
        }
        flags.extend(["--output".into(), workspace::target().join("bench").into()]);
        let mut command = workspace::cargo_command();
        command
            .args(["run", "--quiet", "--release", "--package", "benches", "--"])
            .args(&self.names)
            .args(flags);
        build::succeed(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }

    fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = vec!["--data".into(), self.data.clone().into()];
        for (on, flag) in [(self.quick, "--quick"), (self.no_cache, "--no-cache")] {
            if on {
                flags.push(flag.into());
            }
        }
        if let Some(seconds) = self.search {
            flags.extend(["--search".into(), seconds.to_string().into()]);
        }
        flags
    }
}
