//! What a thread knows of its flows, written down for the thread that goes on with them: of the engine that takes over, or of this
//! one with another number of queues.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    time::Duration,
};

use filter_common::{Address, FlowKey};
use serde::{Deserialize, Serialize};

use super::{
    Clock, KernelMaps, Rings, Worker,
    flow::{Flow, Requests},
    verdict::Judge,
    worker::give_up,
};
use crate::flow::{Continuation, Stream};

/// How long one round waits for packets that are on their way to the ring.
const ROUND: Duration = Duration::from_millis(1);
/// Rounds without a packet after which none is.
const QUIET_ROUNDS: u32 = 2;
/// Rounds in all, for those and for verdicts of the second tier.
const ROUNDS: u32 = 500;

/// The flows of one thread, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowRecords {
    /// The queue they came in by.
    pub queue: u32,
    /// How many they are.
    pub flows: u64,
    /// One record after the other.
    pub bytes: Vec<u8>,
}

/// How flows are shared out among loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// There are as many as before, and each goes on with those of its queue.
    SameQueue,
    /// There are so many, and each goes on with its part of all.
    Spread(u32),
}

impl Share {
    /// The queue whose loop goes on with a flow that came in by `queue`.
    fn owner(self, queue: u32, key: &Key) -> u32 {
        match self {
            Self::SameQueue => queue,
            Self::Spread(queues) => {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                (hasher.finish() % u64::from(queues.max(1))) as u32
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    key: Key,
    stream: Continuation,
    requests: filter_score::Continuation,
    confirmed: bool,
    at_head: bool,
    suspected: bool,
}

/// A [`FlowKey`].
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    vlan: [u8; 3],
}

impl FlowRecords {
    /// Changes whenever what is written does. Both sides have to be of the same.
    pub const FORMAT: u32 = 1 << 16 | filter_score::Continuation::FORMAT;

    fn write(&mut self, record: &Record) {
        match postcard::to_stdvec(record) {
            Ok(bytes) => {
                self.bytes.extend(bytes);
                self.flows += 1;
            }
            Err(error) => tracing::warn!("a flow cannot be written down: {error}"),
        }
    }
}

impl From<&FlowKey> for Key {
    fn from(key: &FlowKey) -> Self {
        Self {
            source: key.source.into(),
            destination: key.destination.into(),
            source_port: key.source_port,
            destination_port: key.destination_port,
            protocol: key.protocol,
            vlan: key.vlan,
        }
    }
}

impl From<Key> for FlowKey {
    fn from(key: Key) -> Self {
        Self {
            source: Address::from(key.source),
            destination: Address::from(key.destination),
            source_port: key.source_port,
            destination_port: key.destination_port,
            protocol: key.protocol,
            vlan: key.vlan,
        }
    }
}

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// Lets nothing more be redirected, handles what is under way, and writes down what is known of the flows. Held segments and what
    /// is handed over meanwhile are dropped: the clients send them again.
    pub fn suspend(&mut self) -> FlowRecords {
        self.maps.beat(0);
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            match self.work() {
                Ok((true, _)) => quiet = 0,
                Ok((false, _)) => quiet += 1,
                // The device has gone, and with it what was on its way.
                Err(_) => break,
            }
            if quiet >= QUIET_ROUNDS && !self.judge.awaits() {
                break;
            }
            if self.rings.wait(ROUND).is_err() {
                break;
            }
        }
        let mut records = FlowRecords {
            queue: self.config.queue,
            ..FlowRecords::default()
        };
        let Self {
            table,
            reassembly,
            judge,
            rings,
            ..
        } = self;
        table.drain(|key, flow| {
            let Flow {
                stream,
                mut requests,
                confirmed,
            } = flow;
            records.write(&Record {
                key: Key::from(&key),
                at_head: requests.at_head,
                suspected: requests.suspected,
                requests: judge.suspend(&mut requests),
                stream: stream.suspend(reassembly, |frame| rings.release(frame)),
                confirmed,
            });
        });
        records
    }

    /// Goes on with those flows of another loop that are this one's. Those for which there is no room are picked up like any others that
    /// are first seen in mid-stream.
    pub fn resume(&mut self, records: &FlowRecords, share: Share) {
        let now = self.clock.now();
        let mut rest = records.bytes.as_slice();
        while !rest.is_empty() {
            match postcard::take_from_bytes::<Record>(rest) {
                Ok((record, after)) => {
                    rest = after;
                    if share.owner(records.queue, &record.key) == self.config.queue {
                        self.resume_flow(record, records.queue, now);
                    }
                }
                Err(error) => {
                    tracing::warn!("flows are lost: their records cannot be read ({error})");
                    return;
                }
            }
        }
    }

    fn resume_flow(&mut self, record: Record, queue: u32, now: u64) {
        let key = FlowKey::from(record.key);
        let Self {
            table,
            reassembly,
            judge,
            rings,
            maps,
            config,
            ..
        } = self;
        let mut flow = Flow::new(0);
        flow.confirmed = record.confirmed;
        let inserted = table.insert(
            key,
            flow.class(),
            now,
            |_| flow,
            |key, gone, _| give_up(&key, gone, reassembly, judge, rings, maps),
        );
        let Ok(handle) = inserted else { return };
        let Some(flow) = table.get_mut(handle) else { return };
        flow.stream = Stream::continuing(&record.stream, reassembly, handle.slot());
        flow.requests = judge.resume(record.requests, &key, now);
        flow.requests.at_head = record.at_head;
        flow.requests.suspected = record.suspected;
        let class = flow.class();
        table.touch(handle, class, now);
        if queue != config.queue {
            maps.own_flow(&key);
        }
    }
}

impl Judge {
    /// Where a flow's requests are, for another loop.
    fn suspend(&mut self, requests: &mut Requests) -> filter_score::Continuation {
        // A header of the PROXY protocol does not travel in pieces.
        let in_greeting = requests.greeting.is_some();
        let continuation = self.scorer.suspend(&mut requests.stream);
        self.release(requests);
        if in_greeting {
            continuation.unsynced()
        } else {
            continuation
        }
    }

    /// Goes on with the requests of a flow.
    fn resume(&mut self, continuation: filter_score::Continuation, flow: &FlowKey, now: u64) -> Requests {
        let service = self.services.of(flow.destination, flow.destination_port);
        let mut requests = Requests {
            stream: self.scorer.resume(continuation, service),
            ..Requests::default()
        };
        self.settle(&mut requests, flow);
        // Who is slow has the whole time again, and no more.
        self.note_pace(&mut requests, true, 0, now);
        requests
    }
}
