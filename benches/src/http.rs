//! HTTP through two labs on one machine: one forwards plainly, in the other the engine inspects everything.
//!
//! Client, gateway, server and load generator share the machine's cores, so the figure is what the engine costs
//! on a saturated machine, not what it could do alone. The labs take turns second by second, the order changing
//! every time (A B, B A, …): neighbours ran under the same conditions, and drift in one direction cancels out. An
//! engine without traffic costs nothing, so both labs stay up.

use std::{fmt, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::lab::{Lab, Nginx, Options, address, engine_config};

use crate::{
    engine::Engine,
    machine::Machine,
    statistics::{Figure, Ratio},
    wrk::{self, Load, Round},
};

/// A page of usual size, then the smallest answers: the packets' own cost is all there is.
const LOADS: [Load; 2] = [
    Load {
        path: "/16k",
        ..Load::BASE
    },
    Load {
        path: "/1k",
        ..Load::BASE
    },
];

/// The result.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    loads: Vec<Comparison>,
}

/// The two candidates under one load.
#[derive(Debug, Serialize)]
struct Comparison {
    load: Load,
    plain: Candidate,
    inspected: Candidate,
    /// Requests per second, inspected over plain.
    ratio: Ratio,
    /// In seconds.
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
    let rounds = if quick { 4 } else { 40 };
    let machine = Machine::here();
    let (plain, inspected) = (Lab::start(&Options::default())?, Lab::start(&Options::default())?);
    let _servers = (Nginx::start(&plain)?, Nginx::start(&inspected)?);
    let engine = Engine::start(&inspected, engine, &engine_config::nginx_services())?;
    let mut loads = Vec::new();
    for load in LOADS {
        eprintln!(
            "http: {} rounds of {}, about {} s",
            rounds,
            load.path,
            2 * rounds * load.seconds
        );
        loads.push(compare(&load, rounds, &plain, &inspected, &engine)?);
    }
    check_everything_was_inspected(&engine)?;
    engine.stop()?;
    Ok(Report { machine, loads })
}

fn compare(
    load: &Load,
    rounds: u32,
    plain: &Lab,
    inspected: &Lab,
    engine: &Engine<'_>,
) -> Result<Comparison> {
    let target = address::SERVER_V4.to_string();
    // Caches, ARP, nginx's workers.
    wrk::run(plain, &target, load)?;
    wrk::run(inspected, &target, load)?;
    engine.ask(&["report", "--reset", "--json"])?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            without.push(wrk::run(plain, &target, load)?);
            with.push(wrk::run(inspected, &target, load)?);
        } else {
            with.push(wrk::run(inspected, &target, load)?);
            without.push(wrk::run(plain, &target, load)?);
        }
    }
    let (plain, inspected) = (Candidate::of(without), Candidate::of(with));
    Ok(Comparison {
        load: *load,
        ratio: Ratio::of(&inspected.rates(), &plain.rates()),
        plain,
        inspected,
        driver_to_forwarded: latency(engine)?,
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
        let Machine {
            cpus,
            cpu,
            kernel,
            governor,
            load,
        } = &self.machine;
        writeln!(
            f,
            "HTTP through the lab, plain forwarding beside everything inspected"
        )?;
        write!(
            f,
            "{cpus} × {cpu}, Linux {kernel}, governor {governor}, load {load}"
        )?;
        self.loads.iter().try_for_each(|load| write!(f, "\n\n{load}"))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            threads,
            connections,
            seconds,
            path,
        } = self.load;
        writeln!(
            f,
            "wrk -t{threads} -c{connections} -d{seconds}s {path:<6} {:>10} {:>17} {:>9} {:>9}",
            "requests/s", "min … max", "p50 µs", "p99 µs"
        )?;
        for (name, candidate) in [("plain", &self.plain), ("inspected", &self.inspected)] {
            let rate = &candidate.requests_per_s;
            writeln!(
                f,
                "{name:<25} {:>10.0} {:>17} {:>9.0} {:>9.0}",
                rate.median,
                format!("{:.0} … {:.0}", rate.min, rate.max),
                candidate.p50_s.median * 1e6,
                candidate.p99_s.median * 1e6
            )?;
        }
        let Ratio { median, low, high } = self.ratio;
        writeln!(
            f,
            "inspected / plain: median {median:.3} (95 %: {low:.3} … {high:.3}) of {} pairs",
            self.plain.rounds.len()
        )?;
        let Percentiles { p50_s, p99_s } = &self.driver_to_forwarded;
        write!(
            f,
            "driver → forwarded: p50 {:.1} µs, p99 {:.1} µs",
            p50_s * 1e6,
            p99_s * 1e6
        )
    }
}
