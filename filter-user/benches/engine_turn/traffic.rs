//! Benign keep-alive traffic through the loop on in-memory rings, with frames that are used again.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use filter_common::{Address, FlowKey, FlowState};
use filter_score::{Policies, Policy, RuleSet, Scorer, builtin_packs};
use filter_user::{
    client::Clients,
    config::{Config, FailurePolicy, Respond},
    engine::{
        Command, EngineCounters, Event, PaceLimits, SharedCounters, Worker, WorkerConfig,
        memory::{MemoryClock, MemoryMaps, MemoryRings},
        page::Page,
    },
    flow::{
        StreamLimits,
        checksum::{self, PseudoHeader},
        table::TableLimits,
    },
    latency::LatencyBook,
    limit::Counts,
    tuning::ServiceNumbers,
};
use nix::time::{ClockId, clock_gettime};

/// A request of 242 bytes.
pub(crate) const REQUEST: &[u8; 242] =
    b"GET /shop/products/garden/chairs?page=2&sort=price&colour=green HTTP/1.1\r\n\
Host: www.shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128)\r\n\
Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-GB\r\nConnection: keep-alive\r\n\r\n";

/// Frames that the loop takes at once.
pub(crate) const BATCH: usize = 64;
const IP: usize = 14;
const TCP: usize = IP + 20;
const PAYLOAD: usize = TCP + 20;
const SERVER: [u8; 4] = [10, 200, 0, 2];
const FLAG_SYN: u8 = 2;
const FLAG_ACK: u8 = 16;
const FLAG_PSH: u8 = 8;
/// Virtual time between two batches.
const STEP_NS: u64 = 64_000;

/// One limit, by method and path, that every request is counted for.
const LIMIT: &str = "[[limit]]\nname = \"shop\"\nmethods = [\"GET\"]\npaths = [\"/shop\"]\nrequests = 1000000\n\
window_s = 1\naction = \"log\"\n";

/// What becomes of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each is scored.
    Scored,
    /// The scorer knows them.
    Known,
    /// It knows them, and a limit counts them.
    Counted,
}

pub(crate) struct Traffic {
    pub(crate) worker: Worker<MemoryRings, MemoryMaps, MemoryClock>,
    clock: MemoryClock,
    now: u64,
    /// The next sequence number of each flow's client.
    pub(crate) next: Vec<u32>,
    /// Walks over the flows in an order that no cache predicts.
    walk: u32,
    free: Vec<Vec<u8>>,
    /// The flows with a segment in the ring.
    batch: Vec<u32>,
    _events: Receiver<Event>,
    _commands: SyncSender<Command>,
}

impl Traffic {
    /// As many open connections, each with one request behind it.
    pub(crate) fn new(flows: u32, kind: Kind) -> Self {
        Self::with_capacity(flows, 65_536, kind)
    }

    /// As [`Traffic::new`], with room for as many connections.
    pub(crate) fn with_capacity(flows: u32, capacity: u32, kind: Kind) -> Self {
        let clock = MemoryClock::default();
        let (events, receiver) = mpsc::sync_channel(1024);
        let (commands, commands_out) = mpsc::sync_channel(16);
        let rules = Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs are tested"));
        let settings = Config::parse("limits", LIMIT, None, &[]).expect("right");
        let clients = Arc::new(Clients::new(&settings, &settings.services()));
        let policies = Policies::single(rules, Policy::default()).noting_heads(kind == Kind::Counted);
        let entries = if kind == Kind::Scored { 0 } else { 1024 };
        let worker = Worker::new(
            config(capacity),
            MemoryRings::default(),
            MemoryMaps::default(),
            clock.clone(),
            Scorer::with_policies(Arc::new(policies), 1024).with_cache(entries, &[7; 16]),
            Arc::new(SharedCounters::default()),
            LatencyBook::new(1).1.remove(0),
            events,
            commands_out,
        );
        let worker = match kind {
            Kind::Counted => worker
                .serving(ServiceNumbers::new(&settings.services()))
                .knowing(clients)
                .counting(Arc::new(Counts::new(65_536))),
            Kind::Scored | Kind::Known => worker,
        };
        let mut traffic = Self {
            worker,
            clock,
            now: 1,
            next: vec![1; flows as usize],
            walk: 1,
            free: (0..BATCH).map(|_| Vec::with_capacity(2048)).collect(),
            batch: Vec::with_capacity(BATCH),
            _events: receiver,
            _commands: commands,
        };
        for flow in 0..flows {
            traffic.push(flow, FLAG_SYN, b"");
            traffic.turn();
            traffic.push(flow, FLAG_ACK | FLAG_PSH, REQUEST);
            traffic.turn();
        }
        traffic
    }

    /// So many requests (at most [`BATCH`]), each on any of the flows, and what CPU time the loop took for them.
    /// Then the servers acknowledge them.
    pub(crate) fn requests(&mut self, count: usize) -> Duration {
        for _ in 0..count {
            self.walk = self.walk.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let flow = (u64::from(self.walk) * self.next.len() as u64) >> 32;
            self.push(flow as u32, FLAG_ACK | FLAG_PSH, REQUEST);
        }
        self.turn()
    }

    pub(crate) fn counters(&mut self) -> EngineCounters {
        self.worker.counters().clone()
    }

    fn turn(&mut self) -> Duration {
        self.now += STEP_NS;
        self.clock.set(self.now);
        let start = cpu_time();
        let goes_on = self.worker.turn();
        let took = cpu_time().saturating_sub(start);
        assert!(matches!(goes_on, Ok(true)));
        let forwarded = &mut self.worker.rings_mut().forwarded;
        self.free.append(forwarded);
        let flows = &mut self.worker.maps_mut().flows;
        for flow in self.batch.drain(..) {
            let state = flows.entry(key(flow)).or_insert(FlowState::inspect(0));
            state.server_flags = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
            state.server_opened = 2;
            state.server_ack = self.next[flow as usize];
        }
        took
    }

    /// Writes a segment of a flow into a free frame and puts it into the ring.
    fn push(&mut self, flow: u32, flags: u8, payload: &[u8]) {
        let source = source(flow);
        let next = &mut self.next[flow as usize];
        let seq = *next;
        *next = next.wrapping_add(payload.len() as u32 + u32::from(flags == FLAG_SYN));
        self.batch.push(flow);

        let mut frame = self.free.pop().expect("the loop gives every frame back");
        frame.clear();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        frame.extend_from_slice(&((40 + payload.len()) as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend_from_slice(&source);
        frame.extend_from_slice(&SERVER);
        checksum::complete_ipv4_header(&mut frame[IP..]);
        frame.extend_from_slice(&[0x9c, 0x40, 0, 80]);
        frame.extend_from_slice(&seq.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 5 << 4, flags, 4, 0, 0, 0, 0, 0]);
        debug_assert_eq!(frame.len(), PAYLOAD);
        frame.extend_from_slice(payload);
        let pseudo = PseudoHeader::ipv4(source, SERVER, (frame.len() - TCP) as u16);
        checksum::complete(&mut frame[TCP..], pseudo);
        self.worker.rings_mut().push(frame, None);
    }
}

/// The time this thread has been running: what else the machine does is not measured.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux counts the time of threads");
    Duration::from(time)
}

fn source(flow: u32) -> [u8; 4] {
    let [_, b, c, d] = flow.to_be_bytes();
    [10, b, c, d]
}

fn key(flow: u32) -> FlowKey {
    FlowKey::tcp(Address::v4(source(flow)), 40_000, Address::v4(SERVER), 80)
}

/// A loop with room for so many flows that never sleeps.
pub(crate) fn config(capacity: u32) -> WorkerConfig {
    WorkerConfig {
        queue: 0,
        on_failure: FailurePolicy::Drop,
        mtu: 1500,
        table: TableLimits::with_capacity(capacity),
        stream: StreamLimits::default(),
        held_segments: 1024,
        held_bytes: 1 << 20,
        evidence_bytes: 32 << 20,
        requests: 1024,
        respond: Respond::Forbidden,
        page: Page::default(),
        flow_block_ns: 1,
        told_flow_block_ns: 1,
        pace: PaceLimits::default(),
        stale_ns: u64::MAX,
        spin_ns: u64::MAX,
        sleep: Duration::ZERO,
        report_allowed: false,
    }
}
