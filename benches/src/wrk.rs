//! The load generator wrk, and what it prints.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::lab::Lab;

/// A fixed load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Load {
    /// Threads of wrk.
    pub(crate) threads: u32,
    /// Connections kept open.
    pub(crate) connections: u32,
    /// Seconds of one round.
    pub(crate) seconds: u32,
    /// What is asked for.
    pub(crate) path: &'static str,
}

impl Load {
    /// What all loads have in common: many connections at once, all of them busy, as on a gateway.
    pub(crate) const BASE: Self = Self {
        threads: 1,
        connections: 256,
        seconds: 1,
        path: "/",
    };
}

/// What one round gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Round {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median latency in seconds.
    pub(crate) p50_s: f64,
    /// 99th percentile of the latency in seconds.
    pub(crate) p99_s: f64,
}

/// Runs one round from the lab's client. Errors of single requests fail it: a fast refusal is no result.
pub(crate) fn run(lab: &Lab, address: &str, load: &Load) -> Result<Round> {
    let mut command: Command = lab.client().command("wrk");
    let output = command
        .args([
            "--latency",
            "-t",
            &load.threads.to_string(),
            "-c",
            &load.connections.to_string(),
        ])
        .args(["-d", &format!("{}s", load.seconds)])
        .arg(format!("http://{address}{}", load.path))
        .output()
        .context("starting wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "wrk: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    ensure!(
        !text.contains("Non-2xx") && !has_errors(&text),
        "requests failed: {text}"
    );
    parse(&text).with_context(|| format!("wrk printed something unexpected: {text}"))
}

/// Whether connections failed. An answer that was late is none: a machine may stand still for a while.
fn has_errors(text: &str) -> bool {
    let mut errors = text.lines().filter(|line| line.contains("Socket errors"));
    errors.any(|line| !line.contains("connect 0, read 0, write 0,"))
}

fn parse(text: &str) -> Option<Round> {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
        line.trim_start()[name.len()..].split_whitespace().next()
    };
    Some(Round {
        rate: field("Requests/sec:")?.parse().ok()?,
        p50_s: seconds(field("50%")?)?,
        p99_s: seconds(field("99%")?)?,
    })
}

/// A time as wrk prints it: `1.12ms`, `640.00us`, `1.02s`.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = if let Some(number) = text.strip_suffix("us") {
        (number, 1e-6)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else {
        (text.strip_suffix('s')?, 1.0)
    };
    number.parse::<f64>().ok().map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_are_no_errors() {
        assert!(!has_errors("Requests/sec: 1"));
        assert!(!has_errors(
            "  Socket errors: connect 0, read 0, write 0, timeout 7\n"
        ));
        assert!(has_errors(
            "  Socket errors: connect 0, read 3, write 0, timeout 7\n"
        ));
    }

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 5s test @ http://10.72.0.2/1k\n  1 threads and 32 connections\n  Latency Distribution\n     \
                    50%    1.12ms\n     75%    1.56ms\n     90%    3.58ms\n     99%  858.00us\n  112548 requests in \
                    5.01s, 133.09MB read\nRequests/sec:  22472.70\nTransfer/sec:     26.58MB\n";
        let round = parse(text).expect("a whole report");
        assert!((round.rate - 22_472.7).abs() < 1e-6);
        assert!((round.p50_s - 0.001_12).abs() < 1e-9);
        assert!((round.p99_s - 0.000_858).abs() < 1e-9);
        assert_eq!(parse("connection refused"), None);
    }
}
