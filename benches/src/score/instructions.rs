//! Instructions a request, counted by callgrind: the same on every run, however busy the machine is.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

const LOADS: [(&str, &str); 3] = [
    ("get", "GET of 242 bytes, without memory"),
    ("browsing", "browsing, without memory"),
    ("operation", "browsing, as in operation"),
];

/// What one load takes.
#[derive(Debug, Serialize)]
pub(crate) struct Count {
    pub(super) load: &'static str,
    pub(super) instructions_per_request: u64,
}

/// Counts all loads, or notes why it cannot.
pub(super) fn count(data: &Path, notes: &mut Vec<String>) -> Option<Vec<Count>> {
    let counts: Result<Vec<_>> = LOADS
        .iter()
        .map(|(load, name)| counted(load, name, data))
        .collect();
    match counts {
        Ok(counts) => Some(counts),
        Err(error) => {
            notes.push(format!("no instruction counts: {error:#}"));
            None
        }
    }
}

fn counted(load: &str, name: &'static str, data: &Path) -> Result<Count> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=portcullis_bench::score::score*",
        ])
        .arg(env::current_exe()?)
        .args(["--once", load, "--data"])
        .arg(data)
        .output()
        .context("running valgrind (Debian: apt-get install valgrind)")?;
    let (numbers, report) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "valgrind: {}", report.trim());
    let requests: u64 = numbers.trim().parse().context("the number of requests")?;
    let collected: u64 = report
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok())
        .context("valgrind printed no count")?;
    ensure!(collected > 0, "valgrind counted nothing");
    Ok(Count {
        load: name,
        instructions_per_request: collected / requests,
    })
}
