//! The buckets beside a bucket of counted tokens, and on several CPUs whose steps interleave in any order.

extern crate std;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{thread, vec, vec::Vec};

use proptest::prelude::*;

use super::{ATTEMPTS, Limit, SharedLimit};

/// A bucket as textbooks have it: it holds up to a burst of tokens, counted here in the nanoseconds they take to come.
struct Textbook {
    limit: Limit,
    held_ns: u64,
    since_ns: u64,
}

impl Textbook {
    fn take(&mut self, now_ns: u64) -> bool {
        self.held_ns = self.limit.burst_ns.min(self.held_ns + (now_ns - self.since_ns));
        self.since_ns = now_ns;
        let admitted = self.held_ns >= self.limit.interval_ns;
        if admitted {
            self.held_ns -= self.limit.interval_ns;
        }
        admitted
    }
}

/// The most tokens that a bucket gives away within `span_ns`.
fn most(limit: &Limit, span_ns: u64) -> u64 {
    (limit.burst_ns + span_ns) / limit.interval_ns
}

fn limits() -> impl Strategy<Value = Limit> {
    (1..2_000_000_u32, 1..100_u32).prop_map(|(rate, burst)| Limit::per_second(rate, burst))
}

#[test]
fn rates_become_intervals() {
    assert_eq!(Limit::per_second(0, 5), Limit::OFF);
    assert!(!Limit::OFF.is_on());
    for (rate, interval_ns) in [
        (1, 1_000_000_000),
        (3, 333_333_333),
        (1_000_000, 1_000),
        (u32::MAX, 1),
    ] {
        let limit = Limit::per_second(rate, 7);
        assert!(limit.is_on());
        assert_eq!(
            (limit.interval_ns, limit.burst_ns),
            (interval_ns, 7 * interval_ns)
        );
    }
}

#[test]
fn a_burst_goes_at_once_and_then_one_an_interval() {
    let limit = Limit::per_second(10, 3);
    let due = AtomicU64::new(0);
    let start = 5_000_000_000;
    let admitted = |now| limit.take(&due, now, 1);
    assert_eq!([0; 4].map(|_| admitted(start)), [true, true, true, false]);
    assert!(!admitted(start + 99_999_999));
    assert!(admitted(start + 100_000_000));
    assert!(!admitted(start + 100_000_000));
    // A bucket does not fill beyond its burst.
    let later = start + 3_600_000_000_000;
    assert_eq!([0; 4].map(|_| admitted(later)), [true, true, true, false]);
}

#[test]
fn after_a_change_of_the_limit_a_bucket_is_empty_at_worst() {
    let slow = Limit::per_second(1, 1_000_000);
    let due = slow.admit(0, 0, 1_000_000).expect("that is the burst");
    let fast = Limit::per_second(1_000, 10);
    assert_eq!(fast.admit(due, 0, 1), None);
    let next = fast.admit(due, 1_000_000, 1);
    assert_eq!(next, None, "the same time ahead is empty still");
    let next = fast.admit(fast.burst_ns, 1_000_000, 1);
    assert_eq!(
        next,
        Some(fast.burst_ns + 1_000_000),
        "an interval later, one comes back"
    );
}

#[test]
fn leases_are_small_beside_the_burst() {
    for (burst, cpus, lease) in [
        (16, 1, 1),
        (1_000, 2, 31),
        (1_000_000, 8, 64),
        (10, 64, 1),
        (100, 0, 1),
    ] {
        assert_eq!(SharedLimit::per_second(1_000, burst, cpus).lease, lease);
    }
}

/// A CPU between the reading of the bucket and its change.
#[derive(Clone, Copy)]
struct Reading {
    seen: u64,
    losses: u32,
}

proptest! {
    #[test]
    fn one_cpu_decides_like_the_textbook(
        limit in limits(),
        gaps in prop::collection::vec(0..3_000_000_u64, 1..300),
    ) {
        let due = AtomicU64::new(0);
        let mut now = 1_000_000_000_000;
        let mut textbook = Textbook { limit, held_ns: limit.burst_ns, since_ns: now };
        for gap in gaps {
            now += gap;
            prop_assert_eq!(limit.take(&due, now, 1), textbook.take(now));
        }
    }

    /// Steps of several CPUs in any order: each turn of a CPU reads the bucket, or tries to change what it has read.
    #[test]
    fn cpus_that_interleave_exceed_the_limit_by_what_lost_races_only(
        limit in limits(),
        cpus in 2..5_usize,
        turns in prop::collection::vec((0..5_usize, 0..2_000_u64), 1..600),
    ) {
        let due = AtomicU64::new(0);
        let (start, mut now) = (1_000_000_000_000, 1_000_000_000_000);
        let mut readings: Vec<Option<Reading>> = vec![None; cpus];
        let (mut counted, mut uncounted, mut refused) = (0_u64, 0_u64, 0_u64);
        for (cpu, gap) in turns {
            now += gap;
            let cpu = cpu % cpus;
            readings[cpu] = match readings[cpu] {
                None => Some(Reading { seen: due.load(Relaxed), losses: 0 }),
                Some(reading) => match limit.attempt(&due, reading.seen, now, 1) {
                    Ok(true) => { counted += 1; None }
                    Ok(false) => { refused += 1; None }
                    Err(seen) if reading.losses + 1 < ATTEMPTS => Some(Reading { seen, losses: reading.losses + 1 }),
                    Err(_) => { uncounted += 1; None }
                },
            };
        }
        prop_assert!(counted <= most(&limit, now - start));
        prop_assert!(uncounted * u64::from(ATTEMPTS) <= counted * (cpus as u64 - 1));
        // Nobody is refused while there are tokens.
        prop_assert!(refused == 0 || counted >= limit.burst_ns / limit.interval_ns);
    }

    #[test]
    fn leases_exceed_the_limit_by_one_a_cpu_at_most(
        rate in 1..2_000_000_u32,
        burst in 1..20_000_u32,
        cpus in 1..9_u32,
        turns in prop::collection::vec((0..8_usize, 0..20_000_u64), 1..600),
    ) {
        let shared = SharedLimit::per_second(rate, burst, cpus);
        let due = AtomicU64::new(0);
        let mut leased = [0; 8];
        let (start, mut now) = (1_000_000_000_000, 1_000_000_000_000);
        let mut admitted = 0;
        for (cpu, gap) in turns {
            now += gap;
            let cpu = cpu % cpus as usize;
            admitted += u64::from(shared.take(&due, &mut leased[cpu], now));
        }
        // Leases were taken out of the bucket: what came out of it is within the limit.
        let kept: u64 = leased.iter().sum();
        prop_assert!(admitted + kept <= most(&shared.limit, now - start));
        prop_assert!(kept <= u64::from(cpus) * (shared.lease - 1));
    }
}

#[test]
fn threads_that_race_for_one_bucket_stay_within_the_stated_error() {
    const EACH: u64 = 50_000;
    let limit = Limit {
        interval_ns: 1 << 40,
        burst_ns: (1 << 40) * 10_000,
    };
    let due = AtomicU64::new(0);
    let admitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mine = (0..EACH).filter(|_| limit.take(&due, 1, 1)).count();
                admitted.fetch_add(mine as u64, Relaxed);
            });
        }
    });
    let admitted = admitted.into_inner();
    assert!((10_000..=17_500).contains(&admitted), "{admitted}");
}
