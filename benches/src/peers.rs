//! The same traffic through Portcullis and through what others put in its place: Suricata, nginx with `ModSecurity`, and Portcullis's own
//! scoring engine where the kernel's `NFQUEUE` brings it the packets, which says what going past the kernel is worth.
//!
//! A list of recorded requests with attacks among them goes through each candidate once, and what is refused is counted; then candidates
//! take turns in a closed loop, with one request over and over and with the list. Client, gateway and server share the machine's
//! cores. Every candidate gives a verdict on every request: Portcullis does not block the source of an attack here, which is the only
//! client. Each resets or closes the connection of an attack, and the client opens another one.

mod mix;
mod modsecurity;
mod signatures;
mod suricata;

use std::{
    cell,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::{
    lab::{Gateway, Lab, Nginx, Options, address, engine_config},
    peers::Peer,
};

use crate::{
    client::{Client, Fate, Outcome, Pace, Request},
    engine::Engine,
    machine::Machine,
    nfqueue::{self, Verdicts},
    process::Process,
    report::{Cell, Column, Report, Table},
    statistics::{Figure, Ratio},
};
use mix::Mix;
use suricata::Inline;

/// The server's port that answers any request.
const PORT: u16 = address::NGINX_ANSWERS_PORT;
const CONNECTIONS: usize = 64;
/// More than any answer takes; what is dropped without a reset keeps its connection so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Beside the service: the only client stays.
const SETTINGS: &str = "reputation.points_per_block = 0\n";

/// What stands between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Portcullis(Gateway),
    Queue(Verdicts),
    Suricata(Inline, Rules),
    ModSecurity,
}

/// Suricata's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Three,
    Translated,
}

/// The candidate that the goal is about.
const SURICATA: &str = "Suricata, NFQUEUE, 3 rules";

/// The first is the measure of all, the second is what the others are compared with.
const CANDIDATES: [(Kind, &str); 9] = [
    (Kind::Plain, "plain forwarding"),
    (Kind::Portcullis(Gateway::Router), "Portcullis, host"),
    (Kind::Portcullis(Gateway::Bridge), "Portcullis, bridge"),
    (
        Kind::Queue(Verdicts::Synchronous),
        "own scorer, NFQUEUE, synchronous",
    ),
    (
        Kind::Queue(Verdicts::Asynchronous),
        "own scorer, NFQUEUE, asynchronous",
    ),
    (Kind::Suricata(Inline::Queue, Rules::Three), SURICATA),
    (
        Kind::Suricata(Inline::Queue, Rules::Translated),
        "Suricata, NFQUEUE, 3 + translated",
    ),
    (
        Kind::Suricata(Inline::Packet, Rules::Three),
        "Suricata, AF_PACKET, 3 rules",
    ),
    (Kind::ModSecurity, "nginx + ModSecurity + CRS"),
];

/// The result.
#[derive(Debug, Serialize)]
struct Comparison {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    candidate: &'static str,
    detection: Detection,
    /// One request over and over.
    get: Load,
    /// The list.
    mix: Load,
}

/// What became of the list, each request sent once.
#[derive(Debug, Serialize)]
struct Detection {
    attacks: usize,
    refused: usize,
    benign: usize,
    benign_refused: usize,
}

#[derive(Debug, Serialize)]
struct Load {
    requests_per_s: Figure,
    p50_s: Figure,
    p99_s: Figure,
    /// Requests a second, over those of plain forwarding.
    of_plain: Ratio,
    /// Those of Portcullis in host mode, over these.
    portcullis: Ratio,
    rates: Vec<f64>,
    /// Requests that were refused, over all rounds.
    refused: u32,
}

/// What runs in a gateway.
enum Running<'a> {
    Kernel,
    Engine(Engine<'a>),
    Process(Process),
}

struct Site<'a> {
    kind: Kind,
    name: &'static str,
    lab: &'a Lab,
    running: Running<'a>,
    /// Where in the list the next round begins.
    place: cell::Cell<usize>,
}

/// A load and how it is found in a row.
type Named = (&'static str, fn(&Row) -> &Load);

/// What a round gave.
struct Round {
    rate: f64,
    p50_s: f64,
    p99_s: f64,
    refused: u32,
}

/// Runs the benchmark.
pub(crate) fn run(engine: &Path, data: &Path, quick: bool) -> Result<Report> {
    let (rounds, seconds) = if quick { (2, 1) } else { (10, 2) };
    let machine = Machine::here();
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    let mix = mix::read(data)?;
    let candidates = CANDIDATES.into_iter().filter(|(kind, name)| {
        let lacking: Vec<_> = kind.needs().iter().filter(|peer| !peer.is_here()).collect();
        missing.extend(
            lacking
                .iter()
                .map(|peer| format!("{name}, for lack of {}", peer.name())),
        );
        lacking.is_empty()
    });
    let candidates: Vec<_> = candidates.collect();
    let labs = candidates
        .iter()
        .map(|(kind, _)| Lab::start(&kind.options()))
        .collect::<Result<Vec<_>>>()?;
    let _servers = labs.iter().map(Nginx::start).collect::<Result<Vec<_>>>()?;
    let mut sites = Vec::new();
    for ((kind, name), lab) in candidates.into_iter().zip(&labs) {
        sites.push(Site {
            kind,
            name,
            lab,
            running: kind.start(lab, engine, &mut notes).with_context(|| name)?,
            place: cell::Cell::new(0),
        });
    }
    let mut detections = Vec::new();
    for site in &sites {
        eprintln!("peers: {} requests through {}", mix.requests.len(), site.name);
        detections.push(site.detect(&mix)?);
    }
    ensure!(
        detections[0].refused + detections[0].benign_refused == 0,
        "requests were not answered without a filter: {:?}",
        detections[0]
    );
    eprintln!(
        "peers: {rounds} rounds of {} candidates, about {} s",
        sites.len(),
        rounds * sites.len() * (seconds + 1)
    );
    let get = [Request::get("/")];
    let mut results: Vec<(Vec<Round>, Vec<Round>)> = sites.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = (0..sites.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for candidate in order {
            let site = &mut sites[candidate];
            let (gets, mixes) = &mut results[candidate];
            gets.push(site.round(&get, 1)?);
            mixes.push(site.round(&mix.requests, seconds as u64)?);
            site.check()?;
        }
    }
    let (gets, mixes): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let rows = sites
        .iter()
        .zip(detections)
        .zip(loads(&gets).into_iter().zip(loads(&mixes)));
    let rows = rows.map(|((site, detection), (get, mix))| Row {
        candidate: site.name,
        detection,
        get,
        mix,
    });
    let comparison = Comparison { rows: rows.collect() };
    let mut report = Report::on(machine, "peers", "The same traffic through others");
    report.missing = missing;
    report.notes = notes;
    comparison.add_to(report)
}

fn loads(rounds: &[Vec<Round>]) -> Vec<Load> {
    let rates: Vec<Vec<f64>> = rounds
        .iter()
        .map(|rounds| rounds.iter().map(|round| round.rate).collect())
        .collect();
    let loads = rounds.iter().zip(&rates).map(|(rounds, own)| Load {
        requests_per_s: Figure::of(own.iter().copied()),
        p50_s: Figure::of(rounds.iter().map(|round| round.p50_s)),
        p99_s: Figure::of(rounds.iter().map(|round| round.p99_s)),
        of_plain: Ratio::of(own, &rates[0]),
        portcullis: Ratio::of(&rates[1], own),
        rates: own.clone(),
        refused: rounds.iter().map(|round| round.refused).sum(),
    });
    loads.collect()
}

impl Kind {
    fn needs(self) -> &'static [Peer] {
        match self {
            Self::Plain | Self::Portcullis(_) => &[],
            Self::Queue(_) => &[Peer::Iptables],
            Self::Suricata(Inline::Queue, _) => &[Peer::Suricata, Peer::Iptables],
            Self::Suricata(Inline::Packet, _) => &[Peer::Suricata],
            Self::ModSecurity => &[Peer::ModSecurity],
        }
    }

    fn options(self) -> Options {
        let mut options = Options::default();
        if let Self::Portcullis(gateway) = self {
            options.gateway = gateway;
        }
        if self == Self::Suricata(Inline::Packet, Rules::Three) {
            use xtask::lab::Offload::Off;
            // Its sockets take frames as they are on the wire.
            options = Options {
                gateway: Gateway::Bridge,
                client_offload: Off,
                client_segmentation: Off,
                server_offload: Off,
                gateway_offload: Off,
                ..options
            };
        }
        options
    }

    fn start<'a>(self, lab: &'a Lab, engine: &'a Path, notes: &mut Vec<String>) -> Result<Running<'a>> {
        match self {
            Self::Plain => Ok(Running::Kernel),
            Self::Portcullis(_) => {
                let text = SETTINGS.to_owned() + &engine_config::services(PORT, "all");
                Engine::start(lab, engine, &text).map(Running::Engine)
            }
            Self::Queue(verdicts) => nfqueue::start(lab, PORT, verdicts).map(Running::Process),
            Self::ModSecurity => modsecurity::start(lab).map(Running::Process),
            Self::Suricata(inline, Rules::Three) => {
                suricata::start(lab, inline, signatures::THREE).map(Running::Process)
            }
            Self::Suricata(inline, Rules::Translated) => {
                let translation = signatures::translate()?;
                let signatures = [signatures::THREE, &translation.text].concat();
                let process = suricata::start(lab, inline, &signatures)?;
                let refused = process.log().matches("error parsing signature").count();
                let signatures = translation.text.lines().count();
                notes.push(format!(
                    "translated: {} of Portcullis's {} rules, as {signatures} signatures, of which Suricata did not take {refused}",
                    translation.rules, translation.of
                ));
                Ok(Running::Process(process))
            }
        }
    }
}

impl Site<'_> {
    fn client<'a>(&self, requests: &'a [Request], patience: Duration) -> Client<'a> {
        let address: Ipv4Addr = if self.kind == Kind::ModSecurity {
            address::OUTSIDE_V4
        } else {
            address::SERVER_V4
        };
        Client {
            target: SocketAddrV4::new(address, PORT),
            sources: &[],
            connections: CONNECTIONS,
            patience,
            requests,
            first: self.place.get() % requests.len(),
        }
    }

    fn ask(&self, requests: &[Request], pace: Pace) -> Result<Outcome> {
        // What is counted does not depend on a slow moment.
        let patience = match pace {
            Pace::Once => 4 * PATIENCE,
            Pace::Closed(_) | Pace::Open(..) => PATIENCE,
        };
        self.client(requests, patience)
            .run(self.lab.client(), pace)
            .with_context(|| self.name)
    }

    fn detect(&self, mix: &Mix) -> Result<Detection> {
        let outcome = self.ask(&mix.requests, Pace::Once)?;
        let refused = |attack: bool| {
            let fates = outcome.fates.iter().zip(&mix.attacks);
            fates
                .filter(|(fate, is)| **is == attack && fate.is_none_or(Fate::is_refusal))
                .count()
        };
        let attacks = mix.attacks.iter().filter(|attack| **attack).count();
        Ok(Detection {
            attacks,
            refused: refused(true),
            benign: mix.attacks.len() - attacks,
            benign_refused: refused(false),
        })
    }

    fn round(&self, requests: &[Request], seconds: u64) -> Result<Round> {
        let outcome = self.ask(requests, Pace::Closed(Duration::from_secs(seconds)))?;
        if requests.len() > 1 {
            self.place.set(outcome.next);
        } else if matches!(self.kind, Kind::Plain | Kind::Portcullis(_)) {
            ensure!(
                outcome.refused == outcome.late,
                "{}: {} of {} plain requests were refused",
                self.name,
                outcome.refused - outcome.late,
                outcome.ended
            );
        }
        Ok(Round {
            rate: outcome.rate(),
            p50_s: outcome.percentile_s(50.0),
            p99_s: outcome.percentile_s(99.0),
            refused: outcome.refused,
        })
    }

    /// Fails if what runs in the gateway has ended.
    fn check(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Kernel => Ok(()),
            Running::Engine(engine) => engine.status().map(drop),
            Running::Process(process) => process.check(),
        }
    }
}

impl Comparison {
    fn add_to(&self, mut report: Report) -> Result<Report> {
        let mut detection = Table::new(
            "each request of the list once",
            [
                Column::more("attacks refused", "%"),
                Column::less("benign requests refused", "%"),
                Column::new("of attacks", ""),
                Column::new("of benign requests", ""),
            ],
        );
        for row in &self.rows {
            let Detection {
                attacks,
                refused,
                benign,
                benign_refused,
            } = row.detection;
            detection.row(
                row.candidate,
                [
                    share(refused, attacks),
                    share(benign_refused, benign),
                    attacks.into(),
                    benign.into(),
                ],
            );
        }
        report = report.with(detection);
        let loads: [Named; 2] = [
            ("one GET over and over", |row| &row.get),
            ("the list over and over", |row| &row.mix),
        ];
        for (what, load) in loads {
            let mut table = Table::new(
                format!("{what}, closed loop, {CONNECTIONS} connections"),
                [
                    Column::more("rate", "requests/s"),
                    Column::less("p50", "ms"),
                    Column::less("p99", "ms"),
                    Column::new("refused", "requests"),
                    Column::more("of plain (95 %)", ""),
                    Column::new("Portcullis in host mode / this (95 %)", ""),
                ],
            );
            for row in &self.rows {
                let load = load(row);
                table.row(
                    row.candidate,
                    [
                        load.requests_per_s.into(),
                        load.p50_s.times(1e3).into(),
                        load.p99_s.times(1e3).into(),
                        u64::from(load.refused).into(),
                        load.of_plain.into(),
                        load.portcullis.into(),
                    ],
                );
                if row.candidate == SURICATA {
                    let Ratio { median, low, high } = load.portcullis;
                    report = report.goal(
                        format!("{what}: Portcullis in host mode at least 2.5 times {SURICATA}"),
                        format!("{median:.2} ({low:.2} … {high:.2})"),
                        median >= 2.5,
                    );
                }
            }
            report = report.with(table.bars("requests/s")).with(table);
        }
        report
            .note("client, gateway and server share the machine's cores; nginx in the server has the last one for itself")
            .note("each candidate has one queue; nginx in the gateway a worker for each core")
            .measured(self)
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
fn share(part: usize, of: usize) -> Cell {
    Cell::from(part as f64 / of as f64 * 1e2)
}
