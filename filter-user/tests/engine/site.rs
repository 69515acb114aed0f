//! A loop on in-memory rings, with everything around it.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use filter_common::{FlowKey, FlowState, Reason, metadata::Metadata};
use filter_score::{Policy, RuleSet, Scorer, builtin_packs};
use filter_user::{
    config::{FailurePolicy, Respond},
    deep::Port,
    engine::{
        Command, EngineCounters, EngineDrop, Event, Mailbox, PaceLimits, SharedCounters, Undecided, Worker,
        WorkerConfig,
        counters::Unscored,
        memory::{MemoryClock, MemoryMaps, MemoryRings},
        page::Page,
    },
    flow::{self, DropReason, StreamLimits, table::TableLimits},
    latency::LatencyBook,
};
use xtask::lab::frame::{Checksum, Frame};

use crate::{
    client::Client,
    server::{Server, key_of},
};

/// The loop looks at commands and timeouts this often.
pub(crate) const TICK_NS: u64 = 10_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
pub(crate) const FLOW_BLOCK_NS: u64 = 120 * SECOND_NS;
pub(crate) const TOLD_FLOW_BLOCK_NS: u64 = 11 * SECOND_NS;
const START_NS: u64 = 1000 * SECOND_NS;

pub(crate) fn rules() -> Arc<RuleSet> {
    static RULES: OnceLock<Arc<RuleSet>> = OnceLock::new();
    let compile = || Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs are tested"));
    Arc::clone(RULES.get_or_init(compile))
}

/// Bounds that the tests do not reach unless they mean to.
pub(crate) fn config(on_failure: FailurePolicy) -> WorkerConfig {
    WorkerConfig {
        queue: 3,
        on_failure,
        mtu: 1500,
        table: TableLimits::with_capacity(64),
        stream: StreamLimits {
            unverifiable: match on_failure {
                FailurePolicy::Pass => flow::FailurePolicy::Pass,
                FailurePolicy::Drop => flow::FailurePolicy::Drop,
            },
            ..StreamLimits::default()
        },
        held_segments: 256,
        held_bytes: 1 << 20,
        evidence_bytes: 1 << 20,
        requests: 16,
        respond: Respond::Forbidden,
        page: Page::default(),
        flow_block_ns: FLOW_BLOCK_NS,
        told_flow_block_ns: TOLD_FLOW_BLOCK_NS,
        pace: PaceLimits::default(),
        stale_ns: SECOND_NS,
        spin_ns: u64::MAX,
        sleep: Duration::ZERO,
        report_allowed: true,
    }
}

pub(crate) struct Site {
    pub(crate) worker: Worker<MemoryRings, MemoryMaps, MemoryClock>,
    clock: MemoryClock,
    now: u64,
    pub(crate) events: Receiver<Event>,
    pub(crate) commands: SyncSender<Command>,
    pub(crate) shared: Arc<SharedCounters>,
    pub(crate) servers: HashMap<FlowKey, Server>,
    /// What the servers have announced as their largest segment.
    pub(crate) server_mss: u16,
    /// Whether the observer runs.
    pub(crate) observed: bool,
    /// Whether clients are honest, so that servers may check what they get.
    pub(crate) trusts: bool,
    /// Frames sent back to clients.
    pub(crate) answers: Vec<Frame>,
    /// Frames put into the ring.
    pushed: u64,
    /// Whether a packet of several was among them, or other loops hand packets over: then frames are made and received apart.
    in_parts: bool,
    forwarded: u64,
    transmitted: u64,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With the failure policy "drop", unless changed.
    pub(crate) fn with(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let mut config = config(FailurePolicy::Drop);
        change(&mut config);
        Self::configured(config, Policy::default(), 256)
    }

    pub(crate) fn configured(config: WorkerConfig, policy: Policy, events: usize) -> Self {
        Self::connected(config, policy, events, None)
    }

    /// With a scorer that remembers so many clean requests.
    pub(crate) fn cached(config: WorkerConfig, policy: Policy, entries: usize) -> Self {
        Self::made(config, policy, 256, None, entries)
    }

    /// With a port to a second tier.
    pub(crate) fn connected(
        config: WorkerConfig,
        policy: Policy,
        events: usize,
        port: Option<Port<Undecided>>,
    ) -> Self {
        Self::made(config, policy, events, port, 0)
    }

    fn made(
        config: WorkerConfig,
        policy: Policy,
        events: usize,
        port: Option<Port<Undecided>>,
        cache: usize,
    ) -> Self {
        let clock = MemoryClock::default();
        clock.set(START_NS);
        let (events_in, events) = mpsc::sync_channel(events);
        let (commands, commands_out) = mpsc::sync_channel(16);
        let shared = Arc::new(SharedCounters::default());
        let scorer = Scorer::new(rules(), policy, config.requests).with_cache(cache, &[7; 16]);
        let mut worker = Worker::new(
            config,
            MemoryRings::default(),
            MemoryMaps::default(),
            clock.clone(),
            scorer,
            Arc::clone(&shared),
            LatencyBook::new(1).1.remove(0),
            events_in,
            commands_out,
        );
        if let Some(port) = port {
            worker = worker.with_second_tier(port);
        }
        Self {
            worker,
            clock,
            now: START_NS,
            events,
            commands,
            shared,
            servers: HashMap::new(),
            server_mss: 0,
            observed: true,
            trusts: true,
            answers: Vec::new(),
            pushed: 0,
            in_parts: false,
            forwarded: 0,
            transmitted: 0,
        }
    }

    /// Among other loops.
    pub(crate) fn among(mut self, mailbox: Mailbox) -> Self {
        self.worker = self.worker.among(mailbox);
        self.in_parts = true;
        self
    }

    /// A frame as the XDP program hands it over for `reason`.
    pub(crate) fn push_for(&mut self, reason: Reason, bytes: Vec<u8>) {
        let metadata = Metadata {
            time_ns: self.now,
            magic: Metadata::MAGIC,
            reason: reason as u16,
            server_mss: self.server_mss,
        };
        self.push(bytes, Some(metadata));
    }

    /// A packet of an inspected flow, in so many frames, the last of which may be empty.
    pub(crate) fn push_parts(&mut self, parts: &[&[u8]]) {
        let metadata = Metadata {
            time_ns: self.now,
            magic: Metadata::MAGIC,
            reason: Reason::FlowInspect as u16,
            server_mss: self.server_mss,
        };
        self.pushed += parts.len() as u64;
        self.in_parts = true;
        self.worker.rings_mut().push_parts(parts, Some(metadata));
    }

    pub(crate) fn push(&mut self, bytes: Vec<u8>, metadata: Option<Metadata>) {
        self.pushed += 1;
        self.worker.rings_mut().push(bytes, metadata);
    }

    /// One frame, one turn.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        self.push_for(Reason::FlowInspect, bytes);
        self.turn();
    }

    /// Opens a connection.
    pub(crate) fn open(&mut self, client: &Client) {
        self.send(client.syn());
    }

    /// What `client`'s server has got.
    pub(crate) fn server(&self, client: &Client) -> &Server {
        self.servers.get(&client.key()).expect("something was forwarded")
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Lets time go by, in ticks as the loop would.
    pub(crate) fn advance(&mut self, ns: u64) {
        self.now += ns;
        self.clock.set(self.now);
        self.turn();
    }

    /// Tells the loop to stop; returns what it counted.
    pub(crate) fn stop(self) -> EngineCounters {
        self.commands.send(Command::Stop).expect("the loop listens");
        self.clock.set(self.now + TICK_NS);
        self.worker.run().expect("in-memory rings do not fail");
        self.shared.read()
    }

    /// One turn of the loop; then servers receive and are observed, and the book is audited.
    pub(crate) fn turn(&mut self) {
        assert!(
            self.worker.turn().expect("in-memory rings do not fail"),
            "nobody told it to stop"
        );
        let rings = self.worker.rings_mut();
        let forwarded = std::mem::take(&mut rings.forwarded);
        let transmitted = std::mem::take(&mut rings.transmitted);
        self.forwarded += forwarded.len() as u64;
        self.transmitted += transmitted.len() as u64;
        for bytes in transmitted {
            let frame = Frame::parse(&bytes).expect("the engine makes whole frames");
            assert_eq!(frame.checksum, Checksum::Valid);
            self.answers.push(frame);
        }
        for bytes in forwarded {
            if !self.trusts {
                continue;
            }
            let frame = Frame::parse(&bytes).expect("clients send whole frames");
            let key = key_of(&frame);
            let server = self.servers.entry(key).or_default();
            server.receive(&frame);
            if self.observed {
                let flows = &mut self.worker.maps_mut().flows;
                server.observed(flows.entry(key).or_insert(FlowState::inspect(3)));
            }
        }
        self.audit();
    }

    /// Every frame is in exactly one place, and every counter says so.
    fn audit(&mut self) {
        let rings = self.worker.rings_mut();
        let (released, made) = (rings.released, rings.made);
        let read = self.pushed - rings.waiting() as u64;
        let counters = self.worker.counters().clone();
        assert_eq!(
            read + made,
            self.forwarded + self.transmitted + released + counters.held,
            "a frame was lost or doubled: {counters:?}"
        );
        assert_eq!(self.worker.maps_mut().consumed, read, "credits come back");
        if !self.in_parts {
            assert_eq!(counters.read, read, "each frame is a packet");
        }
        if !self.in_parts && counters.joined == 0 && counters.fragments == 0 {
            assert_eq!((counters.received, made), (read, counters.injected));
        }
        let dropped = counters
            .dropped
            .iter()
            .chain(&counters.stream_dropped)
            .sum::<u64>();
        assert_eq!(
            counters.received,
            counters.forwarded + dropped + counters.held,
            "a frame was not counted, or twice: {counters:?}"
        );
        assert!(counters.unscored.iter().sum::<u64>() <= counters.forwarded);
    }

    pub(crate) fn counters(&mut self) -> EngineCounters {
        self.worker.counters().clone()
    }

    pub(crate) fn dropped(&mut self, reason: EngineDrop) -> u64 {
        self.counters().dropped[reason as usize]
    }

    pub(crate) fn stream_dropped(&mut self, reason: DropReason) -> u64 {
        self.counters().stream_dropped[reason as usize]
    }

    pub(crate) fn unscored(&mut self, reason: Unscored) -> u64 {
        self.counters().unscored[reason as usize]
    }

    /// The requests decided since the last call: verdict, anomaly, rules.
    pub(crate) fn decisions(&mut self) -> Vec<String> {
        let told = |event: Event| {
            let rules: Vec<_> = event.decision.rules.iter().map(|hit| hit.id).collect();
            format!(
                "{:?} {} {rules:?}: {}",
                event.decision.decision, event.decision.anomaly, event.decision.request_line
            )
        };
        self.events.try_iter().map(told).collect()
    }
}
