//! The threads of the queues.

use std::{
    fs,
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use filter_score::{Policies, Scorer};

use super::{
    placement,
    slots::{Slot, Slots},
};
use crate::{
    bpf::{Tables, monotonic_ns},
    client::Clients,
    config::{Config, Idle},
    deep::Pool,
    engine::{
        Command, Event, FlowRecords, Handover, PaceLimits, Share, SharedCounters, Worker, WorkerConfig,
        live::{LiveMaps, SystemClock},
        page::Page,
    },
    flow::{StreamLimits, table::TableLimits},
    host::{Interface, Way},
    latency::LatencyRecorder,
    limit::Counts,
    ring::{BindError, CopyMode, QueueHandle, QueueRings, RingConfig, SharedQueues},
    tuning::ServiceNumbers,
};

/// Commands a thread may have waiting.
const COMMANDS: usize = 16;
/// Requests of one queue that may be incomplete at once.
const REQUESTS: usize = 1024;
/// Bytes of retransmission evidence of one queue.
const EVIDENCE_BYTES: usize = 32 << 20;
/// An idle thread looks for commands this often, at least.
const LONGEST_SLEEP: Duration = Duration::from_millis(125);
/// How often a starting thread is looked at.
const START_PAUSE: Duration = Duration::from_millis(1);
/// How long threads may take to end, which may mean to write down a million flows.
const ENDING: Duration = Duration::from_secs(5);
/// How long a queue may still be taken.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
const BIND_PAUSE: Duration = Duration::from_millis(1);
/// A flow that was blocked stays so this long: longer than clients retransmit into it.
const FLOW_BLOCK: Duration = Duration::from_mins(2);
/// Sizes of UMEM frames.
const SMALL_FRAME: u32 = 2048;
const LARGE_FRAME: u32 = 4096;
/// Ethernet header and two VLAN tags.
const LINK_HEADER: u32 = 14 + 8;

/// One queue's thread, and what the control plane holds of it.
pub(super) struct QueueThread {
    pub(super) slot: Slot,
    pub(super) cpu: Option<u32>,
    pub(super) zero_copy: bool,
    in_parts: bool,
    pub(super) counters: Arc<SharedCounters>,
    pub(super) handle: QueueHandle,
    pub(super) commands: SyncSender<Command>,
    /// Lets the thread begin.
    gate: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<FlowRecords>>>,
}

/// The flows that threads go on with.
#[derive(Clone)]
struct Before {
    records: Arc<Vec<FlowRecords>>,
    share: Share,
}

/// All threads.
pub(super) struct QueueThreads {
    pub(super) queues: Vec<QueueThread>,
}

/// What the queues' threads are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) interfaces: &'a [Interface],
    pub(super) slots: &'a Slots,
    pub(super) way: &'a Way,
    pub(super) tables: &'a Tables,
    pub(super) shared: &'a Arc<SharedQueues>,
    pub(super) policies: &'a Arc<Policies>,
    pub(super) clients: &'a Arc<Clients>,
    pub(super) page: &'a Page,
    pub(super) events: &'a SyncSender<Event>,
    pub(super) deep: Option<&'a Pool>,
    /// Of requests for limits, over all queues.
    pub(super) counts: &'a Arc<Counts>,
}

impl Parts<'_> {
    /// Binds the rings of every queue and starts its thread, pinned to a CPU; there is a recorder for each queue. The threads go on with
    /// the flows of those before them.
    pub(super) fn start(
        &self,
        recorders: Vec<LatencyRecorder>,
        records: &Arc<Vec<FlowRecords>>,
    ) -> anyhow::Result<QueueThreads> {
        let cpus = placement::cpus(&self.config.engine.cpus)?;
        let count = self.slots.total();
        let indexes = self.interfaces.iter().map(|interface| interface.index);
        // No thread of before redirects any more, and none has begun.
        self.tables
            .set_interfaces(&indexes.zip(self.slots.ranges()).collect::<Vec<_>>())?;
        let handover = if count > 1 {
            let bytes = frame_bytes(self.interfaces) as usize;
            let addresses: Vec<_> = self
                .slots
                .iter()
                .map(|slot| self.interfaces[slot.interface].address)
                .collect();
            Some(Handover::between(&addresses, bytes).context("cannot connect the queues' threads")?)
        } else {
            None
        };
        let share = if records.len() == recorders.len() {
            Share::SameQueue
        } else {
            Share::Spread(count)
        };
        let before = Before {
            records: Arc::clone(records),
            share,
        };
        let (ready, are_ready) = mpsc::channel();
        let mut threads = QueueThreads { queues: Vec::new() };
        for (slot, recorder) in self.slots.iter().zip(recorders) {
            let cpu = cpus.get(slot.number as usize % cpus.len().max(1)).copied();
            threads
                .queues
                .push(self.start_queue(slot, cpu, recorder, handover.as_ref(), &before, &ready)?);
        }
        drop(ready);
        // One that ends instead says why later.
        while are_ready.recv().is_ok() {}
        Ok(threads)
    }

    fn start_queue(
        &self,
        slot: Slot,
        cpu: Option<u32>,
        recorder: LatencyRecorder,
        handover: Option<&Arc<Handover>>,
        before: &Before,
        ready: &mpsc::Sender<()>,
    ) -> anyhow::Result<QueueThread> {
        let queue = slot.number;
        let interface = &self.interfaces[slot.interface];
        let frame_size = frame_size(self.interfaces);
        let output = self.way.output(slot.interface, slot.rx_queue);
        let output = output.ok_or_else(|| anyhow!("queue {queue} has no device to forward to"))?;
        let (rings, ring) = bind(self.config, (interface, slot.rx_queue), frame_size, output)?;
        let handle = self.shared.queue(queue);
        let maps = LiveMaps::new(Tables::open(self.tables.pin_dir())?, handle.clone());
        // Only now: packets that come earlier would be counted as consumed twice.
        let mut sockets = self.tables.sockets()?;
        sockets
            .set(queue, rings.socket_fd(), 0)
            .context("cannot enter the socket into the map")?;
        let scorer = Scorer::with_policies(Arc::clone(self.policies), REQUESTS)
            .with_cache(self.config.scoring.cache as usize, &cache_key()?)
            .with_baseline(self.config.scoring.baseline.entries as usize, &cache_key()?);
        let counters = Arc::new(SharedCounters::default());
        let (commands, receiver) = mpsc::sync_channel(COMMANDS);
        let config = worker_config(
            self.config,
            interface,
            frame_size,
            (queue, self.slots.total()),
            self.page,
        );
        let scheduling = self.config.engine.scheduling;
        let shared = Arc::clone(&counters);
        let counts = Arc::clone(self.counts);
        let services = ServiceNumbers::new(&self.config.services());
        let clients = Arc::clone(self.clients);
        let (before, ready) = (before.clone(), ready.clone());
        let (gate, opened) = mpsc::channel();
        let events = self.events.clone();
        let mailbox = handover.map(|handover| handover.inbox(queue));
        let port = self.deep.map(|pool| pool.port(queue as usize));
        let thread = thread::Builder::new()
            .name(format!("pc-queue-{queue}"))
            .spawn(move || {
                placement::take(cpu, scheduling);
                let worker = Worker::new(
                    config,
                    rings,
                    maps,
                    SystemClock,
                    scorer,
                    shared,
                    recorder,
                    events,
                    receiver,
                )
                .serving(services)
                .knowing(clients)
                .counting(counts);
                let mut worker = match mailbox {
                    Some(mailbox) => worker.among(mailbox),
                    None => worker,
                };
                for records in before.records.iter() {
                    worker.resume(records, before.share);
                }
                drop((before, ready));
                // No thread begins before all know their flows: a packet may come in by another queue than before.
                if opened.recv().is_err() {
                    return Ok(FlowRecords::default());
                }
                match port {
                    Some(port) => worker.with_second_tier(port).run(),
                    None => worker.run(),
                }
            })
            .context("cannot start a thread")?;
        Ok(QueueThread {
            slot,
            cpu,
            zero_copy: ring.mode == CopyMode::ZeroCopy,
            in_parts: ring.multi_buffer,
            counters,
            handle,
            commands,
            gate: Some(gate),
            thread: Some(thread),
        })
    }
}

impl QueueThreads {
    /// Whether packets of an interface that are larger than a frame come in parts; else they are lost.
    pub(super) fn in_parts(&self, interface: usize) -> bool {
        let mut its = self
            .queues
            .iter()
            .filter(|queue| queue.slot.interface == interface);
        its.all(|queue| queue.in_parts)
    }

    /// Lets the threads begin, and waits until every loop has gone round once: what came earlier would fall under the failure policy.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        for queue in &mut self.queues {
            if let Some(gate) = queue.gate.take() {
                // One that has ended does not listen.
                let _ = gate.send(());
            }
        }
        while self.queues.iter().any(|queue| queue.handle.heartbeat() == 0) {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            thread::sleep(START_PAUSE);
        }
        Ok(())
    }

    /// Why a thread has ended by itself, if one has.
    pub(super) fn failure(&mut self) -> Option<anyhow::Error> {
        for queue in &mut self.queues {
            if queue.thread.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(thread) = queue.thread.take()
            {
                let number = queue.slot.number;
                return Some(match thread.join() {
                    Ok(Ok(_)) => anyhow!("the thread of queue {number} ended"),
                    Ok(Err(error)) => anyhow!("queue {number}: {error}"),
                    Err(_) => anyhow!("the thread of queue {number} panicked"),
                });
            }
        }
        None
    }

    /// Tells all threads to end, and returns what they know of their flows; `None` if one hangs.
    pub(super) fn suspend(&mut self) -> Option<Vec<FlowRecords>> {
        if !self.tell_to_end(&|| Command::Suspend) {
            return None;
        }
        let ended = self
            .queues
            .iter_mut()
            .filter_map(|queue| Some((queue.slot.number, queue.thread.take()?.join())));
        let records = ended.filter_map(|(queue, ended)| {
            if let Ok(Ok(records)) = ended {
                return Some(records);
            }
            tracing::warn!("the thread of queue {queue} did not end in order: its flows are lost");
            None
        });
        Some(records.collect())
    }

    /// Tells all threads to end, and waits for them; not for ever. Returns whether all have ended.
    fn tell_to_end(&mut self, command: &dyn Fn() -> Command) -> bool {
        let deadline = Instant::now() + ENDING;
        let mut untold: Vec<_> = (0..self.queues.len()).collect();
        loop {
            // A thread that has ended does not listen.
            untold.retain(|queue| {
                let told = self.queues[*queue].commands.try_send(command());
                matches!(told, Err(TrySendError::Full(_)))
            });
            let ends = |queue: &QueueThread| queue.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if untold.is_empty() && self.queues.iter().all(ends) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(START_PAUSE);
        }
    }

    /// A queue whose thread has not shown itself for so long.
    pub(super) fn hung(&self, timeout: Duration) -> Option<u32> {
        let oldest = monotonic_ns().saturating_sub(timeout.as_nanos() as u64);
        let hung = self.queues.iter().find(|queue| queue.handle.heartbeat() < oldest);
        hung.map(|queue| queue.slot.number)
    }

    /// Tells all threads to end, and waits for them. One that hangs is left to the end of the process.
    pub(super) fn stop(&mut self) {
        for queue in &mut self.queues {
            // Those that have not begun yet end at the gate.
            queue.gate = None;
        }
        self.tell_to_end(&|| Command::Stop);
        for queue in &mut self.queues {
            let Some(thread) = queue.thread.take() else {
                continue;
            };
            if !thread.is_finished() {
                tracing::warn!("the thread of queue {} hangs", queue.slot.number);
            } else if !matches!(thread.join(), Ok(Ok(_))) {
                tracing::warn!("the thread of queue {} did not end in order", queue.slot.number);
            }
        }
    }
}

impl Drop for QueueThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What no client can guess: with it, one could look for attacks that seem to be known requests.
pub(super) fn cache_key() -> anyhow::Result<[u8; 16]> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).context("cannot get random bytes for the cache's key")?;
    Ok(key)
}

/// Bytes of a packet that one frame of the UMEM holds.
pub(super) fn frame_bytes(interfaces: &[Interface]) -> u32 {
    RingConfig::frame_bytes(frame_size(interfaces))
}

/// The same for all, as the XDP program counts frames by it.
fn frame_size(interfaces: &[Interface]) -> u32 {
    let mtu = interfaces.iter().map(|interface| interface.mtu).max();
    if mtu.unwrap_or_default() + LINK_HEADER <= RingConfig::frame_bytes(SMALL_FRAME) {
        SMALL_FRAME
    } else {
        LARGE_FRAME
    }
}

/// Binds in the best way that works, and says which it is.
fn bind(
    config: &Config,
    (interface, queue): (&Interface, u32),
    frame_size: u32,
    (output, output_queue): (&str, u32),
) -> anyhow::Result<(QueueRings, RingConfig)> {
    let mut ring = RingConfig {
        interface: interface.name.clone(),
        queue,
        output: output.to_owned(),
        output_queue,
        frames: config.limits.frames_per_queue,
        frame_size,
        mode: CopyMode::ZeroCopy,
        multi_buffer: true,
        busy_budget: config.engine.poll.busy_budget,
    };
    let is_jumbo = interface.mtu + LINK_HEADER > RingConfig::frame_bytes(frame_size);
    let mut failure = None;
    for (mode, multi_buffer) in [
        (CopyMode::ZeroCopy, true),
        (CopyMode::ZeroCopy, false),
        (CopyMode::Copy, true),
        (CopyMode::Copy, false),
    ] {
        // Better a copy of every packet than none of the large ones.
        if is_jumbo && mode == CopyMode::ZeroCopy && !multi_buffer {
            continue;
        }
        (ring.mode, ring.multi_buffer) = (mode, multi_buffer);
        match bind_when_free(&ring) {
            Ok(rings) => {
                if queue == 0 {
                    explain(interface, &ring, failure.as_ref());
                }
                return Ok((rings, ring));
            }
            // A veth has no zero copy, and cannot share the UMEM of a NIC that has.
            Err(BindError::Socket { source, .. }) if mode == CopyMode::ZeroCopy || multi_buffer => {
                failure = Some(source);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(anyhow!(
        "queue {queue} of {} cannot be read in any way",
        interface.name
    ))
}

/// The kernel gives a queue free some time after its last socket was closed.
fn bind_when_free(ring: &RingConfig) -> Result<QueueRings, BindError> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match QueueRings::bind(ring) {
            Err(BindError::Socket { source, .. })
                if source.raw_os_error() == Some(nix::libc::EBUSY) && Instant::now() < deadline =>
            {
                thread::sleep(BIND_PAUSE);
            }
            bound => return bound,
        }
    }
}

/// Says what could not be had.
fn explain(interface: &Interface, ring: &RingConfig, failure: Option<&std::io::Error>) {
    let Some(failure) = failure else { return };
    if ring.mode == CopyMode::Copy {
        tracing::info!(
            "{}: no zero copy ({failure}); packets are copied into the UMEM",
            interface.name
        );
    }
    if !ring.multi_buffer {
        tracing::warn!(
            "{}: no packets in parts ({failure}; Linux has them since 6.6): those above {} bytes are lost",
            interface.name,
            RingConfig::frame_bytes(ring.frame_size) - LINK_HEADER
        );
    }
}

fn worker_config(
    config: &Config,
    interface: &Interface,
    frame_size: u32,
    (queue, queues): (u32, u32),
    page: &Page,
) -> WorkerConfig {
    let limits = &config.limits;
    let seconds = |seconds: u32| u64::from(seconds) * 1_000_000_000;
    let heartbeat = Duration::from_millis(u64::from(limits.heartbeat_timeout_ms));
    let mut table = TableLimits::with_capacity(limits.max_flows.div_ceil(queues));
    table.half_open.timeout = seconds(limits.half_open_timeout_s);
    table.established.timeout = seconds(limits.established_timeout_s);
    table.closing.timeout = seconds(limits.closing_timeout_s);
    table.requesting.timeout = match limits.request_timeout_s {
        0 => table.established.timeout,
        limit => seconds(limit),
    };
    WorkerConfig {
        queue,
        on_failure: config.engine.on_failure,
        mtu: interface
            .mtu
            .min(RingConfig::frame_bytes(frame_size) - LINK_HEADER) as usize,
        table,
        stream: StreamLimits {
            held_bytes: limits.held_bytes_per_flow,
            unverifiable: config.engine.on_failure,
            ..StreamLimits::default()
        },
        // A quarter of the UMEM: the rest keeps the rings running.
        held_segments: limits.frames_per_queue as usize / 4,
        held_bytes: usize::try_from(limits.held_bytes / u64::from(queues)).unwrap_or(usize::MAX),
        evidence_bytes: EVIDENCE_BYTES,
        requests: REQUESTS,
        respond: config.response.respond,
        page: page.clone(),
        flow_block_ns: FLOW_BLOCK.as_nanos() as u64,
        told_flow_block_ns: seconds(limits.closing_timeout_s.saturating_add(1)),
        pace: PaceLimits {
            patience_ns: seconds(limits.request_timeout_s),
            body_bytes_per_s: limits.body_bytes_per_s,
        },
        stale_ns: heartbeat.as_nanos() as u64,
        spin_ns: match config.engine.poll.idle {
            Idle::Spin => u64::MAX,
            Idle::Sleep => u64::from(config.engine.poll.spin_us) * 1000,
        },
        sleep: (heartbeat / 4).min(LONGEST_SLEEP),
        report_allowed: false,
    }
}

/// The page of a 403.
pub(super) fn page(config: &Config) -> anyhow::Result<Page> {
    match &config.response.page {
        Some(path) => {
            let html = fs::read_to_string(path)
                .with_context(|| format!("cannot read response.page {}", path.display()))?;
            Ok(Page::new(&html))
        }
        None => Ok(Page::default()),
    }
}
