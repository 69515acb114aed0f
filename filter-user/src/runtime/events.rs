//! What the queues report: blocked requests raise the reputation of their source, and past the threshold the source
//! is blocked.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use filter_common::{Reason, event::DropEvent};
use filter_score::Verdict;
use serde_json::json;

use super::{allowance::Allowance, state::State};
use crate::{
    deep::{BreakerState, Notice},
    engine::Event,
    live::{Hub, Told, Topic},
};

/// Events that may wait; further ones are lost, and counted by the queue.
const CAPACITY: usize = 8192;
/// Decisions logged in one second, of one source at most a quarter; the rest is only counted.
const LOGGED_PER_SECOND: u32 = 200;

/// The channel from the queues.
pub(super) fn channel() -> (SyncSender<Event>, Receiver<Event>) {
    mpsc::sync_channel(CAPACITY)
}

/// How many decisions were told, and how many were not.
#[derive(Debug, Default)]
pub(super) struct Telling {
    told: AtomicU64,
    suppressed: AtomicU64,
}

impl Telling {
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

/// Handles events on a thread of its own until all queues have ended.
pub(super) fn start(state: Arc<State>, events: Receiver<Event>) -> thread::JoinHandle<()> {
    thread::Builder::new()
        .name("pc-events".into())
        .spawn(move || {
            let mut log = Allowance::new(LOGGED_PER_SECOND);
            let mut tell = Allowance::new(state.config.events.rate);
            loop {
                match events.recv_timeout(Duration::from_secs(1)) {
                    Ok(event) => {
                        let (client, time_ns, enforced) = (event.client, event.time_ns, event.enforced);
                        let verdict = event.decision.decision;
                        let source = state.source_net(client).addr();
                        let is_told = tell.take(source, verdict);
                        if is_told {
                            let told = Told::from(event);
                            if log.take(source, verdict) {
                                log_decision(&told);
                            }
                            state
                                .chronicle
                                .hub
                                .tell_of(Topic::Verdicts, client, Some(told.decision), &told);
                            state.telling.told.fetch_add(1, Ordering::Relaxed);
                        } else {
                            state.telling.suppressed.fetch_add(1, Ordering::Relaxed);
                        }
                        if verdict == Verdict::Block {
                            state.offence(client, time_ns, enforced, is_told);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if let Some(refused) = log.turn() {
                    tracing::info!("{refused} more decisions in the last second");
                }
                if let Some(refused) = tell.turn() {
                    state
                        .chronicle
                        .hub
                        .tell(Topic::Verdicts, &json!({ "suppressed": refused }));
                }
            }
        })
        .expect("the first threads of a process can be started")
}

/// Says what happened in the deep-inspection pool. Each of these is rare by its nature: changes wait for a cool-down.
pub(super) fn notice(notice: Notice, hub: &Hub) {
    let body = match notice {
        Notice::Scaled { workers, depth } => {
            tracing::info!("deep inspection: {workers} workers now, as {depth} requests wait");
            json!({ "change": "scaled", "workers": workers, "depth": depth })
        }
        Notice::Died => {
            tracing::error!("deep inspection: a worker panicked; another takes its place");
            json!({ "change": "died" })
        }
        Notice::Stalled => {
            tracing::error!("deep inspection: a worker hangs; another takes its place");
            json!({ "change": "stalled" })
        }
        Notice::Breaker { queue, state } => {
            if state == BreakerState::Open {
                tracing::warn!(
                    "deep inspection does not answer queue {queue} in time: suspicious requests go on without a second look"
                );
            } else {
                tracing::info!(
                    "deep inspection of queue {queue}: the breaker is {}",
                    state.name()
                );
            }
            json!({ "change": "breaker", "queue": queue, "state": state.name() })
        }
    };
    hub.tell(Topic::Workers, &body);
}

fn log_decision(told: &Told) {
    let through = told.proxy.map(|proxy| format!(" (through {proxy})"));
    tracing::info!(
        "{} {} {}{} -> {} score {:.2} anomaly {}: {} | {}",
        match told.decision {
            Verdict::Block => "block",
            Verdict::Suspicious => "suspicious",
            Verdict::Allow => "allow",
        },
        told.request_id,
        told.client,
        through.unwrap_or_default(),
        told.destination,
        told.score,
        told.anomaly,
        told.request_line,
        told.explanation,
    );
}

/// Sampled drops that are told each time they are read; the rest is in the log alone.
const TOLD_DROPS: usize = 10;

/// Reads the sampled drops of the XDP program.
pub(super) fn drain_drops(ring: &mut RingBuf<MapData>, hub: &Hub) {
    let mut told = 0;
    while let Some(item) = ring.next() {
        if let Some(drop) = read_drop(&item) {
            if told < TOLD_DROPS {
                told += 1;
                let source = drop.flow.source.into();
                let body = json!({
                    "change": "dropped",
                    "reason": Reason::from_number(drop.reason).map_or("?", Reason::name),
                    "source": SocketAddr::new(source, drop.flow.source_port),
                    "destination": SocketAddr::new(drop.flow.destination.into(), drop.flow.destination_port),
                    "protocol": drop.flow.protocol,
                    "bytes": drop.length,
                    "queue": drop.queue,
                });
                hub.tell_of(Topic::Flows, source, None, &body);
            }
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
