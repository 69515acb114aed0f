//! The loop of one RX queue.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError},
    },
    time::Duration,
};

use filter_common::{Address, FlowKey, FlowState, Reason, metadata::Metadata, packet::tcp_flag};
use filter_score::{Disposition, OpaqueKind, OwnedDecision, Policy, RuleSet, Scorer, Verdict};

use super::{
    Clock, EngineCounters, EngineDrop, KernelMaps, Rings, SharedCounters,
    counters::Unscored,
    flow::{Flow, Observed},
    inspect::{Inspected, inspect},
    page::Page,
    respond::{self, Reply, SEGMENT_BYTES, Towards},
};
use crate::{
    config::{FailurePolicy, Respond},
    flow::{
        Action, Continuity, EvidencePool, Flags, FlowHandle, FlowTable, HoldPool, Pending, Reassembly, Seq,
        StreamLimits,
        table::{InsertError, TableLimits},
    },
    latency::{LatencyRecorder, Stage},
};

/// How often expiry, commands and counters get their turn.
const TICK_NS: u64 = 10_000_000;
/// Flows that expire in one turn.
const EXPIRE_BATCH: usize = 256;
/// Ticks without a frame after which redirected packets that never came are given up.
const SETTLE_TICKS: u32 = 4;
/// Bytes of one chunk of retransmission evidence.
const EVIDENCE_CHUNK: usize = 512;
/// Below this part of the pool's chunks, servers are asked what they have.
const EVIDENCE_RESERVE: usize = 16;

/// Bounds, policies and timing of one loop.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The RX queue; part of request ids.
    pub queue: u32,
    /// The failure policy.
    pub on_failure: FailurePolicy,
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
    /// How long a flow stays blocked, nanoseconds.
    pub flow_block_ns: u64,
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
    /// Put other rules in force.
    Rules(Arc<RuleSet>, Policy),
    /// Give everything back and end.
    Stop,
}

/// A request that was not simply allowed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number on the page.
    pub request_id: u64,
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The flow.
    pub flow: FlowKey,
    /// The decision.
    pub decision: OwnedDecision,
}

/// The loop's state: everything one queue owns, and nothing shared.
pub struct Worker<R: Rings, M, C> {
    config: WorkerConfig,
    rings: R,
    maps: M,
    clock: C,
    table: FlowTable<FlowKey, Flow>,
    reassembly: Reassembly<R::Frame>,
    scorer: Scorer,
    counters: EngineCounters,
    shared: Arc<SharedCounters>,
    latency: LatencyRecorder,
    events: SyncSender<Event>,
    commands: Receiver<Command>,
    batch: Vec<R::Frame>,
    /// When the frames forwarded since the last flush were received by the driver.
    forwarded: Vec<u64>,
    /// A frame being made.
    scratch: Vec<u8>,
    page: Vec<u8>,
    next_request_id: u64,
    next_tick: u64,
    idle_since: u64,
    idle_ticks: u32,
}

/// What the XDP program noted about a frame, or the best guess.
#[derive(Clone, Copy)]
struct Arrival {
    time_ns: u64,
    reason: Option<Reason>,
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
        Self {
            table: FlowTable::new(config.table),
            reassembly: Reassembly::new(config.stream, evidence, hold),
            counters: EngineCounters::default(),
            batch: Vec::with_capacity(256),
            forwarded: Vec::with_capacity(256),
            scratch: Vec::with_capacity(4096),
            page: Vec::with_capacity(16 * 1024),
            // The start time in the upper half keeps ids apart over restarts, the queue those of queues.
            next_request_id: (now & 0x00ff_ffff_ff00_0000) << 8 | u64::from(config.queue) << 24,
            next_tick: now,
            idle_since: now,
            idle_ticks: 0,
            config,
            rings,
            maps,
            clock,
            scorer,
            shared,
            latency,
            events,
            commands,
        }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn run(mut self) -> io::Result<()> {
        let result = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.end();
        result
    }

    /// One round: a batch of frames, or some waiting. Returns whether to go on.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn turn(&mut self) -> io::Result<bool> {
        let worked = self.work()?;
        let now = self.clock.now();
        self.maps.beat(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK_NS;
            if !self.tick(now) {
                return Ok(false);
            }
        }
        if worked {
            self.idle_since = now;
            self.idle_ticks = 0;
        } else if now - self.idle_since >= self.config.spin_ns {
            self.shared.publish(&self.counters);
            self.rings.wait(self.config.sleep)?;
        } else {
            std::hint::spin_loop();
        }
        Ok(true)
    }

    /// Handles the frames that are there. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    pub fn work(&mut self) -> io::Result<bool> {
        let mut batch = std::mem::take(&mut self.batch);
        let count = self.rings.receive(&mut batch);
        if count > 0 {
            let dequeued = self.clock.now();
            self.counters.received += count as u64;
            for frame in batch.drain(..) {
                self.handle(frame, dequeued);
            }
            self.maps.consumed(count as u64);
        }
        self.batch = batch;
        self.rings.flush()?;
        if !self.forwarded.is_empty() {
            let now = self.clock.now();
            for arrived in self.forwarded.drain(..) {
                self.latency
                    .record(Stage::DriverToForwarded, now.saturating_sub(arrived));
            }
        }
        Ok(count > 0)
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

    fn handle(&mut self, mut frame: R::Frame, dequeued: u64) {
        let metadata = self.rings.take_metadata(&frame);
        let arrival = Arrival {
            time_ns: metadata.map_or(dequeued, |Metadata { time_ns, .. }| time_ns),
            reason: metadata.and_then(|metadata| Reason::from_number(metadata.reason)),
        };
        let age = dequeued.saturating_sub(arrival.time_ns);
        if age > self.config.stale_ns {
            return self.discard(frame, EngineDrop::Stale);
        }
        self.latency.record(Stage::DriverToDequeued, age);
        let inspected = match inspect(frame.as_mut()) {
            Ok(inspected) => inspected,
            Err(reason) => return self.discard(frame, reason),
        };
        let Some(handle) = self.find_or_insert(&inspected, arrival, dequeued) else {
            let matters = inspected.segment.len > 0 || inspected.segment.flags.has(Flags::SYN);
            if matters {
                return self.fail(frame, arrival, Unscored::TableFull, EngineDrop::TableFull);
            }
            return self.send_on(frame, arrival);
        };
        self.stream(handle, &inspected, frame, arrival, dequeued);
    }

    /// The flow's entry; `None` if there is none and none is made: the table is full, or the segment carries
    /// nothing that would have to be remembered.
    fn find_or_insert(&mut self, inspected: &Inspected, arrival: Arrival, now: u64) -> Option<FlowHandle> {
        if let Some(handle) = self.table.find(&inspected.key) {
            return Some(handle);
        }
        let opens = inspected.segment.flags.has(Flags::SYN);
        if inspected.segment.len == 0 && !opens {
            return None;
        }
        let mut flow = Flow::new(0);
        flow.confirmed = opens;
        flow.at_head = !opens && arrival.reason.is_some_and(is_suspicion);
        let class = flow.class();
        let Self {
            table,
            reassembly,
            scorer,
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
            |key, gone, _| give_up(&key, gone, reassembly, scorer, rings, maps),
        );
        match inserted {
            Ok(handle) | Err(InsertError::Exists(handle)) => Some(handle),
            Err(InsertError::Full) => None,
        }
    }

    /// Offers a segment to its stream, and then what it was holding back.
    fn stream(
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
            ..
        } = self;
        let Some(flow) = table.get_mut(handle) else {
            // Found or made right before.
            return self.discard(frame, EngineDrop::NotTcp);
        };
        let mut observed = Observed::new(maps, &inspected.key);
        let Flow {
            stream,
            http,
            at_head,
            confirmed,
        } = flow;
        let action = stream.offer(reassembly, inspected.segment, frame, &mut observed);
        *confirmed |= observed.confirmed();
        let mut outcome = match action {
            Action::Score(pending) => score(
                pending,
                http,
                at_head,
                &mut self.scorer,
                &mut self.counters,
                &self.config,
                |decision| {
                    report(
                        decision,
                        &inspected.key,
                        now,
                        &mut self.next_request_id,
                        &self.events,
                    )
                },
            ),
            Action::Forward(frame) => Outcome::Forward(frame),
            Action::Hold => Outcome::Held,
            Action::Drop(frame, _) => Outcome::Drop(frame),
        };
        let verdict_at = self.clock.now();
        self.latency
            .record(Stage::DequeuedToVerdict, verdict_at.saturating_sub(now));
        loop {
            let Some(next) = self.settle_outcome(handle, inspected, outcome, arrival) else {
                break;
            };
            outcome = next;
        }
        if let Some(flow) = self.table.get_mut(handle) {
            let class = flow.class();
            self.table.touch(handle, class, now);
        }
        let evidence = &self.reassembly.evidence;
        if evidence.free_chunks() < evidence.chunks() / EVIDENCE_RESERVE {
            self.relieve_evidence();
        }
    }

    /// Carries out one outcome and returns that of the next held segment, if one is due.
    fn settle_outcome(
        &mut self,
        handle: FlowHandle,
        inspected: &Inspected,
        outcome: Outcome<R::Frame>,
        arrival: Arrival,
    ) -> Option<Outcome<R::Frame>> {
        match outcome {
            Outcome::Forward(frame) => self.send_on(frame, arrival),
            Outcome::ForwardUnscored(frame, reason) => {
                self.counters.unscored(reason);
                self.send_on(frame, arrival);
            }
            Outcome::Held => {}
            Outcome::Drop(frame) => self.rings.release(frame),
            // The frame may have been held until `inspected` closed the gap: answers are to the frame itself.
            // It was found right when it arrived, and is again.
            Outcome::Refuse(mut frame, reason) => {
                if let Ok(refused) = inspect(frame.as_mut()) {
                    self.cut(handle, &refused, &frame);
                }
                self.discard(frame, reason);
            }
            Outcome::Attack(mut frame, request_id) => {
                if let Ok(attack) = inspect(frame.as_mut()) {
                    self.block(handle, &attack, &frame, request_id);
                }
                self.discard(frame, EngineDrop::Attack);
            }
        }
        let Self {
            table, reassembly, ..
        } = self;
        let Flow {
            stream,
            http,
            at_head,
            ..
        } = table.get_mut(handle)?;
        let action = stream.next_held(reassembly)?;
        let now = self.clock.now();
        Some(match action {
            Action::Score(pending) => score(
                pending,
                http,
                at_head,
                &mut self.scorer,
                &mut self.counters,
                &self.config,
                |decision| {
                    report(
                        decision,
                        &inspected.key,
                        now,
                        &mut self.next_request_id,
                        &self.events,
                    )
                },
            ),
            Action::Forward(frame) => Outcome::Forward(frame),
            Action::Drop(frame, _) => Outcome::Drop(frame),
            Action::Hold => Outcome::Held,
        })
    }

    /// The verdict on a flow: mark it, answer the client, reset the server.
    fn block(&mut self, handle: FlowHandle, inspected: &Inspected, frame: &R::Frame, request_id: u64) {
        let replies = self.mark_blocked(handle, inspected);
        if self.config.respond == Respond::Drop {
            return;
        }
        let (seq, next) = self.sequence_numbers(handle, inspected, replies);
        let ack = inspected.segment.end();
        if self.config.respond == Respond::Forbidden {
            let mut page = std::mem::take(&mut self.page);
            self.config.page.render(&format!("{request_id:016x}"), &mut page);
            let mut seq = seq;
            let mut chunks = page.chunks(SEGMENT_BYTES).peekable();
            while let Some(payload) = chunks.next() {
                let last = chunks.peek().is_none();
                let flags = tcp_flag::ACK | tcp_flag::PSH | if last { tcp_flag::FIN } else { 0 };
                self.inject(
                    inspected,
                    frame,
                    &Reply {
                        towards: Towards::Client,
                        seq,
                        ack,
                        flags,
                        payload,
                    },
                );
                seq += payload.len() as u32;
            }
            self.page = page;
        } else {
            self.inject(inspected, frame, &reset(Towards::Client, seq, ack));
        }
        self.inject(
            inspected,
            frame,
            &reset(Towards::Server, next, inspected.acknowledgement),
        );
    }

    /// The failure policy refuses a flow: both ends are told at once, so that the client can try anew.
    fn cut(&mut self, handle: FlowHandle, inspected: &Inspected, frame: &R::Frame) {
        let replies = self.mark_blocked(handle, inspected);
        let (seq, next) = self.sequence_numbers(handle, inspected, replies);
        self.inject(
            inspected,
            frame,
            &reset(Towards::Client, seq, inspected.segment.end()),
        );
        self.inject(
            inspected,
            frame,
            &reset(Towards::Server, next, inspected.acknowledgement),
        );
    }

    fn mark_blocked(&mut self, handle: FlowHandle, inspected: &Inspected) -> Option<FlowState> {
        let replies = self.maps.flow(&inspected.key);
        let until = self.clock.now() + self.config.flow_block_ns;
        self.maps.block_flow(&inspected.key, until);
        if let Some(flow) = self.table.get_mut(handle) {
            self.scorer.release(&mut flow.http);
        }
        replies.filter(|state| state.server_flags & FlowState::SERVER_SEEN != 0)
    }

    /// The next sequence numbers of the server and of the client, as the other side expects them.
    fn sequence_numbers(
        &mut self,
        handle: FlowHandle,
        inspected: &Inspected,
        replies: Option<FlowState>,
    ) -> (Seq, Seq) {
        let acknowledged = inspected.acknowledgement;
        let seq = replies.map_or(acknowledged, |state| Seq(state.server_next).max(acknowledged));
        let next = self.table.get(handle).and_then(|flow| flow.stream.next());
        (seq, next.unwrap_or(inspected.segment.seq))
    }

    fn inject(&mut self, from: &Inspected, frame: &R::Frame, reply: &Reply<'_>) {
        respond::build(frame.as_ref(), from, reply, &mut self.scratch);
        match self.rings.allocate(&self.scratch) {
            Some(made) => {
                self.counters.injected += 1;
                match reply.towards {
                    Towards::Client => self.rings.transmit(made),
                    Towards::Server => self.rings.forward(made),
                }
            }
            None => self.counters.not_injected += 1,
        }
    }

    fn send_on(&mut self, frame: R::Frame, arrival: Arrival) {
        self.counters.forwarded += 1;
        self.forwarded.push(arrival.time_ns);
        self.rings.forward(frame);
    }

    fn discard(&mut self, frame: R::Frame, reason: EngineDrop) {
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

    /// Housekeeping. Returns whether to go on.
    fn tick(&mut self, now: u64) -> bool {
        let Self {
            table,
            reassembly,
            scorer,
            rings,
            maps,
            ..
        } = self;
        table.expire(now, EXPIRE_BATCH, |key, flow, _| {
            give_up(&key, flow, reassembly, scorer, rings, maps);
        });
        self.idle_ticks += 1;
        if self.idle_ticks == SETTLE_TICKS {
            self.maps.settle();
        }
        self.refresh_counters();
        self.shared.publish(&self.counters);
        loop {
            match self.commands.try_recv() {
                Ok(Command::Rules(rules, policy)) => self.scorer.replace(rules, policy),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn refresh_counters(&mut self) {
        self.counters.set_stream_drops(&self.reassembly.drops);
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
            scorer,
            rings,
            ..
        } = self;
        table.drain(|_, mut flow| {
            scorer.release(&mut flow.http);
            flow.stream.release(reassembly, |frame| rings.release(frame));
        });
        if let Err(error) = self.rings.flush() {
            tracing::debug!("the last flush failed: {error}");
        }
        self.refresh_counters();
        self.shared.publish(&self.counters);
    }
}

/// What becomes of a frame, once its stream and the scorer have had their say.
enum Outcome<F> {
    /// It goes on.
    Forward(F),
    /// It goes on, unscored, by the failure policy.
    ForwardUnscored(F, Unscored),
    /// It waits in the stream.
    Held,
    /// The stream dropped it.
    Drop(F),
    /// The failure policy refuses it, and with it the flow.
    Refuse(F, EngineDrop),
    /// It completed an attack, reported under this request id.
    Attack(F, u64),
}

/// Scores the new bytes of a segment and accepts or rejects it.
fn score<F: AsRef<[u8]>>(
    pending: Pending<'_, F>,
    http: &mut filter_score::Stream,
    at_head: &mut bool,
    scorer: &mut Scorer,
    counters: &mut EngineCounters,
    config: &WorkerConfig,
    mut on_event: impl FnMut(&filter_score::Decision<'_>) -> Result<u64, u64>,
) -> Outcome<F> {
    match pending.continuity() {
        Continuity::Next => {}
        Continuity::Start => {
            scorer.release(http);
            *http = filter_score::Stream::new();
        }
        Continuity::AfterGap => {
            scorer.release(http);
            *http = if std::mem::take(at_head) {
                filter_score::Stream::new()
            } else {
                filter_score::Stream::resuming()
            };
        }
    }
    let mut request_id = 0;
    let disposition = scorer.feed(http, pending.payload(), |decision| {
        counters.decided(
            decision.verdict,
            decision.hits.iter().map(|hit| hit.rule.family),
            decision.violation().is_some(),
        );
        if decision.verdict != Verdict::Allow || config.report_allowed {
            request_id = on_event(decision).unwrap_or_else(|id| {
                counters.events_lost += 1;
                id
            });
        }
    });
    let (unscored, refused) = match disposition {
        Disposition::Accept | Disposition::Opaque(OpaqueKind::Upgraded) => {
            return Outcome::Forward(pending.accept());
        }
        Disposition::Block => return Outcome::Attack(pending.reject(), request_id),
        Disposition::Exhausted => (Unscored::ScorerFull, EngineDrop::ScorerFull),
        Disposition::Unsynced => (Unscored::Unsynced, EngineDrop::Unsynced),
        Disposition::Opaque(_) => (Unscored::Opaque, EngineDrop::Opaque),
    };
    match config.on_failure {
        FailurePolicy::Pass => Outcome::ForwardUnscored(pending.accept(), unscored),
        FailurePolicy::Drop => Outcome::Refuse(pending.reject(), refused),
    }
}

/// Tells the control plane of a decision. Returns the request's id; as an error, if there was no room.
fn report(
    decision: &filter_score::Decision<'_>,
    flow: &FlowKey,
    time_ns: u64,
    next_request_id: &mut u64,
    events: &SyncSender<Event>,
) -> Result<u64, u64> {
    let request_id = *next_request_id;
    *next_request_id += 1;
    let event = Event {
        request_id,
        time_ns,
        flow: *flow,
        decision: decision.to_owned(),
    };
    match events.try_send(event) {
        Ok(()) => Ok(request_id),
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(request_id),
    }
}

/// A flow leaves the table: its frames, evidence and request buffer go back, and its entry in the map goes.
fn give_up<R: Rings, M: KernelMaps>(
    key: &FlowKey,
    flow: Flow,
    reassembly: &mut Reassembly<R::Frame>,
    scorer: &mut Scorer,
    rings: &mut R,
    maps: &mut M,
) {
    let Flow { stream, mut http, .. } = flow;
    scorer.release(&mut http);
    stream.release(reassembly, |frame| rings.release(frame));
    maps.forget_flow(key);
}

fn reset(towards: Towards, seq: Seq, ack: Seq) -> Reply<'static> {
    Reply {
        towards,
        seq,
        ack,
        flags: tcp_flag::RST | tcp_flag::ACK,
        payload: b"",
    }
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
    )
}

/// The address a source is known by.
#[must_use]
pub fn source_of(flow: &FlowKey, ipv6_prefix: u8) -> Address {
    flow.source.masked_v6(ipv6_prefix)
}
