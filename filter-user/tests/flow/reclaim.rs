//! Table, streams and evidence together, as an engine uses them.

use filter_user::flow::table::TableLimits;
use filter_user::flow::{
    Action, EvidencePool, Flags, FlowTable, HoldPool, Reassembly, Replies, Reply, Segment, Seq, Stream,
    StreamLimits, TimeoutClass,
};

const CHUNKS: usize = 8;

/// A server that has acknowledged this much, if anything, as the engine would read it from its map.
struct Server(Option<Seq>);

impl Replies for Server {
    fn look(&mut self) -> Option<Reply> {
        Some(Reply {
            acknowledged: self.0?,
            syn_ack: None,
        })
    }
}

struct Engine {
    table: FlowTable<u32, Stream>,
    shared: Reassembly<Vec<u8>>,
    /// What each flow's server has acknowledged.
    acknowledged: Vec<Option<Seq>>,
}

impl Engine {
    fn new() -> Self {
        let evidence = EvidencePool::new(CHUNKS, 64, 1024);
        Self {
            table: FlowTable::new(TableLimits::with_capacity(1000)),
            shared: Reassembly::new(StreamLimits::default(), evidence, HoldPool::new(8, 4096)),
            acknowledged: vec![None; 1000],
        }
    }

    /// Whether the segment went on.
    fn send(&mut self, key: u32, seq: u32, flags: Flags, payload: &[u8], now: u64) -> bool {
        let found = self.table.find(&key);
        let handle = found.unwrap_or_else(|| {
            let shared = &mut self.shared;
            let removed = |_, stream: Stream, _| stream.release(shared, drop);
            let make = |handle: filter_user::flow::FlowHandle| Stream::new(handle.slot());
            self.table
                .insert(key, TimeoutClass::HalfOpen, now, make, removed)
                .expect("the table has room")
        });
        let stream = self.table.get_mut(handle).expect("the handle is fresh");
        let segment = Segment {
            seq: Seq(seq),
            flags,
            offset: 0,
            len: payload.len() as u16,
        };
        let mut server = Server(self.acknowledged[key as usize]);
        let went_on = match stream.offer(&mut self.shared, segment, payload.to_vec(), &mut server) {
            Action::Score(pending) => pending.accept() == payload,
            Action::Forward(_) => true,
            Action::Hold | Action::Drop(..) => false,
        };
        let class = stream.class();
        self.table.touch(handle, class, now);
        went_on
    }

    /// Asks the servers of the flows that have kept evidence the longest, until a chunk is free.
    fn reclaim(&mut self) {
        for _ in 0..CHUNKS {
            if self.shared.evidence.free_chunks() > 0 {
                return;
            }
            let Some(owner) = self.shared.evidence.oldest() else {
                return;
            };
            let (key, stream) = self.table.at_slot(owner).expect("an owner is in the table");
            let acknowledged = self.acknowledged[*key as usize];
            let freed = acknowledged.is_some_and(|ack| stream.acknowledge(&mut self.shared, ack));
            if !freed {
                self.shared.evidence.defer_oldest();
            }
        }
    }
}

/// Keep-alive flows that sent one small request each must not keep others from being inspected.
#[test]
fn idle_flows_do_not_starve_busy_ones_of_evidence() {
    let mut engine = Engine::new();
    for key in 0..200 {
        assert!(engine.send(key, 0, Flags::SYN, b"", 0));
        engine.reclaim();
        assert!(
            engine.send(key, 1, Flags::ACK, b"GET / HTTP/1.1", 0),
            "flow {key}"
        );
        // Every third server has not answered yet; one such chunk must not block the others.
        if key % 3 != 0 || key > 12 {
            engine.acknowledged[key as usize] = Some(Seq(15));
        }
    }
    for key in [0, 3, 6, 9, 12] {
        assert!(
            !engine.send(key, 1, Flags::ACK, b"GET /evil HTTP", 0),
            "evidence of flow {key} is gone"
        );
        assert!(engine.send(key, 1, Flags::ACK, b"GET / HTTP/1.1", 0));
    }
}

/// An expired flow gives back what it kept and held.
#[test]
fn expiry_releases_everything() {
    let mut engine = Engine::new();
    for key in 0..CHUNKS as u32 {
        assert!(engine.send(key, 0, Flags::SYN, b"", 0));
        assert!(engine.send(key, 1, Flags::ACK, b"GET", 0));
        assert!(!engine.send(key, 9, Flags::ACK, b"held", 0));
    }
    assert_eq!(
        (
            engine.shared.evidence.free_chunks(),
            engine.shared.hold.segments()
        ),
        (0, CHUNKS)
    );
    let mut frames = 0;
    let shared = &mut engine.shared;
    let day = 86_400_000_000_000;
    while let Some((handle, ..)) = engine.table.due_entry(day) {
        let (_, stream) = engine.table.remove(handle).expect("it is due, so it is there");
        stream.release(shared, |_| frames += 1);
    }
    assert_eq!(frames, CHUNKS);
    assert_eq!(
        (
            engine.shared.evidence.free_chunks(),
            engine.shared.hold.segments()
        ),
        (CHUNKS, 0)
    );
    assert!(engine.table.is_empty());
}
