//! What a good client gets done against the rate of a flood, from none to the most that one thread sends.
//!
//! The client keeps a few connections busy, each for one request, and opens the next one as soon as it is answered, from a few addresses
//! in turn. It asks more often than any limit for a client would have it, so there is none.

use std::{net::SocketAddrV4, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use xtask::lab::{Flood, FloodKind, Lab, Nginx, Options, address, engine_config};

use super::{LEAD, rules, service};
use crate::{
    client::{Client, Pace, Request},
    engine::Engine,
    report::{Axis, Column, Line, Plot, Report, Scale, Table},
    statistics::Figure,
};

/// Frames a second; `None` is the most there is.
const RATES: [Option<u32>; 6] = [
    Some(0),
    Some(50_000),
    Some(100_000),
    Some(200_000),
    Some(400_000),
    None,
];
/// Connections at once.
const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses of the client: a port of one is not taken again soon, which connection tracking would mind.
const SOURCES: u8 = 32;

/// As in the other part, without the limit of each client.
const SETTINGS: &str =
    "engine.on_failure = \"drop\"\nflood.challenge.syns = 2000\nflood.total.udp.rate = 1000\n";

const CANDIDATES: [&str; 3] = ["plain", "iptables", "Portcullis"];

/// The result.
#[derive(Debug, Serialize)]
pub(super) struct Sweep {
    connections: usize,
    points: Vec<Point>,
}

/// One flood at one rate.
#[derive(Debug, Serialize)]
struct Point {
    flood: String,
    /// Frames a second that were asked for; none: as many as go.
    asked: Option<u32>,
    candidates: Vec<Good>,
}

#[derive(Debug, Serialize)]
struct Good {
    candidate: &'static str,
    /// Frames a second that the generator sent.
    frames_per_s: Figure,
    /// Requests a second, answered, each on a connection of its own.
    requests_per_s: Figure,
    p50_s: Figure,
    p99_s: Figure,
    /// Requests that had no answer in time, over all rounds.
    failed: u32,
}

#[derive(Default)]
struct Rounds {
    frames: Vec<f64>,
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: u32,
}

/// Runs it.
pub(super) fn run(engine: &Path, quick: bool, with_iptables: bool) -> Result<Sweep> {
    let (rounds, seconds) = if quick { (1, 1) } else { (3, 2) };
    let names: Vec<&'static str> = CANDIDATES
        .into_iter()
        .filter(|name| *name != "iptables" || with_iptables)
        .collect();
    let labs = names
        .iter()
        .map(|_| Lab::start(&Options::default()))
        .collect::<Result<Vec<_>>>()?;
    let _servers = labs.iter().map(Nginx::start).collect::<Result<Vec<_>>>()?;
    let mut engines = Vec::new();
    for (name, lab) in names.iter().zip(&labs) {
        lab.add_internet()?;
        match *name {
            "iptables" => rules::start(lab, false)?,
            "Portcullis" => {
                let configuration = SETTINGS.to_owned() + &engine_config::nginx_services();
                engines.push(Engine::start(lab, engine, &configuration)?);
            }
            _ => {}
        }
    }
    eprintln!(
        "flood: sweep over {} rates, about {} s",
        RATES.len(),
        rounds * FloodKind::ALL.len() * RATES.len() * names.len() * (seconds + 1)
    );
    let length = Duration::from_secs(seconds as u64);
    let mut points = Vec::new();
    for kind in FloodKind::ALL {
        for rate in RATES {
            let mut sums: Vec<Rounds> = names.iter().map(|_| Rounds::default()).collect();
            for round in 0..rounds {
                let mut order: Vec<_> = (0..names.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for candidate in order {
                    measure(&labs[candidate], kind, rate, length, &mut sums[candidate])
                        .with_context(|| format!("{kind}, {}", names[candidate]))?;
                }
            }
            let candidates = names.iter().zip(sums).map(|(candidate, sums)| Good {
                candidate,
                frames_per_s: Figure::of(sums.frames),
                requests_per_s: Figure::of(sums.rates),
                p50_s: Figure::of(sums.p50),
                p99_s: Figure::of(sums.p99),
                failed: sums.failed,
            });
            points.push(Point {
                flood: kind.to_string(),
                asked: rate,
                candidates: candidates.collect(),
            });
        }
    }
    engines.into_iter().try_for_each(Engine::stop)?;
    Ok(Sweep {
        connections: CONNECTIONS,
        points,
    })
}

fn measure(lab: &Lab, kind: FloodKind, rate: Option<u32>, length: Duration, sums: &mut Rounds) -> Result<()> {
    let request =
        b"GET /1k HTTP/1.1\r\nHost: lab\r\nUser-Agent: good\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    let requests = [Request::new(request.to_vec())];
    let [a, b, c, _] = address::VISITORS.0.octets();
    let sources: Vec<_> = (1..=SOURCES).map(|d| [a, b, c, d].into()).collect();
    let client = Client {
        target: SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT),
        sources: &sources,
        connections: CONNECTIONS,
        patience: PATIENCE,
        requests: &requests,
        first: 0,
    };
    let flood = match rate {
        Some(0) => None,
        rate => Some(Flood::start(
            lab.client(),
            "eth0",
            lab.gateway().mac("outside")?,
            kind,
            service(),
            rate,
        )?),
    };
    thread::sleep(LEAD);
    let outcome = client.run(lab.client(), Pace::Closed(length))?;
    sums.frames
        .push(flood.map_or(Ok(0.0), |flood| flood.stop().map(|sent| sent.per_second()))?);
    sums.rates.push(f64::from(outcome.answered) / outcome.seconds);
    sums.p50.push(outcome.percentile_s(50.0));
    sums.p99.push(outcome.percentile_s(99.0));
    sums.failed += outcome.refused;
    thread::sleep(LEAD);
    Ok(())
}

impl Sweep {
    /// A table, and for each flood what the client gets done over what is sent.
    pub(super) fn add_to(&self, report: Report) -> Report {
        let mut table = Table::new(
            format!(
                "a good client on {} connections, each for one request, against the rate of a flood",
                self.connections
            ),
            [
                Column::new("flood", "frames/s"),
                Column::more("answered", "requests/s"),
                Column::less("p50", "ms"),
                Column::less("p99", "ms"),
                Column::less("failed", "requests"),
            ],
        );
        for point in &self.points {
            let asked = point.asked.map_or("the most".to_owned(), |rate| rate.to_string());
            for good in &point.candidates {
                table.row(
                    format!("{} {asked}, {}", point.flood, good.candidate),
                    [
                        good.frames_per_s.into(),
                        good.requests_per_s.into(),
                        good.p50_s.times(1e3).into(),
                        good.p99_s.times(1e3).into(),
                        u64::from(good.failed).into(),
                    ],
                );
            }
        }
        FloodKind::ALL
            .into_iter()
            .fold(report.with(table), |report, kind| report.with(self.plot(kind)))
    }

    fn plot(&self, kind: FloodKind) -> Plot {
        let kind = kind.to_string();
        let points: Vec<_> = self.points.iter().filter(|point| point.flood == kind).collect();
        let names = points.first().into_iter().flat_map(|point| &point.candidates);
        let lines = names.enumerate().map(|(place, good)| Line {
            name: good.candidate.to_owned(),
            points: points
                .iter()
                .map(|point| &point.candidates[place])
                .map(|good| (good.frames_per_s.median, good.requests_per_s.median))
                .collect(),
        });
        let axis = |title: &str| Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
        };
        Plot {
            title: format!("a good client against {kind}"),
            x: axis("frames/s of the flood"),
            y: axis("requests/s answered"),
            lines: lines.collect(),
        }
    }
}
