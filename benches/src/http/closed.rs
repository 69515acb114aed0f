//! wrk, as fast as it is answered: what a saturated machine gets through.

use anyhow::{Context as _, Result};
use serde::Serialize;
use xtask::lab::address;

use super::{Site, candidate, in_turn};
use crate::{
    engine::Engine,
    report::{Column, Report, Table},
    statistics::{Figure, Ratio},
    wrk::{self, Load, Round},
};

/// The smallest answers, where the packets' own cost is all there is, and a page of usual size.
pub(super) const LOADS: [Load; 2] = [
    Load {
        path: "/1k",
        ..Load::BASE
    },
    Load {
        path: "/16k",
        ..Load::BASE
    },
];

/// All candidates under one load.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    load: Load,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    candidate: &'static str,
    rounds: Vec<Round>,
    requests_per_s: Figure,
    p50_s: Figure,
    p99_s: Figure,
    /// Requests per second, over those of plain forwarding.
    ratio: Ratio,
    engine: Option<Inside>,
}

/// What the engine says of itself.
#[derive(Debug, Serialize)]
struct Inside {
    /// How the XDP program is attached.
    attached: String,
    /// The part of the requests that were known from the cache, 0..1; none if none was scored.
    cached: Option<f64>,
    /// From the driver's hook to the hand-over to the kernel.
    forwarded: Option<Percentiles>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50_s: f64,
    p99_s: f64,
}

/// Runs one load.
pub(super) fn compare(load: &Load, rounds: u32, sites: &[Site<'_>]) -> Result<Comparison> {
    let target = address::SERVER_V4.to_string();
    let mut before = Vec::new();
    for site in sites {
        // Caches, ARP, nginx's workers.
        site.awake(|| {
            wrk::run(site.lab, &target, load)?;
            let engine = site.engine.as_ref();
            before.push(engine.map(requests_from_now).transpose()?);
            Ok(())
        })?;
    }
    let rounds = in_turn(sites, rounds, |site| {
        wrk::run(site.lab, &target, load).with_context(|| site.candidate.name)
    })?;
    let rates: Vec<Vec<f64>> = rounds
        .iter()
        .map(|rounds| rounds.iter().map(|round| round.rate).collect())
        .collect();
    let mut rows = Vec::new();
    for (((site, rounds), own), before) in sites.iter().zip(rounds).zip(&rates).zip(before) {
        rows.push(Row {
            candidate: site.candidate.name,
            requests_per_s: Figure::of(own.iter().copied()),
            p50_s: Figure::of(rounds.iter().map(|round| round.p50_s)),
            p99_s: Figure::of(rounds.iter().map(|round| round.p99_s)),
            rounds,
            ratio: Ratio::of(own, &rates[0]),
            engine: match (&site.engine, before) {
                (Some(engine), Some(before)) => Some(site.awake(|| inside(engine, &before))?),
                _ => None,
            },
        });
    }
    Ok(Comparison { load: *load, rows })
}

/// Requests since the engine's start.
struct Requests {
    allowed: f64,
    cached: f64,
}

/// The same, where the report begins anew.
fn requests_from_now(engine: &Engine<'_>) -> Result<Requests> {
    engine.ask(&["report", "--reset", "--json"])?;
    requests(engine)
}

fn requests(engine: &Engine<'_>) -> Result<Requests> {
    let status = engine.status()?;
    let number = |pointer: &str| {
        let number = status.pointer(pointer).and_then(serde_json::Value::as_f64);
        number.with_context(|| format!("the status has no {pointer}: {status}"))
    };
    Ok(Requests {
        allowed: number("/requests/allow")?,
        cached: number("/requests/cached")?,
    })
}

fn inside(engine: &Engine<'_>, before: &Requests) -> Result<Inside> {
    let after = requests(engine)?;
    let scored = after.allowed - before.allowed;
    let mode = engine.status()?["xdp_mode"].as_str().map(str::to_owned);
    let report: serde_json::Value = serde_json::from_str(&engine.ask(&["report", "--json"])?)?;
    let forwarded = report["percentiles"].as_array().and_then(|stages| {
        stages
            .iter()
            .find(|stage| stage["stage"] == "driver_to_forwarded" && stage["queue"].is_null())
    });
    let percentile = |name: &str| forwarded.and_then(|stage| stage[name].as_f64());
    Ok(Inside {
        attached: mode.context("the status has no xdp_mode")?,
        cached: (scored > 0.0).then(|| (after.cached - before.cached) / scored),
        forwarded: percentile("p50_s")
            .zip(percentile("p99_s"))
            .filter(|_| scored > 0.0)
            .map(|(p50_s, p99_s)| Percentiles { p50_s, p99_s }),
    })
}

impl Comparison {
    /// A table with bars, and the goals.
    pub(super) fn add_to(&self, report: Report) -> Report {
        let Load {
            threads,
            connections,
            seconds,
            path,
        } = self.load;
        let rounds = self.rows.first().map_or(0, |row| row.rounds.len());
        let mut table = Table::new(
            format!("closed loop: wrk -t{threads} -c{connections} -d{seconds}s {path}, {rounds} rounds"),
            [
                Column::more("rate", "requests/s"),
                Column::less("p50", "µs"),
                Column::less("p99", "µs"),
                Column::more("of plain (95 %)", ""),
                Column::new("XDP", ""),
                Column::less("driver → forwarded p50", "µs"),
                Column::less("p99 of that", "µs"),
                Column::new("known from the cache", "%"),
            ],
        );
        let mut goals = Vec::new();
        for row in &self.rows {
            let inside = row.engine.as_ref();
            let forwarded = inside.and_then(|engine| engine.forwarded.as_ref());
            table.row(
                row.candidate,
                [
                    row.requests_per_s.into(),
                    row.p50_s.times(1e6).into(),
                    row.p99_s.times(1e6).into(),
                    row.ratio.into(),
                    inside.map(|engine| engine.attached.clone()).into(),
                    forwarded.map(|forwarded| forwarded.p50_s * 1e6).into(),
                    forwarded.map(|forwarded| forwarded.p99_s * 1e6).into(),
                    inside
                        .and_then(|engine| engine.cached)
                        .map(|cached| cached * 1e2)
                        .into(),
                ],
            );
            let least = match row.candidate {
                candidate::HOST => 0.95,
                candidate::BRIDGE => 1.0,
                _ => continue,
            };
            let Ratio { median, low, high } = row.ratio;
            goals.push((
                format!("{path}, {}: at least {least} of plain forwarding", row.candidate),
                format!("{median:.2} ({low:.2} … {high:.2})"),
                median >= least,
            ));
        }
        let report = report.with(table.bars("requests/s")).with(table);
        goals
            .into_iter()
            .fold(report, |report, (wanted, measured, is_met)| {
                report.goal(wanted, measured, is_met)
            })
    }
}
