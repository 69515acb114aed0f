//! The counts of clients: one table for all queues, of a fixed size.
//!
//! No lock: a client's count is one word, changed by compare-and-swap, and only for requests that a limit is about. Where two
//! queues make room in the same place at the same moment, one of the two requests is not counted.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use filter_common::Address;

use super::window::{self, Counted, Rate};

/// Places that a client can have.
const WAYS: usize = 8;
/// Who has a place: nobody, somebody who is just moving in, or a fingerprint.
const FREE: u64 = 0;
const CLAIMED: u64 = 1;
/// Fingerprints have this bit.
const FINGERPRINT: u64 = 2;
/// How often a count is tried: each time another thread was quicker.
const TRIES: usize = 8;

/// Counts by limit and client, in sets of eight. A client who finds its set full takes the place of the one who was counted
/// there the longest ago.
#[derive(Debug)]
pub struct Counts {
    /// Nobody can choose clients that share a set.
    key: RandomState,
    sets: Box<[[Place; WAYS]]>,
}

#[derive(Debug, Default)]
struct Place {
    owner: AtomicU64,
    state: AtomicU64,
    /// When it was last counted here, in seconds.
    used_s: AtomicU32,
}

/// What counting a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it is within the rate.
    pub counted: Counted,
    /// Another client's count had to go.
    pub evicted: bool,
}

impl Counts {
    /// Room for at least `capacity` counts, 24 bytes each, all taken now.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1);
        Self {
            key: RandomState::new(),
            sets: (0..sets).map(|_| Default::default()).collect(),
        }
    }

    /// Counts a request of `client` under the limit `id` at `now_ns`. What is over the rate is counted only if it is
    /// `admitted` all the same.
    #[must_use]
    pub fn count(&self, id: u64, client: IpAddr, rate: Rate, now_ns: u64, admitted: bool) -> Outcome {
        let hash = self.hash(id, client);
        let set = ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize;
        let owner = hash | FINGERPRINT;
        let millis = now_ns / 1_000_000;
        let mut evicted = false;
        for _ in 0..TRIES {
            let (place, moved) = self.place(set, owner, (millis / 1000) as u32);
            evicted |= moved;
            let Some(place) = place else { continue };
            let state = place.state.load(Ordering::Relaxed);
            let (after, counted) = window::count(state, rate, millis, admitted);
            let swapped = place
                .state
                .compare_exchange(state, after, Ordering::Relaxed, Ordering::Relaxed);
            if swapped.is_ok() {
                return Outcome { counted, evicted };
            }
        }
        Outcome {
            counted: Counted::Within,
            evicted,
        }
    }

    /// A keyed hash of all that tells counts apart, in one piece.
    fn hash(&self, id: u64, client: IpAddr) -> u64 {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&id.to_ne_bytes());
        bytes[8..].copy_from_slice(&Address::from(client).octets);
        let mut hasher = self.key.build_hasher();
        hasher.write(&bytes);
        hasher.finish()
    }

    /// The owner's place, made if there is none, and whether somebody had to go; no place if another thread took it.
    fn place(&self, set: usize, owner: u64, now_s: u32) -> (Option<&Place>, bool) {
        let places = &self.sets[set];
        let mine = places
            .iter()
            .find(|place| place.owner.load(Ordering::Acquire) == owner);
        if let Some(place) = mine {
            place.used_s.store(now_s, Ordering::Relaxed);
            return (Some(place), false);
        }
        let age = |place: &&Place| match place.owner.load(Ordering::Relaxed) {
            FREE => u32::MAX,
            _ => now_s.wrapping_sub(place.used_s.load(Ordering::Relaxed)),
        };
        let Some(oldest) = places.iter().max_by_key(age) else {
            return (None, false);
        };
        let before = oldest.owner.load(Ordering::Relaxed);
        let claim = || {
            oldest
                .owner
                .compare_exchange(before, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
        };
        if before == CLAIMED || claim().is_err() {
            return (None, false);
        }
        oldest.state.store(0, Ordering::Relaxed);
        oldest.used_s.store(now_s, Ordering::Relaxed);
        oldest.owner.store(owner, Ordering::Release);
        (Some(oldest), before != FREE)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const S: u64 = 1_000_000_000;
    const RATE: Rate = Rate {
        requests: 3,
        window_s: 60,
    };

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn within(counts: &Counts, id: u64, number: u32, now_s: u64) -> bool {
        counts.count(id, client(number), RATE, now_s * S, false).counted == Counted::Within
    }

    #[test]
    fn each_client_and_each_limit_has_a_count() {
        let counts = Counts::new(1024);
        for (id, number) in [(1, 1), (1, 2), (2, 1)] {
            let seen: Vec<_> = (0..4).map(|_| within(&counts, id, number, 600)).collect();
            assert_eq!(seen, [true, true, true, false]);
        }
    }

    #[test]
    fn at_the_bound_the_one_counted_longest_ago_goes() {
        // One set.
        let counts = Counts::new(1);
        for number in 0..8 {
            for _ in 0..3 {
                assert!(within(&counts, 1, number, 600 + u64::from(number)));
            }
        }
        assert!(
            !within(&counts, 1, 0, 610),
            "all eight are there, and 0 is the latest now"
        );
        let outcome = counts.count(1, client(8), RATE, 611 * S, false);
        assert_eq!((outcome.counted, outcome.evicted), (Counted::Within, true));
        for number in [0, 2, 3, 4, 5, 6, 7] {
            assert!(!within(&counts, 1, number, 612), "{number} is known");
        }
        let outcome = counts.count(1, client(1), RATE, 613 * S, false);
        assert_eq!(
            (outcome.counted, outcome.evicted),
            (Counted::Within, true),
            "1 is not"
        );
    }

    #[test]
    fn threads_share_the_counts() {
        let counts = Counts::new(64);
        let rate = Rate {
            requests: 1000,
            window_s: 60,
        };
        let admitted = |counts: &Counts| {
            let request = |_: &u32| counts.count(1, client(7), rate, 600 * S, false).counted;
            (0..1000)
                .filter(|number| request(number) == Counted::Within)
                .count()
        };
        let sum: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&counts))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        // A request whose count was overtaken too often goes in uncounted.
        assert!((1000..1010).contains(&sum), "{sum}");
    }

    #[test]
    fn a_flood_of_clients_harms_nothing_but_counts() {
        let counts = Counts::new(256);
        thread::scope(|scope| {
            for part in 0..4u32 {
                let counts = &counts;
                scope.spawn(move || {
                    for number in 0..20_000 {
                        within(counts, 1, part << 24 | number, 600);
                    }
                });
            }
        });
        let places = counts.sets.iter().flatten();
        assert!(
            places
                .into_iter()
                .all(|place| place.owner.load(Ordering::Relaxed) > CLAIMED)
        );
    }
}
