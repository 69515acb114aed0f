//! The whole loop, packet by packet, on in-memory rings: checksum, flow table, stream, scoring of a 242-byte GET,
//! forwarding. CPU time of the loop's thread, without a driver, a clock that costs anything, and the copy of a real ring.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod traffic;

use traffic::{BATCH, Kind, Traffic};

fn keep_alive_get(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine_turn");
    group.throughput(Throughput::Elements(1));
    for (name, kind, flows) in [
        ("keep_alive_get", Kind::Scored, 1),
        ("keep_alive_get", Kind::Scored, 1000),
        ("keep_alive_get", Kind::Scored, 50_000),
        ("known_get", Kind::Known, 1000),
        ("counted_get", Kind::Counted, 1000),
    ] {
        let mut traffic = Traffic::new(flows, kind);
        group.bench_function(BenchmarkId::new(name, flows), |bencher| {
            bencher.iter_custom(|packets| {
                let mut took = Duration::ZERO;
                let mut left = packets;
                while left > 0 {
                    let count = left.min(BATCH as u64);
                    took += traffic.requests(count as usize);
                    left -= count;
                }
                took
            });
        });
        let counters = traffic.counters();
        assert_eq!(
            counters.received, counters.forwarded,
            "nothing is dropped: {counters:?}"
        );
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
}

criterion_group! {
    name = benches;
    config = quick();
    targets = keep_alive_get
}
criterion_main!(benches);
