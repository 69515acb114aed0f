//! What the queues report: blocked requests raise the reputation of their source, and past the threshold the source
//! is blocked.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use filter_common::{Reason, event::DropEvent};
use filter_score::Verdict;

use super::state::State;
use crate::{
    deep::{BreakerState, Notice},
    engine::Event,
};

/// Events that may wait; further ones are lost, and counted by the queue.
const CAPACITY: usize = 8192;
/// Decisions logged in one second; the rest is only counted.
const LOGGED_PER_SECOND: u32 = 50;

/// The channel from the queues.
pub(super) fn channel() -> (SyncSender<Event>, Receiver<Event>) {
    mpsc::sync_channel(CAPACITY)
}

/// Handles events on a thread of its own until all queues have ended.
pub(super) fn start(state: Arc<State>, events: Receiver<Event>) -> thread::JoinHandle<()> {
    thread::Builder::new()
        .name("pc-events".into())
        .spawn(move || {
            let mut log = Log::new();
            loop {
                match events.recv_timeout(Duration::from_secs(1)) {
                    Ok(event) => {
                        log.decision(&event);
                        if event.decision.decision == Verdict::Block {
                            state.offence(event.client, event.time_ns, event.enforced);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => log.turn(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })
        .expect("the first threads of a process can be started")
}

/// Says what happened in the deep-inspection pool. Each of these is rare by its nature: changes wait for a cool-down.
pub(super) fn notice(notice: Notice) {
    match notice {
        Notice::Scaled { workers, depth } => {
            tracing::info!("deep inspection: {workers} workers now, as {depth} requests wait");
        }
        Notice::Died => tracing::error!("deep inspection: a worker panicked; another takes its place"),
        Notice::Stalled => tracing::error!("deep inspection: a worker hangs; another takes its place"),
        Notice::Breaker {
            queue,
            state: BreakerState::Open,
        } => tracing::warn!(
            "deep inspection does not answer queue {queue} in time: suspicious requests go on without a second look"
        ),
        Notice::Breaker { queue, state } => {
            tracing::info!(
                "deep inspection of queue {queue}: the breaker is {}",
                state.name()
            );
        }
    }
}

/// Who sent a request, and through which proxy.
struct Sender<'a>(&'a Event);

impl fmt::Display for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = IpAddr::from(self.0.flow.source);
        write!(f, "{}", self.0.client)?;
        if peer != self.0.client {
            write!(f, " (through {peer})")?;
        }
        Ok(())
    }
}

/// Log lines of decisions, at most so many a second.
struct Log {
    second: Instant,
    written: u32,
    suppressed: u64,
}

impl Log {
    fn new() -> Self {
        Self {
            second: Instant::now(),
            written: 0,
            suppressed: 0,
        }
    }

    fn turn(&mut self) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            if self.suppressed > 0 {
                tracing::info!("{} more decisions in the last second", self.suppressed);
            }
            *self = Self::new();
        }
    }

    fn decision(&mut self, event: &Event) {
        self.turn();
        if self.written == LOGGED_PER_SECOND {
            self.suppressed += 1;
            return;
        }
        self.written += 1;
        let decision = &event.decision;
        tracing::info!(
            "{} {:016x} {} -> {}:{} score {:.2} anomaly {}: {} | {}",
            match decision.decision {
                Verdict::Block => "block",
                Verdict::Suspicious => "suspicious",
                Verdict::Allow => "allow",
            },
            event.request_id,
            Sender(event),
            IpAddr::from(event.flow.destination),
            event.flow.destination_port,
            decision.score,
            decision.anomaly,
            decision.request_line,
            decision.explanation,
        );
    }
}

/// Reads the sampled drops of the XDP program.
pub(super) fn drain_drops(ring: &mut RingBuf<MapData>) {
    while let Some(item) = ring.next() {
        if let Some(drop) = read_drop(&item) {
            tracing::debug!(
                "drop {}: {} port {} -> {} port {}, {} bytes, queue {}",
                Reason::from_number(drop.reason).map_or("?", Reason::name),
                drop.flow.source,
                drop.flow.source_port,
                drop.flow.destination,
                drop.flow.destination_port,
                drop.length,
                drop.queue
            );
        }
    }
}

/// Takes an event apart, field by field as it is laid out.
fn read_drop(bytes: &[u8]) -> Option<DropEvent> {
    use filter_common::{Address, FlowKey};
    let bytes: &[u8; size_of::<DropEvent>()] = bytes.first_chunk()?;
    let u64_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let u32_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let u16_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    let address_at = |at: usize| bytes[at..].first_chunk().map(|bytes| Address::v6(*bytes));
    Some(DropEvent {
        time_ns: u64_at(0)?,
        flow: FlowKey {
            source: address_at(8)?,
            destination: address_at(24)?,
            source_port: u16_at(40)?,
            destination_port: u16_at(42)?,
            protocol: bytes[44],
            vlan: *bytes[45..].first_chunk()?,
        },
        reason: u32_at(48)?,
        length: u32_at(52)?,
        queue: u32_at(56)?,
        reserved: 0,
    })
}
