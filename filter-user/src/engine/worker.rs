//! The loop of one RX queue.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    time::Duration,
};

use filter_common::{FlowKey, FlowState, Reason};
use filter_score::{Policies, Scorer};

use super::{
    Clock, EngineCounters, EngineDrop, FlowRecords, KernelMaps, Mailbox, Rings, SharedCounters,
    arrival::Arrival,
    counters::Unscored,
    cut::Limits,
    flow::{Flow, Observed},
    fragments::Fragments,
    inspect::{Inspected, inspect},
    joined::Joined,
    pace::PaceLimits,
    page::Page,
    reception::Denial,
    refusal::Refusal,
    reports::Event,
    spin::Spin,
    verdict::{Judge, Origin, Outcome},
};
use crate::{
    client::{BlockedClients, Clients},
    config::{FailurePolicy, Respond},
    flow::{
        EvidencePool, Flags, FlowHandle, FlowTable, HoldPool, Reassembly, Seq, StreamLimits, TimeoutClass,
        table::{InsertError, TableLimits},
    },
    latency::{LatencyRecorder, Stage},
    limit::Counts,
    tuning::ServiceNumbers,
};

/// How often expiry, commands and counters get their turn.
const TICK: Duration = Duration::from_millis(10);
const TICK_NS: u64 = TICK.as_nanos() as u64;
/// Flows that expire in one turn.
const EXPIRE_BATCH: usize = 256;
/// Ticks between two looks for redirected packets that never came: so long none is on its way.
const SETTLE_TICKS: u32 = 4;
/// Bytes of one chunk of retransmission evidence.
const EVIDENCE_CHUNK: usize = 512;
/// From this part of the pool's chunks down, servers are asked what they have.
const EVIDENCE_RESERVE: usize = 16;

/// Bounds, policies and timing of one loop.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The queue's number in the engine; part of request ids.
    pub queue: u32,
    /// The failure policy.
    pub on_failure: FailurePolicy,
    /// The largest IP packet that goes on, bytes.
    pub mtu: usize,
    /// Capacity and timeouts of the flow table.
    pub table: TableLimits,
    /// Bounds of a stream.
    pub stream: StreamLimits,
    /// Segments that all flows may hold; each keeps a frame of the UMEM.
    pub held_segments: usize,
    /// Bytes that all flows may hold.
    pub held_bytes: usize,
    /// Bytes of retransmission evidence in all.
    pub evidence_bytes: usize,
    /// Requests that may be incomplete at once.
    pub requests: usize,
    /// What a blocked client gets.
    pub respond: Respond,
    /// The page of a 403.
    pub page: Page,
    /// How long a flow stays blocked, nanoseconds: longer than clients retransmit into it.
    pub flow_block_ns: u64,
    /// The same of one whose server has been told that it is over: its client, or another one behind the same address, will
    /// use its port again. Longer than the flow itself is remembered, so that a SYN finds nothing of it.
    pub told_flow_block_ns: u64,
    /// How fast requests have to come.
    pub pace: PaceLimits,
    /// Age after which a frame is not scored any more, nanoseconds: the heartbeat timeout.
    pub stale_ns: u64,
    /// How long an empty ring is read again before the loop sleeps, nanoseconds.
    pub spin_ns: u64,
    /// Longest sleep; well below the heartbeat timeout.
    pub sleep: Duration,
    /// Whether simply allowed requests are reported, too.
    pub report_allowed: bool,
}

/// Something to tell the loop.
#[derive(Debug)]
pub enum Command {
    /// Put other rules and policies in force.
    Policies(Arc<Policies>),
    /// Trust other proxies.
    Clients(Arc<Clients>),
    /// Refuse the requests of these clients, where they come through a proxy.
    Blocked(Arc<BlockedClients>),
    /// Give everything back and end.
    Stop,
    /// The same, but write down what is known of the flows: another loop goes on with them.
    Suspend,
}

/// The loop's state: everything one queue owns, and nothing shared.
pub struct Worker<R: Rings, M, C> {
    pub(super) config: WorkerConfig,
    pub(super) rings: R,
    pub(super) maps: M,
    pub(super) clock: C,
    pub(super) table: FlowTable<FlowKey, Flow>,
    pub(super) judge: Judge,
    pub(super) counters: EngineCounters,
    pub(super) reassembly: Reassembly<R::Frame>,
    shared: Arc<SharedCounters>,
    latency: LatencyRecorder,
    commands: Receiver<Command>,
    /// The end is near, and another loop goes on.
    suspends: bool,
    /// Packets from and to the threads of other queues, if there are any.
    pub(super) mailbox: Option<Mailbox>,
    /// A packet that another thread has handed over is being handled.
    pub(super) takes_over: bool,
    batch: Vec<R::Frame>,
    joined: Joined,
    pub(super) fragments: Fragments,
    /// When the frames forwarded since the last flush were received by the driver.
    forwarded: Vec<u64>,
    /// A frame being made.
    pub(super) scratch: Vec<u8>,
    /// A page being rendered.
    pub(super) page: Vec<u8>,
    next_tick: u64,
    spin: Spin,
    /// The last round found nothing, and the loop stayed awake.
    spins: bool,
    idle_since: u64,
    idle_ticks: u32,
    ticks_unsettled: u32,
}

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// A loop with empty tables. Takes all the memory it will use.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a loop, each of its own kind"
    )]
    pub fn new(
        config: WorkerConfig,
        rings: R,
        maps: M,
        mut clock: C,
        scorer: Scorer,
        shared: Arc<SharedCounters>,
        latency: LatencyRecorder,
        events: SyncSender<Event>,
        commands: Receiver<Command>,
    ) -> Self {
        let chunks = config.evidence_bytes / EVIDENCE_CHUNK;
        let evidence = EvidencePool::new(chunks, EVIDENCE_CHUNK, (config.evidence_bytes / 4) as u32);
        let hold = HoldPool::new(config.held_segments, config.held_bytes);
        let now = clock.now();
        // The start time in the upper half keeps ids apart over restarts, the queue those of queues.
        let first_request_id = (now & 0x00ff_ffff_ff00_0000) << 8 | u64::from(config.queue) << 24;
        Self {
            table: FlowTable::new(config.table),
            reassembly: Reassembly::new(config.stream, evidence, hold),
            counters: EngineCounters::default(),
            batch: Vec::with_capacity(256),
            joined: Joined::new(),
            fragments: Fragments::new(),
            forwarded: Vec::with_capacity(256),
            scratch: Vec::with_capacity(4096),
            page: Vec::with_capacity(16 * 1024),
            judge: Judge::new(
                scorer,
                events,
                first_request_id,
                config.on_failure,
                config.report_allowed,
                config.pace,
            ),
            next_tick: now,
            spin: Spin::new(config.spin_ns),
            spins: false,
            idle_since: now,
            idle_ticks: 0,
            ticks_unsettled: 0,
            config,
            rings,
            maps,
            clock,
            shared,
            latency,
            commands,
            suspends: false,
            mailbox: None,
            takes_over: false,
        }
    }

    /// The same loop for these services: which policy holds for which destination.
    #[must_use]
    pub fn serving(mut self, services: ServiceNumbers) -> Self {
        self.judge.serve(services);
        self
    }

    /// The same loop, with limits that are counted in `counts`, which other loops share.
    #[must_use]
    pub fn counting(mut self, counts: Arc<Counts>) -> Self {
        self.judge.count_in(counts);
        self
    }

    /// The same loop for services behind proxies.
    #[must_use]
    pub fn knowing(mut self, clients: Arc<Clients>) -> Self {
        self.judge.know(clients);
        self
    }

    /// The same loop among others, which know flows that it does not.
    #[must_use]
    pub fn among(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    /// Runs until told to stop. Returns what it knows of its flows, if it was asked for that.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn run(mut self) -> io::Result<FlowRecords> {
        let result = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let records = if self.suspends {
            self.suspend()
        } else {
            FlowRecords::default()
        };
        self.end();
        result.map(|()| records)
    }

    /// One round: a batch of frames, or some waiting. Returns whether to go on.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn turn(&mut self) -> io::Result<bool> {
        let (worked, now) = self.work()?;
        if now >= self.next_tick {
            self.next_tick = now + TICK_NS;
            if !self.tick(now, worked) {
                return Ok(false);
            }
        }
        if worked {
            if self.spins {
                self.spin.found();
            }
            self.spins = false;
            self.idle_since = now;
            self.idle_ticks = 0;
        } else if now - self.idle_since < self.spin.window_ns() {
            self.spins = true;
            self.rings.linger();
        } else {
            self.spin.gave_up();
            self.spins = false;
            // Before it sleeps for long, what it has done has to show in the counters.
            let published = self.idle_ticks > 0;
            self.sleep(
                now,
                if published {
                    self.config.sleep
                } else {
                    TICK.min(self.config.sleep)
                },
            )?;
        }
        Ok(true)
    }

    /// Handles the frames that are there. Returns whether there were any, and the time after it.
    pub(super) fn work(&mut self) -> io::Result<(bool, u64)> {
        let mut batch = std::mem::take(&mut self.batch);
        let count = self.rings.receive(&mut batch);
        if count > 0 {
            let dequeued = self.clock.now();
            for frame in batch.drain(..) {
                self.take(frame, dequeued);
            }
            self.maps.consumed(count as u64);
        }
        self.batch = batch;
        let handed = self.take_handed_over();
        let ruled = self.judge.awaits() && self.carry_out_rulings();
        self.rings.flush()?;
        let now = self.clock.now();
        for arrived in self.forwarded.drain(..) {
            self.latency
                .record(Stage::DriverToForwarded, now.saturating_sub(arrived));
        }
        Ok((count > 0 || handed || ruled, now))
    }

    /// The counters, as they are now.
    pub fn counters(&mut self) -> &EngineCounters {
        self.refresh_counters();
        &self.counters
    }

    /// The rings, for tests that look at what came out.
    pub fn rings_mut(&mut self) -> &mut R {
        &mut self.rings
    }

    /// The maps, for tests.
    pub fn maps_mut(&mut self) -> &mut M {
        &mut self.maps
    }

    /// A frame from the ring: a packet, or a part of one.
    fn take(&mut self, frame: R::Frame, dequeued: u64) {
        let continues = self.rings.continues(&frame);
        if !self.joined.is_open() {
            let arrival = Arrival::new(self.rings.take_metadata(&frame), dequeued);
            if !continues && self.limits(arrival).admit(frame.as_ref()) {
                self.counters.read += 1;
                self.counters.received += 1;
                if self.is_stale(arrival, dequeued) {
                    return self.discard(frame, EngineDrop::Stale);
                }
                return self.handle(frame, arrival, dequeued);
            }
            self.joined.begin(arrival);
        }
        self.joined.add(frame.as_ref());
        self.rings.release(frame);
        if !continues {
            let mut joined = std::mem::take(&mut self.joined);
            self.handle_joined(&mut joined, dequeued);
            self.joined = joined;
        }
    }

    pub(super) fn limits(&self, arrival: Arrival) -> Limits {
        Limits {
            mtu: self.config.mtu,
            mss: arrival.server_mss.into(),
        }
    }

    /// Whether a packet waited too long; if not, how long is recorded.
    pub(super) fn is_stale(&mut self, arrival: Arrival, dequeued: u64) -> bool {
        let age = dequeued.saturating_sub(arrival.time_ns);
        if age > self.config.stale_ns {
            return true;
        }
        self.latency.record(Stage::DriverToDequeued, age);
        false
    }

    pub(super) fn handle(&mut self, mut frame: R::Frame, arrival: Arrival, dequeued: u64) {
        let inspected = match inspect(frame.as_mut()) {
            Ok(inspected) => inspected,
            Err(EngineDrop::Fragment) => return self.handle_fragment(frame, arrival, dequeued),
            Err(reason) => return self.discard(frame, reason),
        };
        let known = self.table.find(&inspected.key);
        if known.is_none()
            && let Some(owner) = self.other_owner(&inspected)
        {
            return self.hand_over(owner, frame, arrival);
        }
        self.counters.urgent += u64::from(inspected.urgent);
        let Some(handle) = known.or_else(|| self.insert(&inspected, arrival, dequeued)) else {
            let matters = inspected.segment.len > 0 || inspected.segment.flags.has(Flags::SYN);
            if matters {
                return self.fail(frame, arrival, Unscored::TableFull, EngineDrop::TableFull);
            }
            return self.send_on(frame, arrival);
        };
        self.offer(handle, &inspected, frame, arrival, dequeued);
    }

    /// A new flow's entry; `None` if none is made: the table is full, or the segment carries nothing that would have to be
    /// remembered.
    fn insert(&mut self, inspected: &Inspected, arrival: Arrival, now: u64) -> Option<FlowHandle> {
        let opens = inspected.segment.flags.has(Flags::SYN);
        if inspected.segment.len == 0 && !opens {
            return None;
        }
        let mut flow = Flow::new(0);
        flow.confirmed = opens;
        flow.requests.at_head = !opens && arrival.reason.is_some_and(is_suspicion);
        let class = flow.class();
        let Self {
            table,
            reassembly,
            judge,
            rings,
            maps,
            ..
        } = self;
        let inserted = table.insert(
            inspected.key,
            class,
            now,
            |handle| Flow {
                stream: crate::flow::Stream::new(handle.slot()),
                ..flow
            },
            |key, gone, _| give_up(&key, gone, reassembly, judge, rings, maps),
        );
        if arrival.reason == Some(Reason::FragmentInspect) && inserted.is_ok() {
            // The XDP program has not entered the flow: a fragment does not tell it which one it is.
            maps.inspect_flow(&inspected.key);
        }
        match inserted {
            Ok(handle) | Err(InsertError::Exists(handle)) => Some(handle),
            Err(InsertError::Full) => None,
        }
    }

    /// Offers a segment to its stream, and then what the stream was holding back.
    fn offer(
        &mut self,
        handle: FlowHandle,
        inspected: &Inspected,
        frame: R::Frame,
        arrival: Arrival,
        now: u64,
    ) {
        let Self {
            table,
            reassembly,
            maps,
            judge,
            counters,
            ..
        } = self;
        let Some(flow) = table.get_mut(handle) else {
            // Found or made right before.
            return self.discard(frame, EngineDrop::NotTcp);
        };
        let mut observed = Observed::new(maps, &inspected.key);
        let action = flow
            .stream
            .offer(reassembly, inspected.segment, frame, &mut observed);
        flow.confirmed |= observed.confirmed();
        flow.requests.suspected |= arrival.reason.is_some_and(is_suspicion);
        let origin = Origin {
            handle,
            flow: inspected.key,
            now,
        };
        let mut outcome = Some(judge.outcome(action, &mut flow.requests, origin, counters));
        let decided = self.clock.now();
        self.latency
            .record(Stage::DequeuedToVerdict, decided.saturating_sub(now));
        while let Some(due) = outcome {
            self.carry_out(handle, due, arrival);
            outcome = self.next_held(origin);
        }
        if let Some(flow) = self.table.get_mut(handle) {
            let class = flow.class();
            self.table.touch(handle, class, now);
        }
        let evidence = &self.reassembly.evidence;
        if evidence.free_chunks() <= evidence.chunks() / EVIDENCE_RESERVE {
            self.relieve_evidence();
        }
    }

    /// The outcome for the next held segment, if its turn has come.
    pub(super) fn next_held(&mut self, origin: Origin) -> Option<Outcome<R::Frame>> {
        let Self {
            table,
            reassembly,
            judge,
            counters,
            ..
        } = self;
        let flow = table.get_mut(origin.handle)?;
        let action = flow.stream.next_held(reassembly)?;
        Some(judge.outcome(action, &mut flow.requests, origin, counters))
    }

    pub(super) fn carry_out(&mut self, handle: FlowHandle, outcome: Outcome<R::Frame>, arrival: Arrival) {
        match outcome {
            Outcome::Forward(frame) => self.send_on(frame, arrival),
            Outcome::ForwardUnscored(frame, reason) => {
                self.counters.unscored(reason);
                self.send_on(frame, arrival);
            }
            Outcome::Held => {}
            Outcome::Drop(frame) => self.rings.release(frame),
            Outcome::Refuse(mut frame, reason) => {
                self.refuse(handle, &mut frame, Refusal::Failure);
                self.discard(frame, reason);
            }
            Outcome::Denied(mut frame, request_id, denial) => {
                let (refusal, reason) = match denial {
                    Denial::Blocked => (Refusal::Attack(request_id), EngineDrop::ClientBlocked),
                    Denial::Limit => (Refusal::Attack(request_id), EngineDrop::Limited),
                    Denial::TooMany { retry_after_s } => {
                        (Refusal::TooMany(request_id, retry_after_s), EngineDrop::Limited)
                    }
                };
                self.refuse(handle, &mut frame, refusal);
                self.discard(frame, reason);
            }
            Outcome::Attack(mut frame, request_id) => {
                self.refuse(handle, &mut frame, Refusal::Attack(request_id));
                self.discard(frame, EngineDrop::Attack);
            }
        }
    }

    pub(super) fn send_on(&mut self, mut frame: R::Frame, arrival: Arrival) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.readdress(frame.as_mut());
        }
        self.counters.forwarded += 1;
        self.forwarded.push(arrival.time_ns);
        self.rings.forward(frame);
    }

    pub(super) fn discard(&mut self, frame: R::Frame, reason: EngineDrop) {
        self.counters.drop(reason);
        self.rings.release(frame);
    }

    /// The failure policy on a frame of no flow.
    fn fail(&mut self, frame: R::Frame, arrival: Arrival, pass: Unscored, drop: EngineDrop) {
        match self.config.on_failure {
            FailurePolicy::Pass => {
                self.counters.unscored(pass);
                self.send_on(frame, arrival);
            }
            FailurePolicy::Drop => self.discard(frame, drop),
        }
    }

    /// The evidence pool runs low: the flow whose chunk is out the longest has most likely been acknowledged.
    fn relieve_evidence(&mut self) {
        let Self {
            table,
            reassembly,
            maps,
            ..
        } = self;
        let Some(owner) = reassembly.evidence.oldest() else {
            return;
        };
        let Some((key, flow)) = table.at_slot(owner) else {
            return reassembly.evidence.defer_oldest();
        };
        let key = *key;
        let acknowledged = maps
            .flow(&key)
            .filter(|state| state.server_flags & FlowState::SERVER_SEEN != 0);
        let released =
            acknowledged.is_some_and(|state| flow.stream.acknowledge(reassembly, Seq(state.server_ack)));
        if !released {
            reassembly.evidence.defer_oldest();
        }
    }

    /// Housekeeping, after a round that found frames or (`worked` false) the ring empty. Returns whether to go on.
    fn tick(&mut self, now: u64, worked: bool) -> bool {
        self.maps.beat(now);
        self.expire(now);
        self.expire_fragments(now);
        self.counters.lost += self.rings.lost();
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        self.ticks_unsettled = self.ticks_unsettled.saturating_add(1);
        if !worked && self.ticks_unsettled >= SETTLE_TICKS {
            self.ticks_unsettled = 0;
            self.maps.settle();
        }
        self.refresh_counters();
        self.shared.publish(&self.counters);
        loop {
            match self.commands.try_recv() {
                Ok(Command::Policies(policies)) => self.judge.replace(policies),
                Ok(Command::Clients(clients)) => self.judge.know(clients),
                Ok(Command::Blocked(blocked)) => self.judge.block(blocked),
                Ok(Command::Suspend) => {
                    self.suspends = true;
                    return false;
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Gives up flows whose time is over. During a long download only the map knows that the client is there: its
    /// bare acknowledgements pass by the engine.
    fn expire(&mut self, now: u64) {
        let Self {
            table,
            reassembly,
            judge,
            rings,
            maps,
            config,
            counters,
            ..
        } = self;
        for _ in 0..EXPIRE_BATCH {
            let Some((handle, key, class, last)) = table.due_entry(now) else {
                return;
            };
            let acknowledges = matches!(class, TimeoutClass::HalfOpen | TimeoutClass::Established)
                && maps.flow(&key).is_some_and(|state| state.acknowledged_ns > last);
            if acknowledges {
                table.touch(handle, class, now);
                continue;
            }
            if class == TimeoutClass::Requesting && config.pace.patience_ns > 0 {
                // What comes later belongs to a request of which nothing is known any more.
                maps.block_flow(&key, now + config.flow_block_ns);
                counters.stalled += 1;
            }
            if let Some((key, flow)) = table.remove(handle) {
                give_up(&key, flow, reassembly, judge, rings, maps);
            }
        }
    }

    fn refresh_counters(&mut self) {
        self.counters.set_stream_drops(&self.reassembly.drops);
        self.judge.refresh(&mut self.counters);
        self.counters.flows = self.table.len() as u64;
        self.counters.held = self.reassembly.hold.segments() as u64;
        self.counters.held_bytes = self.reassembly.hold.bytes() as u64;
    }

    /// Gives everything back. The maps keep what they know of the flows: a successor picks them up.
    fn end(&mut self) {
        self.maps.beat(0);
        let Self {
            table,
            reassembly,
            judge,
            rings,
            ..
        } = self;
        table.drain(|_, mut flow| {
            judge.release(&mut flow.requests);
            flow.stream.release(reassembly, |frame| rings.release(frame));
        });
        if let Err(error) = self.rings.flush() {
            tracing::debug!("the last flush failed: {error}");
        }
        self.refresh_counters();
        self.shared.publish(&self.counters);
    }
}

/// A flow leaves the table: its frames, evidence and request buffer go back, and its entry in the map goes.
pub(super) fn give_up<R: Rings, M: KernelMaps>(
    key: &FlowKey,
    flow: Flow,
    reassembly: &mut Reassembly<R::Frame>,
    judge: &mut Judge,
    rings: &mut R,
    maps: &mut M,
) {
    let Flow {
        stream, mut requests, ..
    } = flow;
    judge.release(&mut requests);
    stream.release(reassembly, |frame| rings.release(frame));
    maps.forget_flow(key);
}

fn is_suspicion(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SuspectNew
            | Reason::SuspectReputation
            | Reason::SuspectWatch
            | Reason::SuspectSoftLimit
            | Reason::SuspectPrescreen
            | Reason::SuspectOdd
            | Reason::FragmentInspect
    )
}
