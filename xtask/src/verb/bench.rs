//! `cargo xtask bench`: the benchmarks, each beside what it is compared with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::build::{self, Build};
use crate::peers::{self, Peer};
use crate::{privilege, recorded, workspace};

/// What `score` scores.
const RECORDED: &str = "benign_requests_valid.jsonl.gz";

/// The benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Xdp,
    Ring,
    Score,
    Http,
    Peers,
    Flood,
    Listeners,
    Scale,
    Memory,
}

/// Build the engine optimised and run the benchmarks. Results go to target/bench (a page, and JSON) and to the terminal.
/// Candidates alternate within one run; nothing fails because it is slow. What is compared with is installed from Debian's
/// packages; what cannot be had is said, and left out.
#[derive(Args, Debug)]
pub struct Bench {
    /// Which benchmarks; all without a name.
    names: Vec<Name>,
    /// Short rounds: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Without the engine's cache of clean requests: wrk sends one request over and over.
    #[arg(long)]
    no_cache: bool,
    /// Folder with recorded requests for `score` [default: that of `PORTCULLIS_DATA`, else ../shared/data]. Without any,
    /// requests are made up.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder with the results of an earlier run (its *.json) to compare with.
    #[arg(long, value_name = "FOLDER")]
    baseline: Option<PathBuf>,
    /// How long the soak of `memory` takes; 10 minutes, and 20 seconds with --quick.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
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
        let names: Vec<OsString> = self.chosen().map(|name| name_of(name).into()).collect();
        let mut flags = self.flags()?;
        let engine = Build::default().build()?;
        // The scoring engine alone needs no privilege.
        if self.search.is_none() && self.chosen().any(|name| name != Name::Score) {
            let arguments: Vec<OsString> = [OsString::from("bench")]
                .into_iter()
                .chain(names.iter().chain(&flags).cloned())
                .collect();
            privilege::become_root(&arguments)?;
        }
        if self.search.is_none() {
            self.install_peers();
        }
        flags.extend(["--engine".into(), engine.into()]);
        flags.extend(["--output".into(), workspace::target().join("bench").into()]);
        // It takes minutes the first time, and says how far it is.
        let mut build = workspace::cargo_command();
        build::succeed(build.args(["build", "--release", "--package", "benches"]))?;
        let mut command = workspace::cargo_command();
        command
            .args(["run", "--quiet", "--release", "--package", "benches", "--"])
            .args(names)
            .args(flags);
        build::succeed(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }

    fn chosen(&self) -> impl Iterator<Item = Name> {
        let names = if self.names.is_empty() {
            Name::value_variants()
        } else {
            &self.names
        };
        names.iter().copied()
    }

    fn flags(&self) -> Result<Vec<OsString>> {
        let mut flags: Vec<OsString> = Vec::new();
        let scores = self.chosen().any(|name| name == Name::Score);
        if let Some(folder) = recorded::folder(self.data.as_deref())
            && scores
        {
            flags.extend(["--data".into(), recorded::with(Some(folder), &[RECORDED])?.into()]);
        }
        for (on, flag) in [(self.quick, "--quick"), (self.no_cache, "--no-cache")] {
            if on {
                flags.push(flag.into());
            }
        }
        if let Some(seconds) = self.search {
            flags.extend(["--search".into(), seconds.to_string().into()]);
        }
        if let Some(minutes) = self.soak {
            flags.extend(["--soak".into(), minutes.to_string().into()]);
        }
        if let Some(folder) = &self.baseline {
            flags.extend(["--baseline".into(), folder.into()]);
        }
        Ok(flags)
    }

    /// A benchmark says itself what it had to do without.
    fn install_peers(&self) {
        let mut wanted: Vec<Peer> = Vec::new();
        for peer in self.chosen().flat_map(|name| Peer::of(name_of(name))) {
            if !wanted.contains(peer) {
                wanted.push(*peer);
            }
        }
        peers::ensure(&wanted);
    }
}

fn name_of(name: Name) -> &'static str {
    match name {
        Name::Xdp => "xdp",
        Name::Ring => "ring",
        Name::Score => "score",
        Name::Http => "http",
        Name::Peers => "peers",
        Name::Flood => "flood",
        Name::Listeners => "listeners",
        Name::Scale => "scale",
        Name::Memory => "memory",
    }
}
