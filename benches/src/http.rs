//! HTTP through labs on one machine: one forwards plainly, in the others the engine inspects everything, with its
//! program where it chooses to have it (on a veth: in the stack, generic XDP) and in the driver (native XDP).
//!
//! Client, gateway, server and load generator share the machine's cores, so the figure is what the engine costs
//! on a saturated machine, not what it could do alone. The labs take turns second by second, the order changing
//! every time (A B C, C B A, …): neighbours ran under the same conditions, and drift in one direction cancels out. An
//! engine without traffic costs nothing, so all labs stay up.
//!
//! A veth's native mode copies every packet into a page first, which drivers of NICs need not. wrk sends one request over and over, so nearly all are known from the cache of clean requests, as is
//! said beside the figures; `--no-cache` has each of them scored.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::lab::{Lab, Nginx, Options, address, engine_config};

use crate::{
    engine::Engine,
    machine::Machine,
    report::{Cell, Column, Report, Table},
    statistics::{Figure, Ratio},
    wrk::{self, Load, Round},
};

/// The smallest answers, where the packets' own cost is all there is, and a page of usual size.
const LOADS: [Load; 2] = [
    Load {
        path: "/1k",
        ..Load::BASE
    },
    Load {
        path: "/16k",
        ..Load::BASE
    },
];

/// Values of `engine.xdp_mode`, one lab each.
const MODES: [&str; 2] = ["auto", "native"];

/// The result.
#[derive(Debug, Serialize)]
struct Comparisons {
    loads: Vec<Comparison>,
}

/// The candidates under one load.
#[derive(Debug, Serialize)]
struct Comparison {
    load: Load,
    plain: Candidate,
    inspected: Vec<Inspected>,
}

#[derive(Debug, Serialize)]
struct Candidate {
    rounds: Vec<Round>,
    requests_per_s: Figure,
    p50_s: Figure,
    p99_s: Figure,
}

/// A candidate with an engine.
#[derive(Debug, Serialize)]
struct Inspected {
    /// `engine.xdp_mode`.
    xdp_mode: &'static str,
    /// How the XDP program is attached.
    attached: String,
    candidate: Candidate,
    /// Requests per second, inspected over plain.
    ratio: Ratio,
    driver_to_forwarded: Percentiles,
    /// The part of the requests that were known from the cache, 0..1.
    cached: f64,
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
pub(crate) fn run(engine: &Path, quick: bool, cache: bool) -> Result<Report> {
    let rounds = if quick { 4 } else { 40 };
    let machine = Machine::here();
    let labs = (0..=MODES.len())
        .map(|_| Lab::start(&Options::default()))
        .collect::<Result<Vec<_>>>()?;
    let _servers = labs.iter().map(Nginx::start).collect::<Result<Vec<_>>>()?;
    let engines = MODES
        .iter()
        .zip(&labs[1..])
        .map(|(mode, lab)| Engine::start(lab, engine, &configuration(mode, cache)))
        .collect::<Result<Vec<_>>>()?;
    let mut loads = Vec::new();
    for load in LOADS {
        eprintln!(
            "http: {rounds} rounds of {}, about {} s",
            load.path,
            rounds * load.seconds * labs.len() as u32
        );
        loads.push(compare(&load, rounds, &labs, &engines)?);
    }
    for engine in engines {
        check_everything_was_inspected(&engine)?;
        engine.stop()?;
    }
    Comparisons { loads }.report(machine)
}

fn configuration(mode: &str, cache: bool) -> String {
    let mut text = format!("engine.xdp_mode = \"{mode}\"\n");
    if !cache {
        text.push_str("scoring.cache = 0\n");
    }
    text + &engine_config::nginx_services()
}

fn compare(load: &Load, rounds: u32, labs: &[Lab], engines: &[Engine<'_>]) -> Result<Comparison> {
    let target = address::SERVER_V4.to_string();
    // Caches, ARP, nginx's workers.
    for lab in labs {
        wrk::run(lab, &target, load)?;
    }
    let mut before = Vec::new();
    for engine in engines {
        engine.ask(&["report", "--reset", "--json"])?;
        before.push(requests(engine)?);
    }
    let mut results = vec![Vec::new(); labs.len()];
    for round in 0..rounds {
        let mut order: Vec<_> = (0..labs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for candidate in order {
            results[candidate].push(wrk::run(&labs[candidate], &target, load)?);
        }
    }
    let mut candidates = results.into_iter().map(Candidate::of);
    let plain = candidates.next().context("no candidate")?;
    let inspected = candidates
        .zip(MODES)
        .zip(engines.iter().zip(before))
        .map(|((candidate, xdp_mode), (engine, before))| {
            let after = requests(engine)?;
            Ok(Inspected {
                xdp_mode,
                attached: attached(engine)?,
                ratio: Ratio::of(&candidate.rates(), &plain.rates()),
                candidate,
                driver_to_forwarded: latency(engine)?,
                cached: (after.cached - before.cached) / (after.allowed - before.allowed),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Comparison {
        load: *load,
        plain,
        inspected,
    })
}

fn attached(engine: &Engine<'_>) -> Result<String> {
    let status: serde_json::Value = serde_json::from_str(&engine.ask(&["status", "--json"])?)?;
    let mode = status["xdp_mode"].as_str().map(str::to_owned);
    mode.with_context(|| format!("the status has no xdp_mode: {status}"))
}

/// Requests since the engine's start.
struct Requests {
    allowed: f64,
    cached: f64,
}

fn requests(engine: &Engine<'_>) -> Result<Requests> {
    let status: serde_json::Value = serde_json::from_str(&engine.ask(&["status", "--json"])?)?;
    let number = |pointer: &str| {
        let number = status.pointer(pointer).and_then(serde_json::Value::as_f64);
        number.with_context(|| format!("the status has no {pointer}: {status}"))
    };
    Ok(Requests {
        allowed: number("/requests/allow")?,
        cached: number("/requests/cached")?,
    })
}

/// A figure for an engine that let requests pass unseen would mean nothing.
fn check_everything_was_inspected(engine: &Engine<'_>) -> Result<()> {
    let status: serde_json::Value = serde_json::from_str(&engine.ask(&["status", "--json"])?)?;
    let allowed = status
        .pointer("/requests/allow")
        .and_then(serde_json::Value::as_u64);
    ensure!(allowed.unwrap_or(0) > 0, "no request was scored: {status}");
    let lost = status
        .pointer("/queues/0/lost")
        .and_then(serde_json::Value::as_u64);
    ensure!(lost == Some(0), "packets were lost: {status}");
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

impl Comparisons {
    fn report(&self, machine: Machine) -> Result<Report> {
        let title = "HTTP through the lab, plain forwarding beside everything inspected";
        let mut report = Report::on(machine, "http", title);
        for comparison in &self.loads {
            let table = comparison.table();
            report = report.with(table.bars("requests/s")).with(table);
            for inspected in &comparison.inspected {
                report = report.note(inspected.note(comparison.load.path));
            }
        }
        report.measured(self)
    }
}

impl Comparison {
    fn table(&self) -> Table {
        let Load {
            threads,
            connections,
            seconds,
            path,
        } = self.load;
        let mut table = Table::new(
            format!("wrk -t{threads} -c{connections} -d{seconds}s {path}"),
            [
                Column::more("rate", "requests/s"),
                Column::less("p50", "µs"),
                Column::less("p99", "µs"),
                Column::more("of plain (95 %)", ""),
            ],
        );
        let cells = |candidate: &Candidate| {
            [
                candidate.requests_per_s,
                candidate.p50_s.times(1e6),
                candidate.p99_s.times(1e6),
            ]
            .map(Cell::from)
            .to_vec()
        };
        table.row("plain", cells(&self.plain));
        for inspected in &self.inspected {
            let mut cells = cells(&inspected.candidate);
            cells.push(inspected.ratio.into());
            table.row(
                format!("{} ({} XDP)", inspected.xdp_mode, inspected.attached),
                cells,
            );
        }
        table
    }
}

impl Inspected {
    fn note(&self, path: &str) -> String {
        let Percentiles { p50_s, p99_s } = self.driver_to_forwarded;
        format!(
            "{path}, {}: driver → forwarded p50 {:.1} µs, p99 {:.1} µs; {:.1} % of the requests known from the cache; \
             ratio over {} pairs",
            self.xdp_mode,
            p50_s * 1e6,
            p99_s * 1e6,
            self.cached * 1e2,
            self.candidate.rounds.len()
        )
    }
}
