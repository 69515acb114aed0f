//! Requests at a fixed rate, well below what the machine gets through: what a gateway adds to their latency, and what
//! CPU time it takes.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use xtask::lab::address;

use super::{Site, candidate, in_turn};
use crate::{
    client::{Client, Outcome, Pace, Request},
    cpu,
    report::{Column, Plot, Report, Table},
    statistics::{Difference, Figure},
};

/// Requests a second.
pub(super) const RATES: [u32; 2] = [2_000, 8_000];
/// Seconds of a round.
const LENGTH: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 64;
const PATH: &str = "/1k";

/// All candidates at one rate.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// Requests a second.
    rate: u32,
    connections: usize,
    path: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    candidate: &'static str,
    rounds: Vec<Round>,
    p50_s: Figure,
    p99_s: Figure,
    /// Seconds more than with plain forwarding, of pairs of rounds.
    added_p50_s: Difference,
    added_p99_s: Difference,
    /// CPU time of client, gateway and server for a request, seconds.
    cpu_s: Figure,
    /// What that is more than with plain forwarding.
    added_cpu_s: Difference,
    /// CPU time of the engine's own threads for a request, seconds.
    engine_cpu_s: Option<Figure>,
    /// Nanoseconds, over all rounds.
    #[serde(skip)]
    latency: Histogram<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Round {
    p50_s: f64,
    p99_s: f64,
    cpu_s: f64,
    engine_cpu_s: Option<f64>,
    #[serde(skip)]
    latency: Histogram<u64>,
}

/// Runs one rate.
pub(super) fn compare(rate: u32, rounds: u32, sites: &[Site<'_>]) -> Result<Comparison> {
    let requests = [Request::get(PATH)];
    for site in sites {
        site.awake(|| ask(site, rate, &requests))?;
    }
    let rounds = in_turn(sites, rounds, |site| {
        ask(site, rate, &requests).with_context(|| site.candidate.name)
    })?;
    let of = |candidate: usize, figure: fn(&Round) -> f64| -> Vec<f64> {
        rounds[candidate].iter().map(figure).collect()
    };
    let added = |candidate, figure| Difference::of(&of(candidate, figure), &of(0, figure));
    let p50 = |round: &Round| round.p50_s;
    let p99 = |round: &Round| round.p99_s;
    let cpu = |round: &Round| round.cpu_s;
    let rows = sites.iter().enumerate().map(|(candidate, site)| {
        Ok(Row {
            candidate: site.candidate.name,
            p50_s: Figure::of(of(candidate, p50)),
            p99_s: Figure::of(of(candidate, p99)),
            added_p50_s: added(candidate, p50),
            added_p99_s: added(candidate, p99),
            cpu_s: Figure::of(of(candidate, cpu)),
            added_cpu_s: added(candidate, cpu),
            engine_cpu_s: site
                .engine
                .as_ref()
                .map(|_| Figure::of(rounds[candidate].iter().filter_map(|round| round.engine_cpu_s))),
            latency: together(&rounds[candidate])?,
            rounds: rounds[candidate].clone(),
        })
    });
    Ok(Comparison {
        rate,
        connections: CONNECTIONS,
        path: PATH,
        rows: rows.collect::<Result<_>>()?,
    })
}

fn ask(site: &Site<'_>, rate: u32, requests: &[Request]) -> Result<Round> {
    let client = Client {
        target: SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT),
        sources: &[],
        connections: CONNECTIONS,
        // A machine that stands still for a while is no wrong result: it is in the latencies.
        patience: Duration::from_secs(30),
        requests,
        first: 0,
    };
    let spent = || -> Result<(u64, u64)> {
        let server = site.server.pid().context("nginx has no process")?;
        let engine = match &site.engine {
            Some(engine) => cpu::of_process(engine.pid())?,
            None => 0,
        };
        Ok((cpu::of_family(server)? + cpu::of_softirqs()?, engine))
    };
    let before = spent()?;
    let outcome: Outcome = client.run(site.lab.client(), Pace::Open(rate, LENGTH))?;
    let after = spent()?;
    ensure!(
        outcome.refused == outcome.late,
        "{} of {} requests were refused",
        outcome.refused - outcome.late,
        outcome.ended
    );
    let engine = after.1 - before.1;
    let all = outcome.cpu_ns + after.0 - before.0 + engine;
    let a_request = |ns: u64| Duration::from_nanos(ns).as_secs_f64() / f64::from(outcome.ended);
    Ok(Round {
        p50_s: outcome.percentile_s(50.0),
        p99_s: outcome.percentile_s(99.0),
        cpu_s: a_request(all),
        engine_cpu_s: site.engine.as_ref().map(|_| a_request(engine)),
        latency: outcome.latency,
    })
}

impl Comparison {
    /// A table, the percentiles of all, and the goals.
    pub(super) fn add_to(&self, report: Report) -> Report {
        let rounds = self.rows.first().map_or(0, |row| row.rounds.len());
        let title = format!(
            "open loop: {} requests/s for {}, {} connections, {rounds} rounds of {} s",
            self.rate,
            self.path,
            self.connections,
            LENGTH.as_secs()
        );
        let mut table = Table::new(
            &title,
            [
                Column::less("p50", "µs"),
                Column::less("added (95 %)", "µs"),
                Column::less("p99", "µs"),
                Column::less("added at p99 (95 %)", "µs"),
                Column::less("CPU a request", "µs"),
                Column::less("added CPU (95 %)", "µs"),
                Column::less("of it the engine's threads", "µs"),
            ],
        );
        let mut goals = Vec::new();
        for row in &self.rows {
            table.row(
                row.candidate,
                [
                    row.p50_s.times(1e6).into(),
                    row.added_p50_s.times(1e6).into(),
                    row.p99_s.times(1e6).into(),
                    row.added_p99_s.times(1e6).into(),
                    row.cpu_s.times(1e6).into(),
                    row.added_cpu_s.times(1e6).into(),
                    row.engine_cpu_s.map(|engine| engine.times(1e6)).into(),
                ],
            );
            if row.candidate == candidate::HOST {
                for (name, added, most) in [("p50", row.added_p50_s, 20.0), ("p99", row.added_p99_s, 100.0)] {
                    let Difference { median, low, high } = added.times(1e6);
                    goals.push((
                        format!(
                            "{}/s, {}: at most {most} µs more at {name}",
                            self.rate, row.candidate
                        ),
                        format!("{median:.0} µs ({low:.0} … {high:.0})"),
                        median <= most,
                    ));
                }
            }
        }
        let recorded = self.rows.iter().map(|row| (row.candidate, &row.latency));
        let plot = Plot::percentiles(&title, "µs", 1e-3, recorded);
        let report = report.with(table).with(plot);
        goals
            .into_iter()
            .fold(report, |report, (wanted, measured, is_met)| {
                report.goal(wanted, measured, is_met)
            })
    }
}

/// What all rounds recorded.
fn together(rounds: &[Round]) -> Result<Histogram<u64>> {
    let (first, others) = rounds.split_first().context("there was no round")?;
    let mut all = first.latency.clone();
    for round in others {
        all.add(&round.latency).context("adding histograms")?;
    }
    Ok(all)
}
