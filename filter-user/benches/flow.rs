//! The flow layer, operation by operation.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use filter_user::flow::checksum::{PseudoHeader, complete, verify};
use filter_user::flow::table::TableLimits;
use filter_user::flow::{
    Action, EvidencePool, Flags, FlowTable, HoldPool, Reassembly, Replies, Reply, Segment, Seq, Stream,
    StreamLimits, TimeoutClass,
};

type Key = [u8; 40];

fn key(number: u32) -> Key {
    let mut key = [7; 40];
    key[12..16].copy_from_slice(&number.to_be_bytes());
    key
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum_verify");
    for length in [64, 270, 1468] {
        let mut segment: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let pseudo = PseudoHeader::ipv4([10, 0, 0, 1], [10, 0, 0, 2], length);
        complete(&mut segment, pseudo);
        group.throughput(Throughput::Bytes(length.into()));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| verify(black_box(&segment), black_box(pseudo)));
        });
    }
    group.finish();
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    for flows in [1_000_u32, 65_536, 1_000_000] {
        let mut table: FlowTable<Key, Stream> = FlowTable::new(TableLimits::with_capacity(flows));
        for number in 0..flows - 1 {
            let inserted = table.insert(
                key(number),
                TimeoutClass::Established,
                0,
                |handle| Stream::new(handle.slot()),
                |_, _, _| {},
            );
            assert!(inserted.is_ok());
        }
        // A walk over all flows in an order that no cache predicts.
        let mut number = 0_u32;
        let mut next = move || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 8) % (flows - 1)
        };
        group.bench_function(BenchmarkId::new("find", flows), |bencher| {
            bencher.iter(|| table.find(black_box(&key(next()))));
        });
        let mut now = 0;
        group.bench_function(BenchmarkId::new("find_touch", flows), |bencher| {
            bencher.iter(|| {
                // Always past the resolution, so that each touch moves the entry.
                now += 2_000_000_000;
                let handle = table
                    .find(black_box(&key(next())))
                    .expect("every key is in the table");
                table.touch(handle, TimeoutClass::Established, now);
            });
        });
        group.bench_function(BenchmarkId::new("insert_remove", flows), |bencher| {
            bencher.iter(|| {
                let handle = table
                    .insert(
                        key(u32::MAX),
                        TimeoutClass::HalfOpen,
                        now,
                        |_| Stream::new(0),
                        |_, _, _| {},
                    )
                    .ok()?;
                table.remove(handle)
            });
        });
        table.drain(|_, _| {});
    }
    group.finish();
}

/// A server that has acknowledged everything up to here.
struct Server(Seq);

impl Replies for Server {
    fn look(&mut self) -> Option<Reply> {
        Some(Reply {
            acknowledged: self.0,
            syn_ack: None,
        })
    }
}

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    for length in [250_u16, 1448] {
        let payload = vec![b'x'; usize::from(length)];
        let evidence = EvidencePool::new(1024, 2048, 256 * 1024);
        let mut shared: Reassembly<&[u8]> =
            Reassembly::new(StreamLimits::default(), evidence, HoldPool::new(256, 1 << 20));
        let segment = |seq, flags, len| Segment {
            seq,
            flags,
            offset: 0,
            len,
        };

        let mut stream = Stream::new(0);
        let mut seq = Seq(1);
        assert!(matches!(
            stream.offer(&mut shared, segment(Seq(0), Flags::SYN, 0), &[], &mut Server(seq)),
            Action::Forward(_)
        ));
        group.bench_function(BenchmarkId::new("in_order_offer_accept", length), |bencher| {
            bencher.iter(|| {
                let mut server = Server(seq);
                let Action::Score(pending) = stream.offer(
                    &mut shared,
                    segment(seq, Flags::ACK, length),
                    &payload,
                    &mut server,
                ) else {
                    unreachable!("the segment is in order")
                };
                let frame = black_box(pending).accept();
                seq += u32::from(length);
                assert!(stream.next_held(&mut shared).is_none());
                frame
            });
        });
        group.bench_function(BenchmarkId::new("retransmission_compared", length), |bencher| {
            let again = segment(seq - u32::from(length), Flags::ACK, length);
            bencher.iter(|| {
                let action = stream.offer(&mut shared, again, black_box(&payload), &mut Server(Seq(1)));
                assert!(matches!(action, Action::Forward(_)));
            });
        });
        group.bench_function(BenchmarkId::new("swapped_pair", length), |bencher| {
            bencher.iter(|| {
                let mut server = Server(seq);
                let second = segment(seq + u32::from(length), Flags::ACK, length);
                assert!(matches!(
                    stream.offer(&mut shared, second, &payload, &mut server),
                    Action::Hold
                ));
                let first = segment(seq, Flags::ACK, length);
                let mut action = Some(stream.offer(&mut shared, first, &payload, &mut server));
                while let Some(Action::Score(pending)) = action {
                    black_box(pending.accept());
                    action = stream.next_held(&mut shared);
                }
                seq += 2 * u32::from(length);
            });
        });
        stream.release(&mut shared, |_| {});
    }
    let mut shared: Reassembly<&[u8]> = Reassembly::new(
        StreamLimits::default(),
        EvidencePool::new(4, 2048, 8192),
        HoldPool::new(4, 4096),
    );
    let mut stream = Stream::new(0);
    let ack = Segment {
        seq: Seq(1),
        flags: Flags::ACK,
        offset: 0,
        len: 0,
    };
    group.bench_function("pure_ack", |bencher| {
        bencher.iter(|| {
            let action = stream.offer(&mut shared, black_box(ack), &[], &mut Server(Seq(1)));
            assert!(matches!(action, Action::Forward(_)));
        });
    });
    stream.release(&mut shared, |_| {});
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group! {
    name = benches;
    config = quick();
    targets = checksums, table, stream
}
criterion_main!(benches);
