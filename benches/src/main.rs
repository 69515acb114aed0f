//! Benchmarks: candidates in turn on one machine in one run, so that what is compared ran under the
//! same conditions.
//!
//! | module | what it is |
//! |---|---|
//! | `engine` | the engine in the lab's gateway, started and stopped |
//! | `flood` | a good client while others flood: what it gets answered, inspected and plain |
//! | `http` | wrk through the lab: plain forwarding beside the engine |
//! | `listeners` | a good client while many listen to what the engine does |
//! | `machine` | what it ran on |
//! | `score` | the scoring engine alone: nanoseconds and instructions a request |
//! | `statistics` | median, spread and ratio of interleaved rounds |
//! | `wrk` | the load generator and what it prints |

mod engine;
mod flood;
mod http;
mod listeners;
mod machine;
mod score;
mod statistics;
mod wrk;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

/// Runs benchmarks and writes their results as JSON.
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
    /// Folder with recorded requests.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Score the requests of a load once and print how many there are: for a counter of instructions.
    #[arg(long, hide = true)]
    once: Option<String>,
    /// Look for costly inputs for so many seconds, and keep them in benches/worst.
    #[arg(long, value_name = "SECONDS")]
    search: Option<u64>,
    /// Short rounds: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Without the cache of clean requests.
    #[arg(long)]
    no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Requests per second through the lab.
    Http,
    /// Nanoseconds and instructions a request in the scoring engine.
    Score,
    /// What a good client gets answered while others flood.
    Flood,
    /// What a good client's requests take while many listen to what the engine does.
    Listeners,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(load) = &cli.once {
        return score::once(load, &cli.data);
    }
    if let Some(seconds) = cli.search {
        return score::search(Path::new("benches/worst"), seconds);
    }
    fs::create_dir_all(&cli.output).with_context(|| format!("creating {}", cli.output.display()))?;
    let names = if cli.names.is_empty() {
        vec![
            Benchmark::Score,
            Benchmark::Http,
            Benchmark::Flood,
            Benchmark::Listeners,
        ]
    } else {
        cli.names.clone()
    };
    for name in names {
        let (file, text, json) = match name {
            Benchmark::Http => {
                let report = http::run(&cli.engine, cli.quick, !cli.no_cache)?;
                (
                    "http.json",
                    report.to_string(),
                    serde_json::to_string_pretty(&report)?,
                )
            }
            Benchmark::Flood => {
                let report = flood::run(&cli.engine, cli.quick)?;
                (
                    "flood.json",
                    report.to_string(),
                    serde_json::to_string_pretty(&report)?,
                )
            }
            Benchmark::Listeners => {
                let report = listeners::run(&cli.engine, cli.quick)?;
                (
                    "listeners.json",
                    report.to_string(),
                    serde_json::to_string_pretty(&report)?,
                )
            }
            Benchmark::Score => {
                let report = score::run(&cli.data, cli.quick)?;
                (
                    "score.json",
                    report.to_string(),
                    serde_json::to_string_pretty(&report)?,
                )
            }
        };
        println!("{text}");
        let path = cli.output.join(file);
        fs::write(&path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
        println!("written to {}", path.display());
    }
    Ok(())
}
