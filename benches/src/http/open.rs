//! Requests at a fixed rate, well below what the machine gets through: what a gateway adds to their latency, and what
//! CPU time it takes.

use std::{fmt, net::SocketAddrV4, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use xtask::lab::address;

use super::{Site, in_turn};
use crate::{
    client::{Client, Outcome, Pace, Request},
    cpu,
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
    /// Percentile and seconds, over all rounds.
    curve: Vec<(f64, f64)>,
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
        ask(site, rate, &requests)?;
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
    let rows = sites.iter().enumerate().map(|(candidate, site)| Row {
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
        curve: curve(&rounds[candidate]),
        rounds: rounds[candidate].clone(),
    });
    Ok(Comparison {
        rate,
        connections: CONNECTIONS,
        path: PATH,
        rows: rows.collect(),
    })
}

fn ask(site: &Site<'_>, rate: u32, requests: &[Request]) -> Result<Round> {
    let client = Client {
        target: SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT),
        sources: &[],
        connections: CONNECTIONS,
        patience: Duration::from_secs(5),
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
        outcome.refused == 0 && outcome.answered == outcome.ended,
        "{} of {} requests were not answered",
        outcome.refused,
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

/// Points of the distribution, ever closer to its end.
fn curve(rounds: &[Round]) -> Vec<(f64, f64)> {
    let Some(mut all) = rounds.first().map(|round| round.latency.clone()) else {
        return Vec::new();
    };
    for round in &rounds[1..] {
        // They have the same bounds.
        let _ = all.add(&round.latency);
    }
    let points = all.iter_quantiles(5);
    let points = points.map(|point| {
        let value = Duration::from_nanos(point.value_iterated_to());
        (point.quantile_iterated_to() * 1e2, value.as_secs_f64())
    });
    points.collect()
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rows.first().map_or(0, |row| row.rounds.len());
        write!(
            f,
            "open loop, {} requests/s for {}, {} connections, {rounds} rounds of {} s; µs\n{:<24} {:>8} {:>26} {:>8} {:>26} \
             {:>8} {:>24} {:>7}",
            self.rate,
            self.path,
            self.connections,
            LENGTH.as_secs(),
            "",
            "p50",
            "added (95 %)",
            "p99",
            "added (95 %)",
            "CPU",
            "added (95 %)",
            "engine"
        )?;
        self.rows.iter().try_for_each(|row| write!(f, "\n{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let difference = |Difference { median, low, high }: Difference| {
            format!("{:+.1} ({:+.1} … {:+.1})", median * 1e6, low * 1e6, high * 1e6)
        };
        write!(
            f,
            "{:<24} {:>8.1} {:>26} {:>8.1} {:>26} {:>8.1} {:>24}",
            self.candidate,
            self.p50_s.median * 1e6,
            difference(self.added_p50_s),
            self.p99_s.median * 1e6,
            difference(self.added_p99_s),
            self.cpu_s.median * 1e6,
            difference(self.added_cpu_s),
        )?;
        match &self.engine_cpu_s {
            Some(engine) => write!(f, " {:>7.1}", engine.median * 1e6),
            None => Ok(()),
        }
    }
}
