//! Benchmarks: candidates in turn on one machine in one run, so that what is compared ran under the
//! same conditions.
//!
//! | module | what it is |
//! |---|---|
//! | `baseline` | the figures of an earlier run beside those of this one |
//! | `client` | a client that keeps its connections, in a closed or an open loop |
//! | `cpu` | CPU time of threads |
//! | `engine` | the engine in the lab's gateway, started and stopped |
//! | `flood` | a good client while others flood: what it gets answered, inspected and plain |
//! | `http` | requests through the lab: plain forwarding beside the engine, closed and open loop |
//! | `listeners` | a good client while many listen to what the engine does |
//! | `machine` | what it ran on |
//! | `memory` | what an engine takes, by its configuration and over a soak |
//! | `netfilter` | rules of iptables in a lab's gateway |
//! | `nfqueue` | the scoring engine behind `NFQUEUE` |
//! | `peers` | the same traffic through Portcullis and through others |
//! | `process` | a program in a lab's gateway |
//! | `report` | what was found: tables, plots, goals, notes; as text, JSON and a page |
//! | `ring` | one queue's rings: the engine's loop beside one that only forwards |
//! | `scale` | how costs grow: blocks, flows, services, rules, bodies |
//! | `score` | the scoring engine alone: nanoseconds and instructions a request |
//! | `statistics` | median, spread and ratio of interleaved rounds |
//! | `wrk` | the load generator and what it prints |
//! | `xdp` | the XDP program alone: nanoseconds a packet by verdict |
//!
//! The loaded programs (`bed`) and packets for them come from the tests of the programs.

mod baseline;
#[path = "../../filter-user/tests/program/bed.rs"]
#[expect(dead_code, reason = "the tests of the programs use more of it")]
mod bed;
mod client;
mod cpu;
mod engine;
mod flood;
mod http;
mod listeners;
mod machine;
mod memory;
mod netfilter;
mod nfqueue;
#[path = "../../filter-user/tests/program/packets.rs"]
#[expect(dead_code, reason = "the tests of the programs use more of it")]
mod packets;
mod peers;
mod process;
mod report;
mod ring;
mod scale;
mod score;
mod statistics;
mod wrk;
mod xdp;

use std::{
    fs, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Parser, ValueEnum};
use report::Report;

/// How long churn is watched.
const SOAK: Duration = Duration::from_mins(10);
const QUICK_SOAK: Duration = Duration::from_secs(20);

/// Runs benchmarks and writes their results as JSON, and a page of all.
#[derive(Parser, Debug)]
struct Cli {
    /// Which benchmarks; all without a name.
    names: Vec<Benchmark>,
    /// The engine's binary.
    #[arg(long, default_value = "target/release/portcullis")]
    engine: PathBuf,
    /// Where the results go.
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
    /// Folder with the results of an earlier run to compare with.
    #[arg(long, value_name = "FOLDER")]
    baseline: Option<PathBuf>,
    /// Folder with recorded requests.
    #[arg(long, default_value_os_t = xtask::recorded::folder(None).unwrap_or_default())]
    data: PathBuf,
    /// Score the requests of a load once and print how many there are: for a counter of instructions.
    #[arg(long, hide = true)]
    once: Option<String>,
    /// Print what a loop with so many flows and room for so many takes: it is asked in a process of its own.
    #[arg(long, hide = true, num_args = 2, value_names = ["FLOWS", "CAPACITY"])]
    resident: Option<Vec<u32>>,
    /// Give verdicts on the packets of an NFQUEUE until killed.
    #[arg(long, hide = true, value_name = "VERDICTS")]
    nfqueue: Option<nfqueue::Verdicts>,
    /// Look for costly inputs for so many seconds, and keep them in benches/worst.
    #[arg(long, value_name = "SECONDS")]
    search: Option<u64>,
    /// How long the soak of `memory` takes; 10 minutes, and 20 seconds with --quick.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Short rounds: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Without the cache of clean requests.
    #[arg(long)]
    no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Nanoseconds a packet in the XDP program.
    Xdp,
    /// Packets a second through the rings of one queue.
    Ring,
    /// Nanoseconds and instructions a request in the scoring engine.
    Score,
    /// Requests per second through the lab.
    Http,
    /// The same traffic through others: Suricata, `ModSecurity`, the own scorer behind `NFQUEUE`.
    Peers,
    /// What a good client gets answered while others flood.
    Flood,
    /// What a good client's requests take while many listen to what the engine does.
    Listeners,
    /// How costs grow with blocks, flows, services, rules and bodies.
    Scale,
    /// Memory by configuration, and over a soak with churn.
    Memory,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(verdicts) = cli.nfqueue {
        nfqueue::run(verdicts)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(load) = &cli.once {
        score::once(load, &cli.data)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some([flows, capacity]) = cli.resident.as_deref() {
        scale::print_resident(*flows, *capacity)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(seconds) = cli.search {
        score::search(Path::new("benches/worst"), seconds)?;
        return Ok(ExitCode::SUCCESS);
    }
    fs::create_dir_all(&cli.output).with_context(|| format!("creating {}", cli.output.display()))?;
    let mut names = cli.names.clone();
    if names.is_empty() {
        names = Benchmark::value_variants().to_vec();
    }
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        // A wrong result of one says nothing about the others.
        match run(&cli, name) {
            Ok(report) => {
                println!("{report}");
                reports.push(report);
            }
            Err(error) => {
                eprintln!("{} FAILED: {error:#}\n", name.name());
                failures.push(name.name());
            }
        }
    }
    let page = cli.output.join("index.html");
    write(&page, &report::page(&reports))?;
    println!("written to {} and the *.json beside it", page.display());
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("failed: {}", failures.join(", "));
    Ok(ExitCode::FAILURE)
}

/// A panic in one is its failure.
fn run(cli: &Cli, name: Benchmark) -> Result<Report> {
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| cli.run(name)));
    result.unwrap_or_else(|_| Err(anyhow!("it panicked")))
}

impl Benchmark {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Cli {
    fn soak(&self) -> Duration {
        let by_default = if self.quick { QUICK_SOAK } else { SOAK };
        self.soak.map_or(by_default, Duration::from_mins)
    }

    fn run(&self, name: Benchmark) -> Result<Report> {
        let report = match name {
            Benchmark::Xdp => xdp::run(self.quick)?,
            Benchmark::Ring => ring::run(self.quick)?,
            Benchmark::Score => score::run(&self.data, self.quick)?,
            Benchmark::Http => http::run(&self.engine, self.quick, !self.no_cache)?,
            Benchmark::Peers => peers::run(&self.engine, &self.data, self.quick)?,
            Benchmark::Flood => flood::run(&self.engine, self.quick)?,
            Benchmark::Listeners => listeners::run(&self.engine, self.quick)?,
            Benchmark::Scale => scale::run(self.quick)?,
            Benchmark::Memory => memory::run(&self.engine, self.soak())?,
        };
        let report = match &self.baseline {
            Some(folder) => baseline::compare(report, folder)?,
            None => report,
        };
        let file = baseline::file(&self.output, &report.name);
        write(&file, &(serde_json::to_string_pretty(&report)? + "\n"))?;
        Ok(report)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
