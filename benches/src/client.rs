//! A client that keeps its connections: as fast as it is answered (a closed loop), or at a fixed rate whatever becomes of
//! the requests before (an open loop).
//!
//! In an open loop a request's latency counts from when it was due: one that had to wait for a connection, as those before it were
//! slow, has waited (no coordinated omission). One thread does everything and sleeps in between.

mod answer;
mod connection;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::{TimeSpec, TimeValLike as _},
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use xtask::lab::Namespace;

use crate::cpu;
use connection::{Connection, Progress, Room};

/// What the timer's events are told by.
const TIMER: u64 = u64::MAX;
/// How often patience is looked at, milliseconds.
const LOOK_MS: u8 = 10;

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Whether it is a HEAD, whose answer has no body.
    headless: bool,
}

impl Request {
    /// The request of these bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            headless: bytes.starts_with(b"HEAD "),
            bytes,
        }
    }

    /// A GET of a path from the lab's server.
    pub(crate) fn get(path: &str) -> Self {
        Self::new(
            format!("GET {path} HTTP/1.1\r\nHost: lab\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
                .into_bytes(),
        )
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as a connection is free, for so long.
    Closed(Duration),
    /// Each once, as soon as a connection is free.
    Once,
    /// So many a second, for so long.
    Open(u32, Duration),
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) target: SocketAddrV4,
    /// Where connections come from, in turn; the namespace's own address if there are none.
    pub(crate) sources: &'a [Ipv4Addr],
    pub(crate) connections: usize,
    /// How long an answer is waited for, from when the request was due; then its connection is given up.
    pub(crate) patience: Duration,
    /// What is asked for, over and over.
    pub(crate) requests: &'a [Request],
    /// The first of them.
    pub(crate) first: usize,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered, with this status.
    Answered(u16),
    /// The connection ended without an answer.
    Broken,
    /// There was no answer in time.
    Late,
}

/// What became of all of them.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each request, by its place in the list; of one that was sent more than once, the last.
    pub(crate) fates: Vec<Option<Fate>>,
    /// Answered requests.
    pub(crate) answered: u32,
    /// Those with status 403, broken and late.
    pub(crate) refused: u32,
    /// Of those the late ones, which say as much of the machine as of what is on the way.
    pub(crate) late: u32,
    /// Requests that had an end, whatever it was.
    pub(crate) ended: u32,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// Nanoseconds to the end of each answer that was no refusal.
    pub(crate) latency: Histogram<u64>,
    /// CPU time of the client's thread, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// The place in the list of the next request.
    pub(crate) next: usize,
}

impl Client<'_> {
    /// Sends requests from a namespace.
    pub(crate) fn run(&self, namespace: &Namespace, pace: Pace) -> Result<Outcome> {
        namespace.enter(|| Run::new(self, pace)?.run())?
    }
}

/// One of the client's connections.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// The request under way, and when it was due.
    underway: Option<(usize, Instant)>,
}

struct Run<'a> {
    client: &'a Client<'a>,
    pace: Pace,
    epoll: Epoll,
    timer: TimerFd,
    slots: Vec<Slot>,
    idle: VecDeque<usize>,
    outcome: Outcome,
    room: Room,
    start: Instant,
    begun: u64,
    opened: usize,
}

impl<'a> Run<'a> {
    fn new(client: &'a Client<'a>, pace: Pace) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        epoll.add(
            &timer,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
        )?;
        Ok(Self {
            client,
            pace,
            epoll,
            timer,
            slots: (0..client.connections).map(|_| Slot::default()).collect(),
            idle: (0..client.connections).collect(),
            outcome: Outcome {
                fates: vec![None; client.requests.len()],
                answered: 0,
                refused: 0,
                late: 0,
                ended: 0,
                seconds: 0.0,
                latency: Histogram::new_with_bounds(100, 60_000_000_000, 3).context("making a histogram")?,
                cpu_ns: 0,
                next: client.first,
            },
            room: Room::new(),
            start: Instant::now(),
            begun: 0,
            opened: 0,
        })
    }

    fn run(mut self) -> Result<Outcome> {
        self.connect()?;
        let cpu = cpu::of_this_thread()?;
        self.start = Instant::now();
        loop {
            self.begin()?;
            if self.is_over() {
                break;
            }
            self.wait()?;
        }
        self.outcome.seconds = self.start.elapsed().as_secs_f64();
        self.outcome.cpu_ns = cpu::of_this_thread()? - cpu;
        Ok(self.outcome)
    }

    /// All connections are there before the first request is due.
    fn connect(&mut self) -> Result<()> {
        for number in 0..self.slots.len() {
            self.slots[number].connection = Some(self.open(number)?);
        }
        let until = Instant::now() + self.client.patience;
        let mut waiting = self.slots.len();
        let mut events = [EpollEvent::empty(); 64];
        while waiting > 0 && Instant::now() < until {
            let opened = match self.epoll.wait(&mut events, EpollTimeout::from(LOOK_MS)) {
                Err(nix::errno::Errno::EINTR) => 0,
                other => other?,
            };
            waiting = waiting.saturating_sub(opened);
        }
        Ok(())
    }

    fn open(&mut self, number: usize) -> Result<Connection> {
        let sources = self.client.sources;
        let source = sources.get(self.opened % sources.len().max(1)).copied();
        self.opened += 1;
        Connection::open(source, self.client.target, &self.epoll, number)
    }

    /// When the request of this number is due; `None` if there is none.
    fn due(&self, number: u64) -> Option<Instant> {
        match self.pace {
            Pace::Closed(length) => {
                let now = Instant::now();
                (now - self.start < length).then_some(now)
            }
            Pace::Once => (number < self.client.requests.len() as u64).then(Instant::now),
            Pace::Open(rate, length) => {
                let at = Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
                (at < length).then(|| self.start + at)
            }
        }
    }

    fn is_over(&self) -> bool {
        self.idle.len() == self.slots.len() && self.due(self.begun).is_none()
    }

    /// Begins what is due, as far as there are connections.
    fn begin(&mut self) -> Result<()> {
        while let Some(due) = self.due(self.begun) {
            if due > Instant::now() {
                if matches!(self.pace, Pace::Open(..)) {
                    // Zero would disarm it.
                    let left = due.saturating_duration_since(Instant::now()).as_nanos().max(1);
                    let left = TimeSpec::nanoseconds(i64::try_from(left)?);
                    self.timer
                        .set(Expiration::OneShot(left), TimerSetTimeFlags::empty())?;
                }
                break;
            }
            let Some(number) = self.idle.pop_front() else {
                break;
            };
            self.begun += 1;
            let request = self.outcome.next;
            self.outcome.next = (request + 1) % self.client.requests.len();
            self.slots[number].underway = Some((request, due));
            if let Some(connection) = &mut self.slots[number].connection {
                connection.again();
                self.advance(number);
            } else {
                self.slots[number].connection = Some(self.open(number)?);
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, EpollTimeout::from(LOOK_MS)) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            if event.data() != TIMER {
                self.advance(event.data() as usize);
            }
        }
        if count < events.len() {
            let now = Instant::now();
            for number in 0..self.slots.len() {
                let due = self.slots[number].underway.map(|(_, due)| due);
                if due.is_some_and(|due| now - due > self.client.patience) {
                    self.settle(number, Fate::Late, true);
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let Some(connection) = &mut slot.connection else {
            return;
        };
        let Some((request, _)) = slot.underway else {
            // The server has closed an idle connection.
            if connection.is_closed() {
                slot.connection = None;
            }
            return;
        };
        match connection.advance(&self.client.requests[request], &mut self.room) {
            Progress::Underway => {}
            Progress::Answered(finished) => {
                self.settle(number, Fate::Answered(finished.status), finished.closes);
            }
            Progress::Broken => self.settle(number, Fate::Broken, true),
        }
    }

    fn settle(&mut self, number: usize, fate: Fate, closes: bool) {
        let slot = &mut self.slots[number];
        let Some((request, due)) = slot.underway.take() else {
            return;
        };
        if closes {
            slot.connection = None;
        }
        self.idle.push_back(number);
        let outcome = &mut self.outcome;
        outcome.fates[request] = Some(fate);
        outcome.ended += 1;
        if fate.is_refusal() {
            outcome.refused += 1;
        } else {
            outcome.latency.saturating_record(due.elapsed().as_nanos() as u64);
        }
        match fate {
            Fate::Answered(_) => outcome.answered += 1,
            Fate::Late => outcome.late += 1,
            Fate::Broken => {}
        }
    }
}

impl Fate {
    /// Whether something on the way did not want it.
    pub(crate) fn is_refusal(self) -> bool {
        !matches!(self, Self::Answered(status) if status != 403)
    }
}

impl Outcome {
    /// Requests a second that had an end.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.ended) / self.seconds
    }

    /// Seconds within which so many percent of the answers were.
    pub(crate) fn percentile_s(&self, percent: f64) -> f64 {
        Duration::from_nanos(self.latency.value_at_percentile(percent)).as_secs_f64()
    }
}
