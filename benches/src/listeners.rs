//! A good client at a fixed rate while many listen to `/v1/events`: what its requests take, and whether one is lost.
//!
//! Five hundred WebSocket clients, a tenth of which do not read, are connected to the engine; then as many to a server that has nothing to
//! do with it and sends messages of the same size at the same rate (so that they take the same CPU time of the machine); then to nothing. The order
//! changes every round. One of ten requests is an attack, which is told to all who listen. Clients, load, engine and server share the
//! machine's cores.
//!
//! | module | what it is |
//! |---|---|
//! | `report` | what came out of it |
//! | `unrelated` | the server that has nothing to do with the engine |

mod report;
mod unrelated;

use std::{cell::Cell, net::SocketAddrV4, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{
    Audience, Heard, Lab, Listeners, Nginx, Options, Visit, Visits, address, engine_config, wait::wait_until,
};

use crate::{engine::Engine, machine::Machine};
use report::{Condition, Memory, Report};
use unrelated::{Stream, Unrelated};

/// Who listens, and how many of them do not read.
const CLIENTS: usize = 500;
const DEAF: usize = 50;
/// Requests a second, each on a connection of its own, and how many of them are one attack.
const RATE: u32 = 500;
const ATTACKS: u32 = 10;
/// How long an answer may take until the request counts as lost: far beyond any delay.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long messages that are on their way may take.
const ARRIVAL: Duration = Duration::from_secs(20);
/// What the engine may take more of memory while they listen: messages that are kept, and for each client what waits for it, its connection
/// and its tasks.
const MEMORY: u64 = (16 << 20) + CLIENTS as u64 * (96 << 10);

/// Sources stay unblocked: each attack is told and answered with a page.
const SETTINGS: [&str; 4] = [
    "engine.on_failure = \"drop\"",
    "reputation.threshold = 1000000",
    "events.clients = 512",
    "events.history = 128",
];
const EVENTS: &str = "/v1/events?topics=verdicts";
/// The engine's, in the lab's view of the file system.
const SOCKET: &str = "/run/portcullis/control.http.sock";

/// What one condition gave in one round.
struct Round {
    visits: Visits,
    heard: Vec<Heard>,
    memory: u64,
}

struct Site<'a> {
    lab: &'a Lab,
    engine: &'a Engine<'a>,
    seconds: u32,
    /// Visits so far: each has an address of its own.
    visits: Cell<u8>,
}

/// Runs the benchmark.
pub(crate) fn run(engine: &Path, quick: bool) -> Result<crate::report::Report> {
    let (rounds, seconds) = if quick { (1, 3) } else { (5, 10) };
    let machine = Machine::here();
    let lab = Lab::start(&Options::default())?;
    let _server = Nginx::start(&lab)?;
    lab.add_internet()?;
    let configuration = SETTINGS.join("\n") + "\n" + &engine_config::nginx_services();
    let engine = Engine::start(&lab, engine, &configuration)?;
    let site = Site {
        lab: &lab,
        engine: &engine,
        seconds,
        visits: Cell::new(1),
    };
    eprintln!(
        "listeners: {rounds} rounds of 3 conditions, about {} s",
        rounds * 3 * (seconds + 2)
    );
    // Also what makes patterns and fills tables.
    let any = Stream { bytes: 1, rate: 1 };
    site.round(Condition::Nobody, any)?;
    let before = engine.memory()?;
    let first = site.round(Condition::Engine, any)?;
    let (messages, bytes) = first.heard.iter().fold((0, 0), |(messages, bytes), heard| {
        (messages + heard.messages, bytes + heard.bytes)
    });
    ensure!(messages > 0, "nothing was told");
    let stream = Stream {
        bytes: (bytes / messages) as usize,
        rate: RATE / ATTACKS,
    };
    let mut results = Condition::ALL.map(|_| Vec::new());
    for round in 0..rounds {
        let mut order: Vec<_> = (0..Condition::ALL.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for number in order {
            let condition = Condition::ALL[number];
            let result = site
                .round(condition, stream)
                .with_context(|| condition.to_string())?;
            results[number].push(result);
        }
    }
    let listening = results[2]
        .iter()
        .map(|round| round.memory)
        .max()
        .unwrap_or(0)
        .max(first.memory);
    let memory = Memory {
        before,
        listening,
        after: engine.memory()?,
        bound: before + MEMORY,
    };
    engine.stop()?;
    let report = Report {
        machine,
        settings: SETTINGS.to_vec(),
        clients: CLIENTS,
        deaf: DEAF,
        rate: RATE,
        attacks: ATTACKS,
        seconds,
        rounds,
        message_bytes: stream.bytes,
        rows: report::rows(&results, f64::from(seconds)),
        memory,
    };
    report.check()?;
    report.report()
}

impl Site<'_> {
    fn round(&self, condition: Condition, stream: Stream) -> Result<Round> {
        let socket = self.lab.directory().join("unrelated.sock");
        let audience = |socket: &Path| Audience {
            socket: socket.to_owned(),
            path: EVENTS.to_owned(),
            count: CLIENTS,
            deaf: DEAF,
        };
        let mut server = None;
        let listeners = match condition {
            Condition::Nobody => None,
            Condition::Unrelated => {
                server = Some(Unrelated::start(&socket, stream, CLIENTS)?);
                Some(Listeners::connect(&audience(&socket))?)
            }
            Condition::Engine => {
                let connect = || Listeners::connect(&audience(Path::new(SOCKET)));
                Some(self.lab.gateway().enter(connect)??)
            }
        };
        let visits = self.visit()?;
        let memory = self.engine.memory()?;
        let told = u64::from(RATE * self.seconds / ATTACKS);
        let heard = listeners.map(|listeners| match condition {
            Condition::Engine => listeners.finish(told, ARRIVAL),
            _ => listeners.finish(0, Duration::ZERO),
        });
        let heard = heard.transpose()?.unwrap_or_default();
        server.map_or(Ok(()), Unrelated::stop)?;
        wait_until("the listeners having gone", ARRIVAL, || {
            self.engine.listeners().is_ok_and(|count| count == 0)
        })?;
        Ok(Round {
            visits,
            heard,
            memory,
        })
    }

    fn visit(&self) -> Result<Visits> {
        let number = self.visits.get();
        self.visits.set(number.wrapping_add(1).max(1));
        let [a, b, c, _] = address::VISITORS.0.octets();
        let visit = Visit {
            source: [a, b, c, number].into(),
            target: SocketAddrV4::new(address::SERVER_V4, address::NGINX_PORT),
            rate: RATE,
            requests: RATE * self.seconds,
            patience: PATIENCE,
            attacks: ATTACKS,
        };
        visit.run(self.lab.client())
    }
}
