//! Capture files through the engine's own loop, on in-memory rings with the capture's clock.
//!
//! Both directions of a capture are used: segments towards a configured service go through the loop as they would
//! from a NIC, replies are observed as the egress program observes them.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use filter_common::{Address, FlowKey, FlowState, Packet, packet::tcp_flag};
use filter_score::{Scorer, SecondLook};
use serde_json::json;

use crate::{
    config::{self, Config, Inspect},
    engine::{
        Event, PaceLimits, SharedCounters, Worker, WorkerConfig,
        inspect::inspect,
        memory::{MemoryClock, MemoryMaps, MemoryRings},
        page::Page,
    },
    flow::{StreamLimits, table::TableLimits},
    latency::LatencyBook,
    scan::{Capture, Judge, Sink},
    tuning::ServiceNumbers,
};

/// Flows of a capture that are followed at once.
const FLOWS: u32 = 65_536;
/// Decisions that may come of one frame.
const DECISIONS_PER_FRAME: usize = 65_536;
const MEGABYTE: usize = 1 << 20;

type Loop = Worker<MemoryRings, MemoryMaps, MemoryClock>;

/// Scores the requests of a capture. Nothing is blocked: what follows an attack is scored, too.
///
/// # Errors
///
/// Those of the capture, as [`CaptureError`](crate::scan::CaptureError), and of the sink.
pub fn replay(
    config: &Config,
    judge: &Judge,
    capture: &mut Capture,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let (events, decisions) = mpsc::sync_channel(DECISIONS_PER_FRAME);
    let (_commands, receiver) = mpsc::sync_channel(1);
    let clock = MemoryClock::default();
    let (_book, mut recorders) = LatencyBook::new(1);
    let policies = Arc::new(judge.policies.clone().detecting());
    let look = SecondLook::new(&policies);
    let services = config.services();
    let mut engine = Worker::new(
        worker_config(),
        MemoryRings::default(),
        MemoryMaps::default(),
        clock.clone(),
        Scorer::with_policies(policies, 1024),
        Arc::new(SharedCounters::default()),
        recorders.remove(0),
        events,
        receiver,
    )
    .with_second_look(look)
    .serving(ServiceNumbers::new(&services));
    let mut number = 0;
    while let Some(frame) = capture.next_frame()? {
        let Ok(Some(packet)) = Packet::parse(frame.bytes) else {
            continue;
        };
        clock.set(frame.timestamp_ns);
        if !towards_service(&services, packet.destination, packet.destination_port) {
            observe(&mut engine, &packet, frame.bytes);
            continue;
        }
        let started = Instant::now();
        engine.rings_mut().push(frame.bytes.to_vec(), None);
        engine.turn()?;
        engine.rings_mut().forwarded.clear();
        engine.rings_mut().transmitted.clear();
        let count = report(&decisions, &mut number, sink)?;
        if count > 0 {
            sink.scored(
                count,
                u64::try_from(frame.bytes.len()).unwrap_or(0),
                started.elapsed(),
            );
        }
    }
    Ok(())
}

fn report(decisions: &Receiver<Event>, number: &mut u64, sink: &mut dyn Sink) -> anyhow::Result<u64> {
    let mut count = 0;
    while let Ok(event) = decisions.try_recv() {
        *number += 1;
        count += 1;
        let FlowKey {
            source,
            source_port,
            destination,
            destination_port,
            ..
        } = event.flow;
        let id = json!(format!(
            "{number} {source}:{source_port}-{destination}:{destination_port}"
        ));
        sink.decision(&id, &event.decision)?;
    }
    Ok(count)
}

fn towards_service(services: &[config::Service], destination: Address, port: u16) -> bool {
    services.iter().any(|service| {
        let here = match service.address {
            config::Address::Any => true,
            config::Address::Ip(ip) => Address::from(ip) == destination,
        };
        here && service.port == port && service.inspect != Inspect::None
    })
}

/// What the egress program does with a reply.
fn observe(engine: &mut Loop, packet: &Packet, bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    let Ok(reply) = inspect(&mut copy) else { return };
    let state = engine
        .maps_mut()
        .flows
        .entry(reply.key.reversed())
        .or_insert(FlowState::inspect(0));
    state.server_flags |= FlowState::SERVER_SEEN;
    state.server_next = reply.segment.end().0;
    if packet.tcp_flags & tcp_flag::ACK != 0 {
        state.server_ack = reply.acknowledgement.0;
    }
    if packet.tcp_flags & tcp_flag::SYN != 0 {
        state.server_flags |= FlowState::SERVER_OPENED;
        state.server_opened = reply.acknowledgement.0;
        state.server_isn = reply.segment.seq.0;
    }
}

fn worker_config() -> WorkerConfig {
    WorkerConfig {
        queue: 0,
        on_failure: config::FailurePolicy::Pass,
        mtu: usize::MAX,
        table: TableLimits::with_capacity(FLOWS),
        stream: StreamLimits {
            unverifiable: config::FailurePolicy::Pass,
            ..StreamLimits::default()
        },
        held_segments: 16_384,
        held_bytes: 64 * MEGABYTE,
        evidence_bytes: 64 * MEGABYTE,
        requests: 1024,
        respond: config::Respond::Drop,
        page: Page::default(),
        flow_block_ns: 0,
        told_flow_block_ns: 0,
        pace: PaceLimits::default(),
        stale_ns: u64::MAX,
        spin_ns: u64::MAX,
        sleep: Duration::ZERO,
        report_allowed: true,
    }
}
