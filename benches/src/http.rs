//! HTTP through the lab: plain kernel forwarding beside the engine that inspects everything.
//!
//! Client, gateway, server and load generator share the machine's cores, so the figure is what the engine costs
//! on a saturated machine, not what it could do alone. Rounds alternate; the ratio is taken of neighbours.

use std::{fmt, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::lab::{Lab, Nginx, Options, address, engine_config};

use crate::{
    engine::Engine,
    machine::Machine,
    statistics::Figure,
    wrk::{self, Load, Round},
};

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    load: Load,
    rounds: usize,
    plain: Candidate,
    inspected: Candidate,
    /// Requests per second, inspected over plain.
    ratio: Figure,
    /// Of the last inspected round, in seconds.
    driver_to_forwarded: Percentiles,
}

#[derive(Debug, Serialize)]
struct Candidate {
    rounds: Vec<Round>,
    requests_per_s: Figure,
    p50_s: Figure,
    p99_s: Figure,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50_s: f64,
    p99_s: f64,
}

impl Candidate {
    fn of(rounds: Vec<Round>) -> Self {
        Self {
            requests_per_s: Figure::of(rounds.iter().map(|round| round.rate)),
            p50_s: Figure::of(rounds.iter().map(|round| round.p50_s)),
            p99_s: Figure::of(rounds.iter().map(|round| round.p99_s)),
            rounds,
        }
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.rate).collect()
    }
}

/// Runs the benchmark.
pub(crate) fn run(engine: &Path, quick: bool) -> Result<Report> {
    let load = Load {
        threads: 1,
        connections: 32,
        seconds: if quick { 2 } else { 8 },
        path: "/1k",
    };
    let rounds = if quick { 2 } else { 7 };
    let machine = Machine::here();
    let lab = Lab::start(&Options::default())?;
    let _nginx = Nginx::start(&lab)?;
    let target = address::SERVER_V4.to_string();
    // Caches, ARP, nginx's workers.
    wrk::run(&lab, &target, &Load { seconds: 1, ..load })?;

    let (mut plain, mut inspected) = (Vec::new(), Vec::new());
    let mut driver_to_forwarded = Percentiles {
        p50_s: 0.0,
        p99_s: 0.0,
    };
    for round in 1..=rounds {
        eprintln!("http: round {round} of {rounds}");
        plain.push(wrk::run(&lab, &target, &load)?);
        let running = Engine::start(&lab, engine, &engine_config::nginx_services())?;
        inspected.push(wrk::run(&lab, &target, &load)?);
        check_everything_was_inspected(&running)?;
        driver_to_forwarded = latency(&running)?;
        running.stop()?;
    }
    let (plain, inspected) = (Candidate::of(plain), Candidate::of(inspected));
    let ratio = Figure::of_ratios(&inspected.rates(), &plain.rates());
    Ok(Report {
        machine,
        load,
        rounds,
        plain,
        inspected,
        ratio,
        driver_to_forwarded,
    })
}

/// A figure for an engine that let requests pass unseen would mean nothing.
fn check_everything_was_inspected(engine: &Engine<'_>) -> Result<()> {
    let status: serde_json::Value = serde_json::from_str(&engine.ask(&["status", "--json"])?)?;
    let number = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    };
    ensure!(number("/requests/allow") > 0, "no request was scored: {status}");
    let unscored = status
        .pointer("/queues/0/unscored")
        .and_then(serde_json::Value::as_object);
    ensure!(
        unscored.is_none_or(serde_json::Map::is_empty),
        "packets passed unscored: {status}"
    );
    let failures = status
        .pointer("/xdp")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten();
    for counter in failures {
        let reason = counter["reason"].as_str().unwrap_or_default();
        let packets = counter["packets"].as_u64().unwrap_or(0);
        let failed = reason.starts_with("engine_") || reason == "ring_full";
        ensure!(
            !failed || packets == 0,
            "{packets} packets fell under the failure policy ({reason})"
        );
    }
    Ok(())
}

fn latency(engine: &Engine<'_>) -> Result<Percentiles> {
    let report: serde_json::Value = serde_json::from_str(&engine.ask(&["report", "--json"])?)?;
    let stages = report["percentiles"]
        .as_array()
        .context("the report has no percentiles")?;
    let stage = stages
        .iter()
        .find(|stage| stage["stage"] == "driver_to_forwarded" && stage["queue"].is_null())
        .context("the report has no driver_to_forwarded")?;
    let percentile = |name: &str| {
        stage[name]
            .as_f64()
            .with_context(|| format!("no {name} in {stage}"))
    };
    Ok(Percentiles {
        p50_s: percentile("p50_s")?,
        p99_s: percentile("p99_s")?,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machine,
            load,
            rounds,
            plain,
            inspected,
            ratio,
            driver_to_forwarded,
        } = self;
        writeln!(
            f,
            "HTTP through the lab: {} rounds of {} s, wrk -t{} -c{} {}\n{} × {}, Linux {}, governor {}, load {}\n",
            rounds,
            load.seconds,
            load.threads,
            load.connections,
            load.path,
            machine.cpus,
            machine.cpu,
            machine.kernel,
            machine.governor,
            machine.load
        )?;
        writeln!(
            f,
            "{:<12} {:>12} {:>22} {:>10} {:>10}",
            "", "requests/s", "min … max", "p50 µs", "p99 µs"
        )?;
        for (name, candidate) in [("plain", plain), ("inspected", inspected)] {
            let rate = &candidate.requests_per_s;
            writeln!(
                f,
                "{name:<12} {:>12.0} {:>22} {:>10.0} {:>10.0}",
                rate.median,
                format!("{:.0} … {:.0}", rate.min, rate.max),
                candidate.p50_s.median * 1e6,
                candidate.p99_s.median * 1e6
            )?;
        }
        writeln!(
            f,
            "\nratio inspected / plain: median {:.3} ({:.3} … {:.3})",
            ratio.median, ratio.min, ratio.max
        )?;
        write!(
            f,
            "driver → forwarded: p50 {:.1} µs, p99 {:.1} µs",
            driver_to_forwarded.p50_s * 1e6,
            driver_to_forwarded.p99_s * 1e6
        )
    }
}
