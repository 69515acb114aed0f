//! A good client at a fixed rate while others flood: how many of its requests are answered in time.
//!
//! Labs: in one everything is inspected, one has rules of iptables against the same floods, the other forwards plainly. Each flood hits the service of the first lab, then, with the
//! good client still there, something unrelated (the same threads take the same CPU time, and the first lab has no part in it), then
//! the services of the other labs; the order changes every round. The good client has a new address and a new connection
//! for each request, so nothing has seen it before the flood.
//!
//! SYNs, UDP and ACKs are frames with forged addresses, each from another one, sent by one thread a kind through a packet socket; HTTP
//! requests come over real connections from addresses that are given up when they are blocked. Generator, client, gateway
//! and server share the machine's cores, and a frame on a virtual cable is received on its sender's time: the generator
//! slows down as the gateway does, so rates are those that both reach together.

mod rules;
mod sweep;

use std::{
    cell,
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddrV4,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::{
    lab::{
        Flood, FloodKind, Lab, Namespace, Nginx, Options, RequestFlood, Visit, Visits, address, engine_config,
    },
    peers::Peer,
};

use crate::{
    engine::Engine,
    machine::Machine,
    report::{Cell, Column, Report, Table},
};

/// Requests a second of the good client: some hundredths of what the machine answers.
const RATE: u32 = 100;
/// How long the good client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The flood goes on for so long before the good client comes, and there is as long a pause after it.
const LEAD: Duration = Duration::from_millis(500);

/// What an operator of a web server would set: it takes no UDP, no client asks that often, and so many SYNs are no visitors'.
/// Nothing passes unseen, so what is answered was inspected.
const SETTINGS: [&str; 4] = [
    "engine.on_failure = \"drop\"",
    "flood.challenge.syns = 2000",
    "flood.total.udp.rate = 1000",
    "limit = [{ name = \"client\", requests = 200, window_s = 1, action = \"block\" }]",
];

/// What comes beside the good client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    None,
    Frames(FloodKind),
    Requests,
    All,
}

impl Attack {
    const ALL: [Self; 6] = [
        Self::None,
        Self::Frames(FloodKind::Syn),
        Self::Frames(FloodKind::Udp),
        Self::Frames(FloodKind::Ack),
        Self::Requests,
        Self::All,
    ];

    fn frames(self) -> Vec<FloodKind> {
        match self {
            Self::None | Self::Requests => Vec::new(),
            Self::Frames(kind) => vec![kind],
            Self::All => FloodKind::ALL.to_vec(),
        }
    }

    fn has_requests(self) -> bool {
        matches!(self, Self::Requests | Self::All)
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Frames(kind) => f.pad(&kind.to_string()),
            Self::Requests => f.pad("http"),
            Self::All => f.pad("all"),
        }
    }
}

/// Where the flood goes, and which lab the good client is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Both at the service behind the engine.
    Inspected,
    /// The good client is behind the engine, the flood elsewhere.
    Elsewhere,
    /// Both at the service behind rules of iptables.
    Iptables,
    /// Both at the service without an engine.
    Plain,
}

impl Place {
    const ALL: [Self; 4] = [Self::Inspected, Self::Elsewhere, Self::Iptables, Self::Plain];

    fn exists(self, attack: Attack, with_iptables: bool) -> bool {
        match self {
            Self::Elsewhere => attack != Attack::None,
            Self::Iptables => with_iptables,
            Self::Inspected | Self::Plain => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inspected => "inspected",
            Self::Elsewhere => "inspected, flood elsewhere",
            Self::Iptables => "iptables",
            Self::Plain => "plain",
        })
    }
}

/// The result.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Keys of the engine's configuration beside its services.
    settings: Vec<&'static str>,
    /// How the XDP program is attached.
    attached: String,
    /// The good client's requests a second.
    rate: u32,
    /// How long it waits for an answer, seconds.
    patience_s: f64,
    /// Seconds of a round.
    seconds: u32,
    rounds: u32,
    rows: Vec<Row>,
    sweep: sweep::Sweep,
}

/// A flood at a place, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    flood: String,
    place: String,
    good: Good,
    /// Frames a second that the generator sent, by kind, the mean of the rounds.
    frames_per_s: BTreeMap<String, f64>,
    /// Of the flood's HTTP requests.
    requests_per_s: Option<RequestRates>,
    /// Packets a second that came to the good client's server.
    server_per_s: f64,
    /// What the XDP program of the inspected lab did meanwhile, packets a second by action and reason.
    xdp_per_s: BTreeMap<String, f64>,
    /// Packets a second that went on unscored, or that the rings lost.
    unscored_per_s: f64,
}

/// What became of the good client's requests.
#[derive(Debug, Serialize)]
struct Good {
    requests: u32,
    /// The part that was answered in time, 0..1.
    completed: f64,
    /// The part in the worst round.
    completed_worst: f64,
    refused: u32,
    broken: u32,
    late: u32,
    p50_s: f64,
    p99_s: f64,
}

#[derive(Debug, Default, Serialize)]
struct RequestRates {
    answered: f64,
    refused: f64,
    failed: f64,
}

/// A flood that is running.
struct Running {
    frames: Vec<(FloodKind, Flood)>,
    requests: Option<RequestFlood>,
}

/// What the engine has counted.
#[derive(Default)]
struct Counted {
    xdp: BTreeMap<String, f64>,
    unscored: f64,
}

/// Sums over the rounds of a row.
#[derive(Default)]
struct Sums {
    visits: Visits,
    worst: Option<f64>,
    frames: BTreeMap<String, f64>,
    requests: Option<RequestRates>,
    server: f64,
    xdp: BTreeMap<String, f64>,
    unscored: f64,
}

struct Site<'a> {
    inspected: &'a Lab,
    iptables: &'a Lab,
    plain: &'a Lab,
    engine: &'a Engine<'a>,
    seconds: u32,
    /// Visits so far: each has an address of its own.
    visits: cell::Cell<u8>,
}

/// Runs the benchmark.
pub(crate) fn run(binary: &Path, quick: bool) -> Result<Report> {
    let (rounds, seconds) = if quick { (1, 2) } else { (3, 6) };
    let machine = Machine::here();
    let lab = || Lab::start(&Options::default());
    let labs = [lab()?, lab()?, lab()?];
    let _servers = labs.iter().map(Nginx::start).collect::<Result<Vec<_>>>()?;
    for lab in &labs {
        lab.add_internet()?;
    }
    let [inspected, iptables, plain] = &labs;
    let with_iptables = Peer::Iptables.is_here();
    if with_iptables {
        rules::start(iptables, true)?;
    }
    inspected.client().ip(
        "link add sink type veth peer name drain\nlink set sink up arp off\nlink set drain up arp off\n",
    )?;
    let configuration = SETTINGS.join("\n") + "\n" + &engine_config::nginx_services();
    let engine = Engine::start(inspected, binary, &configuration)?;
    let site = Site {
        inspected,
        iptables,
        plain,
        engine: &engine,
        seconds,
        visits: cell::Cell::new(1),
    };
    let conditions: Vec<_> = Attack::ALL
        .into_iter()
        .flat_map(|attack| Place::ALL.map(|place| (attack, place)))
        .filter(|(attack, place)| place.exists(*attack, with_iptables))
        .collect();
    eprintln!(
        "flood: {rounds} rounds of {} conditions, about {} s",
        conditions.len(),
        rounds * conditions.len() as u32 * (seconds + 2)
    );
    let mut sums: Vec<Sums> = conditions.iter().map(|_| Sums::default()).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = (0..conditions.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for condition in order {
            let (attack, place) = conditions[condition];
            site.round(attack, place, &mut sums[condition])
                .with_context(|| format!("{attack}, {place}"))?;
        }
    }
    let rows = conditions.into_iter().zip(sums);
    let rows = rows
        .map(|((attack, place), sums)| sums.row(attack, place, rounds))
        .collect();
    let attached = attached(&engine)?;
    engine.stop()?;
    let outcome = Outcome {
        settings: SETTINGS.to_vec(),
        attached,
        rate: RATE,
        patience_s: PATIENCE.as_secs_f64(),
        seconds,
        rounds,
        rows,
        sweep: sweep::run(binary, quick, with_iptables)?,
    };
    let report = outcome.report(machine)?;
    Ok(if with_iptables {
        report
    } else {
        report.missing("iptables")
    })
}

impl Site<'_> {
    fn round(&self, attack: Attack, place: Place, sums: &mut Sums) -> Result<()> {
        let number = self.visits.get();
        self.visits.set(number.wrapping_add(1).max(1));
        let [a, b, c, _] = address::VISITORS.0.octets();
        let visit = Visit {
            source: [a, b, c, number].into(),
            target: service(),
            rate: RATE,
            requests: RATE * self.seconds,
            patience: PATIENCE,
            attacks: 0,
        };
        let running = self.flood(attack, place)?;
        thread::sleep(LEAD);
        let lab = self.lab(place);
        let before = counted(self.engine)?;
        let (at_server, start) = (received(lab.server())?, Instant::now());
        let visits = visit.run(lab.client())?;
        let seconds = start.elapsed().as_secs_f64();
        sums.server += (received(lab.server())? - at_server) / seconds;
        let after = counted(self.engine)?;
        ensure!(
            !visits.latencies.is_empty() || attack != Attack::None,
            "nothing was answered"
        );
        running.stop(sums)?;
        if matches!(place, Place::Inspected | Place::Elsewhere) {
            for (reason, packets) in after.xdp {
                let new = packets - before.xdp.get(&reason).copied().unwrap_or(0.0);
                *sums.xdp.entry(reason).or_default() += new / seconds;
            }
            sums.unscored += (after.unscored - before.unscored) / seconds;
        }
        sums.worst = Some(sums.worst.unwrap_or(1.0).min(visits.completed()));
        sums.visits.add(&visits);
        thread::sleep(LEAD);
        Ok(())
    }

    /// Where the good client is.
    fn lab(&self, place: Place) -> &Lab {
        match place {
            Place::Inspected | Place::Elsewhere => self.inspected,
            Place::Iptables => self.iptables,
            Place::Plain => self.plain,
        }
    }

    fn flood(&self, attack: Attack, place: Place) -> Result<Running> {
        let lab = self.lab(place);
        let interface = if place == Place::Elsewhere { "sink" } else { "eth0" };
        let hop = if place == Place::Elsewhere {
            lab.client().mac("drain")?
        } else {
            lab.gateway().mac("outside")?
        };
        let frames = attack.frames().into_iter().map(|kind| {
            let flood = Flood::start(lab.client(), interface, hop, kind, service(), None)?;
            Ok((kind, flood))
        });
        let frames = frames.collect::<Result<_>>()?;
        let of_requests = if place == Place::Elsewhere {
            self.plain
        } else {
            lab
        };
        let requests = attack
            .has_requests()
            .then(|| RequestFlood::start(of_requests.client(), service(), None));
        Ok(Running {
            frames,
            requests: requests.transpose()?,
        })
    }
}

impl Running {
    fn stop(self, sums: &mut Sums) -> Result<()> {
        for (kind, flood) in self.frames {
            *sums.frames.entry(kind.to_string()).or_default() += flood.stop()?.per_second();
        }
        if let Some(flood) = self.requests {
            let requests = flood.stop()?;
            let rates = sums.requests.get_or_insert_default();
            rates.answered += f64::from(requests.answered) / requests.seconds;
            rates.refused += f64::from(requests.refused) / requests.seconds;
            rates.failed += f64::from(requests.failed) / requests.seconds;
        }
        Ok(())
    }
}

impl Sums {
    fn row(mut self, attack: Attack, place: Place, rounds: u32) -> Row {
        let rounds = f64::from(rounds);
        for sum in self.frames.values_mut().chain(self.xdp.values_mut()) {
            *sum /= rounds;
        }
        self.xdp.retain(|_, packets| *packets > 0.0);
        let Visits {
            refused,
            broken,
            late,
            ..
        } = self.visits;
        Row {
            flood: attack.to_string(),
            place: place.to_string(),
            good: Good {
                requests: self.visits.latencies.len() as u32 + refused + broken + late,
                completed: self.visits.completed(),
                completed_worst: self.worst.unwrap_or(0.0),
                refused,
                broken,
                late,
                p50_s: self.visits.percentile(50).as_secs_f64(),
                p99_s: self.visits.percentile(99).as_secs_f64(),
            },
            frames_per_s: self.frames,
            requests_per_s: self.requests.map(|sum| RequestRates {
                answered: sum.answered / rounds,
                refused: sum.refused / rounds,
                failed: sum.failed / rounds,
            }),
            server_per_s: self.server / rounds,
            xdp_per_s: self.xdp,
            unscored_per_s: self.unscored / rounds,
        }
    }
}

fn service() -> SocketAddrV4 {
    SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT)
}

/// Packets that a namespace has received on its link.
fn received(namespace: &Namespace) -> Result<f64> {
    // Not of the process: of the thread, which is the one that has entered.
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("eth0:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(packets.context("no such interface")?.parse()?)
}

fn status(engine: &Engine<'_>) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&engine.ask(&["status", "--json"])?)?)
}

fn attached(engine: &Engine<'_>) -> Result<String> {
    let status = status(engine)?;
    let mode = status["xdp_mode"].as_str().map(str::to_owned);
    mode.with_context(|| format!("the status has no xdp_mode: {status}"))
}

fn counted(engine: &Engine<'_>) -> Result<Counted> {
    let status = status(engine)?;
    let mut counted = Counted::default();
    for counter in status["xdp"].as_array().context("the status has no xdp")? {
        let (action, reason) = (counter["action"].as_str(), counter["reason"].as_str());
        let name = format!("{} {}", action.unwrap_or_default(), reason.unwrap_or_default());
        counted
            .xdp
            .insert(name, counter["packets"].as_f64().unwrap_or(0.0));
    }
    for queue in status["queues"].as_array().into_iter().flatten() {
        let unscored = queue["unscored"]
            .as_object()
            .into_iter()
            .flat_map(|by| by.values());
        counted.unscored += unscored.filter_map(serde_json::Value::as_f64).sum::<f64>();
        counted.unscored += queue["lost"].as_f64().unwrap_or(0.0);
    }
    Ok(counted)
}

impl Outcome {
    fn report(&self, machine: Machine) -> Result<Report> {
        let title = format!(
            "A good client at {} requests/s, each on a new connection, with {} s for the answer, while others flood; {} XDP; {} \
             rounds of {} s",
            self.rate, self.patience_s, self.attached, self.rounds, self.seconds
        );
        let mut good = Table::new(
            "flood",
            [
                Column::more("answered", "%"),
                Column::new("in the worst round", "%"),
                Column::less("p50", "ms"),
                Column::less("p99", "ms"),
                Column::new("at the good client's server", "packets/s"),
            ],
        );
        let mut floods = Table::new(
            "what was sent, and what became of it",
            [Column::new("a second", "")],
        );
        for row in &self.rows {
            let name = format!("{}, {}", row.flood, row.place);
            let Good {
                completed,
                completed_worst,
                p50_s,
                p99_s,
                ..
            } = row.good;
            good.row(
                name.clone(),
                [
                    completed * 1e2,
                    completed_worst * 1e2,
                    p50_s * 1e3,
                    p99_s * 1e3,
                    row.server_per_s,
                ]
                .map(Cell::from),
            );
            floods.row(name, [Cell::from(row.fates())]);
        }
        let report = Report::on(machine, "flood", title)
            .with(good.bars("%"))
            .with(good)
            .with(floods);
        self.sweep
            .add_to(report)
            .note(format!(
                "configuration beside the services: {}",
                self.settings.join(", ")
            ))
            .measured(self)
    }
}

impl Row {
    fn fates(&self) -> String {
        let mut parts: Vec<String> = self
            .frames_per_s
            .iter()
            .map(|(kind, rate)| format!("{kind} {rate:.0}"))
            .collect();
        if let Some(rates) = &self.requests_per_s {
            parts.push(format!(
                "http {:.0} answered, {:.0} refused, {:.0} failed",
                rates.answered, rates.refused, rates.failed
            ));
        }
        let mut fates: Vec<_> = self.xdp_per_s.iter().collect();
        fates.sort_by(|a, b| b.1.total_cmp(a.1));
        let fates = fates.into_iter().take(4);
        parts.extend(fates.map(|(reason, packets)| format!("{reason} {packets:.0}")));
        if self.unscored_per_s > 0.0 {
            parts.push(format!("unscored or lost {:.0}", self.unscored_per_s));
        }
        parts.join("; ")
    }
}
