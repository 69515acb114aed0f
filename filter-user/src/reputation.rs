//! What a source did so far, and when that is enough.
//!
//! An offence adds points that halve every half-life. From the threshold on, the source is blocked: for
//! the first time briefly, after each relapse twice as long, up to a maximum. A source that stays quiet long
//! enough after its last block starts anew. Pure: the time is handed in.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::config;

const NS_PER_S: u64 = 1_000_000_000;

/// Scores of sources, of a fixed capacity.
///
/// At capacity a new source takes the place of the one whose points will be the first to have decayed;
/// sources on their second strike or later go last, so that a flood of new sources does not wash
/// relapses out. An offence may allocate and costs O(log capacity): it is for the control thread, not for a
/// queue's.
pub struct Reputation {
    rules: Rules,
    sources: HashMap<IpAddr, Record, foldhash::fast::RandomState>,
    /// Sources in the order in which they are worth forgetting.
    order: BTreeSet<(Worth, IpAddr)>,
    capacity: usize,
}

/// The configuration in the units used here.
#[derive(Debug, Clone)]
struct Rules {
    half_life_ns: f64,
    threshold: f64,
    points: f64,
    first_block_ns: u64,
    max_block_ns: u64,
    forgive_after_ns: u64,
    ipv6_prefix: u8,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    points: f64,
    /// When `points` was right.
    at_ns: u64,
    strikes: u32,
    blocked_until_ns: u64,
    worth: Worth,
}

/// What is lost by forgetting a source: strikes, then when its points will have decayed to one.
type Worth = (bool, u64);

/// What to do about a source after an offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Watch,
    /// Block it.
    Block {
        /// For so many nanoseconds.
        for_ns: u64,
    },
}

impl Rules {
    fn of(config: &config::Reputation) -> Self {
        let ns = |seconds: u32| u64::from(seconds) * NS_PER_S;
        Self {
            half_life_ns: f64::from(config.half_life_s.max(1)) * 1e9,
            threshold: f64::from(config.threshold),
            points: f64::from(config.points_per_block),
            first_block_ns: ns(config.first_block_s),
            max_block_ns: ns(config.max_block_s),
            forgive_after_ns: ns(config.forgive_after_s),
            ipv6_prefix: config.ipv6_prefix.min(128),
        }
    }
}

impl Reputation {
    /// An empty table of at most `capacity` sources, at least one.
    #[must_use]
    pub fn new(config: &config::Reputation, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            rules: Rules::of(config),
            sources: HashMap::with_capacity_and_hasher(capacity, foldhash::fast::RandomState::default()),
            order: BTreeSet::new(),
            capacity,
        }
    }

    /// From now on other rules hold, but for `ipv6_prefix`, by which the sources that are known are told apart.
    pub fn follow(&mut self, config: &config::Reputation) {
        self.rules = Rules {
            ipv6_prefix: self.rules.ipv6_prefix,
            ..Rules::of(config)
        };
    }

    /// The address that stands for a source: itself, or its network's first address for IPv6.
    #[must_use]
    pub fn source(&self, addr: IpAddr) -> IpAddr {
        match addr.to_canonical() {
            IpAddr::V6(v6) => {
                let host_bits = 128 - u32::from(self.rules.ipv6_prefix);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            v4 @ IpAddr::V4(_) => v4,
        }
    }

    /// The block of addresses that stands for a source: what a verdict blocks.
    #[must_use]
    pub fn network(&self, addr: IpAddr) -> IpNet {
        let source = self.source(addr);
        let prefix = if source.is_ipv4() {
            32
        } else {
            self.rules.ipv6_prefix
        };
        IpNet::new_assert(source, prefix)
    }

    /// Counts a blocked request of `addr` at `now_ns`.
    pub fn offence(&mut self, addr: IpAddr, now_ns: u64) -> Verdict {
        let source = self.source(addr);
        let mut record = self.take(source, now_ns);
        record.points += self.rules.points;
        let mut verdict = Verdict::Watch;
        // Rounded: the first of three offences has decayed a little when the third comes, and still they make
        // three times its points.
        if record.points.round() >= self.rules.threshold {
            let doublings = record.strikes.min(u64::BITS - 1);
            let for_ns = self
                .rules
                .first_block_ns
                .saturating_mul(1 << doublings)
                .min(self.rules.max_block_ns);
            record.strikes = record.strikes.saturating_add(1);
            record.blocked_until_ns = now_ns.saturating_add(for_ns);
            // The block is the price; what led to it is not counted again.
            record.points = 0.0;
            verdict = Verdict::Block { for_ns };
        }
        self.put(source, record);
        verdict
    }

    /// The points of `addr` at `now_ns`.
    #[must_use]
    pub fn points(&self, addr: IpAddr, now_ns: u64) -> f64 {
        self.sources
            .get(&self.source(addr))
            .map_or(0.0, |record| self.decayed(record, now_ns))
    }

    /// How often `addr` was blocked since it was last forgiven.
    #[must_use]
    pub fn strikes(&self, addr: IpAddr, now_ns: u64) -> u32 {
        self.sources
            .get(&self.source(addr))
            .map_or(0, |record| self.strikes_left(record, now_ns))
    }

    /// The worst sources, at most `limit`, with their points and strikes: the worst first, and before all others those that were blocked,
    /// which begin anew with their points. Goes over all of them.
    #[must_use]
    pub fn worst(&self, limit: usize, now_ns: u64) -> Vec<(IpAddr, f64, u32)> {
        let mut worst = Vec::new();
        let keep = |worst: &mut Vec<(IpAddr, f64, u32)>| {
            worst.sort_by(|one, other| other.2.cmp(&one.2).then(other.1.total_cmp(&one.1)));
            worst.truncate(limit);
        };
        for source in self.sources.keys() {
            worst.push((
                *source,
                self.points(*source, now_ns),
                self.strikes(*source, now_ns),
            ));
            if worst.len() > 2 * limit {
                keep(&mut worst);
            }
        }
        keep(&mut worst);
        worst
    }

    /// Forgets `addr`; true if it was known.
    pub fn forget(&mut self, addr: IpAddr) -> bool {
        let source = self.source(addr);
        let record = self.sources.remove(&source);
        record.is_some_and(|record| self.order.remove(&(record.worth, source)))
    }

    /// Known sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether no source is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The most sources that can be known.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a source's record out, brought to `now_ns`; makes room for it if it is new.
    fn take(&mut self, source: IpAddr, now_ns: u64) -> Record {
        if let Some(mut record) = self.sources.remove(&source) {
            self.order.remove(&(record.worth, source));
            record.points = self.decayed(&record, now_ns);
            record.strikes = self.strikes_left(&record, now_ns);
            record.at_ns = record.at_ns.max(now_ns);
            return record;
        }
        if self.sources.len() >= self.capacity
            && let Some((_, least)) = self.order.pop_first()
        {
            self.sources.remove(&least);
        }
        Record {
            points: 0.0,
            at_ns: now_ns,
            strikes: 0,
            blocked_until_ns: 0,
            worth: (false, 0),
        }
    }

    fn put(&mut self, source: IpAddr, mut record: Record) {
        let half_lives = record.points.max(1.0).log2();
        record.worth = (
            record.strikes > 1,
            saturating_add_ns(record.at_ns, half_lives * self.rules.half_life_ns),
        );
        self.order.insert((record.worth, source));
        self.sources.insert(source, record);
    }

    fn decayed(&self, record: &Record, now_ns: u64) -> f64 {
        // Queues read their clocks apart: time may seem to go back a little.
        let elapsed_ns = now_ns.saturating_sub(record.at_ns);
        record.points * (-to_f64(elapsed_ns) / self.rules.half_life_ns).exp2()
    }

    fn strikes_left(&self, record: &Record, now_ns: u64) -> u32 {
        let last_ns = record.blocked_until_ns.max(record.at_ns);
        if now_ns.saturating_sub(last_ns) >= self.rules.forgive_after_ns {
            0
        } else {
            record.strikes
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "104 days are exact, and no more than a nanosecond in 2^53 is lost after"
)]
fn to_f64(ns: u64) -> f64 {
    ns as f64
}

fn saturating_add_ns(ns: u64, more: f64) -> u64 {
    #[expect(
        clippy::cast_sign_loss,
        reason = "`more` is not negative, and the cast saturates"
    )]
    ns.saturating_add(more as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = NS_PER_S;

    fn table(capacity: usize) -> Reputation {
        Reputation::new(
            &config::Reputation {
                points_per_block: 10,
                half_life_s: 100,
                threshold: 30,
                first_block_s: 60,
                max_block_s: 400,
                forgive_after_s: 1_000,
                ipv6_prefix: 64,
            },
            capacity,
        )
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn block(seconds: u64) -> Verdict {
        Verdict::Block { for_ns: seconds * S }
    }

    #[test]
    fn points_add_up_decay_and_block() {
        let source = addr("192.0.2.7");
        for (offences, verdicts) in [
            // Together: 10, 20, 30.
            (&[0, 0, 0][..], &[Verdict::Watch, Verdict::Watch, block(60)][..]),
            // A half-life apart: 10, 15, 17.5, 18.75, never 20.
            (&[0, 100, 200, 300, 400], &[Verdict::Watch; 5]),
            // A second apart: 10, 19.9, 29.8.
            (&[0, 1, 2], &[Verdict::Watch, Verdict::Watch, block(60)]),
            // 10, 20, then 10 + 10, then 30 with the next.
            (
                &[0, 0, 100, 100],
                &[Verdict::Watch, Verdict::Watch, Verdict::Watch, block(60)],
            ),
        ] {
            let mut table = table(4);
            let seen: Vec<_> = offences.iter().map(|at| table.offence(source, at * S)).collect();
            assert_eq!(seen, verdicts, "{offences:?}");
        }
        let mut table = table(4);
        table.offence(source, 0);
        assert!((table.points(source, 100 * S) - 5.0).abs() < 1e-9);
        assert!(table.points(addr("192.0.2.8"), 0).abs() < f64::EPSILON);
    }

    #[test]
    fn blocks_double_up_to_the_longest_and_are_forgiven() {
        let source = addr("192.0.2.7");
        let mut table = table(4);
        let mut now = 0;
        let mut strike = |now: u64| {
            table.offence(source, now);
            table.offence(source, now);
            table.offence(source, now)
        };
        for seconds in [60, 120, 240, 400, 400] {
            assert_eq!(strike(now), block(seconds));
            now += seconds * S;
        }
        // Quiet, but not for long enough; then for long enough.
        now += 999 * S;
        assert_eq!(strike(now), block(400));
        now += (400 + 1_000) * S;
        assert_eq!(strike(now), block(60));
        assert_eq!(table.strikes(source, now), 1);
        assert!(table.forget(source));
        assert!(!table.forget(source));
        assert_eq!((table.strikes(source, now), table.len()), (0, 0));
    }

    #[test]
    fn many_strikes_do_not_overflow() {
        let config = config::Reputation {
            threshold: 1,
            first_block_s: u32::MAX,
            max_block_s: u32::MAX,
            ..config::Reputation::default()
        };
        let mut table = Reputation::new(&config, 1);
        for _ in 0..200 {
            let verdict = table.offence(addr("::1"), u64::MAX);
            assert_eq!(verdict, block(u64::from(u32::MAX)));
        }
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let mut table = table(4);
        table.offence(addr("2001:db8::1"), 0);
        table.offence(addr("2001:db8::ffff"), 0);
        assert_eq!(table.offence(addr("2001:db8::1234:0:0:1"), 0), block(60));
        assert_eq!(table.offence(addr("2001:db8:0:1::1"), 0), Verdict::Watch);
        assert_eq!(table.source(addr("::ffff:192.0.2.7")), addr("192.0.2.7"));
        assert_eq!(table.network(addr("2001:db8::1")).to_string(), "2001:db8::/64");
        assert_eq!(table.network(addr("192.0.2.7")).to_string(), "192.0.2.7/32");
        let whole = Reputation::new(
            &config::Reputation {
                ipv6_prefix: 128,
                ..config::Reputation::default()
            },
            1,
        );
        assert_eq!(whole.source(addr("2001:db8::1")), addr("2001:db8::1"));
    }

    #[test]
    fn at_capacity_the_least_worth_goes() {
        let mut table = table(3);
        for _ in 0..6 {
            table.offence(addr("192.0.2.1"), 0);
        }
        table.offence(addr("192.0.2.2"), 0);
        table.offence(addr("192.0.2.2"), 0);
        table.offence(addr("192.0.2.3"), 0);
        for i in 4..100 {
            table.offence(addr(&format!("192.0.2.{i}")), S);
            assert_eq!(table.len(), 3);
        }
        assert_eq!(
            table.strikes(addr("192.0.2.1"), S),
            2,
            "a relapse outlives a flood"
        );
        assert!(
            table.points(addr("192.0.2.2"), S) > 19.0,
            "and so does the worse of two sources"
        );
        assert!(table.points(addr("192.0.2.3"), S).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn bounded_and_consistent(offences in prop::collection::vec((0u8..12, 0u64..5_000), 1..300)) {
            let mut table = table(5);
            for (host, at) in offences {
                let source = IpAddr::from([192, 0, 2, host]);
                // Times jump back and forth: clocks of different queues.
                match table.offence(source, at * S) {
                    Verdict::Watch => prop_assert!(table.points(source, at * S) < 30.0),
                    Verdict::Block { for_ns } => {
                        prop_assert!((60 * S..=400 * S).contains(&for_ns));
                        prop_assert!(table.strikes(source, at * S) >= 1);
                    }
                }
                prop_assert!(table.len() <= 5);
                prop_assert_eq!(table.len(), table.order.len());
            }
        }
    }

    #[test]
    fn the_worst_come_first() {
        let config = config::Reputation::default();
        let mut reputation = Reputation::new(&config, 8);
        for (last, offences) in [(1, 1), (2, 3), (3, 2)] {
            for _ in 0..offences {
                reputation.offence([192, 0, 2, last].into(), 0);
            }
        }
        let worst: Vec<_> = reputation
            .worst(2, 0)
            .into_iter()
            .map(|(source, ..)| source)
            .collect();
        assert_eq!(worst, [IpAddr::from([192, 0, 2, 2]), [192, 0, 2, 3].into()]);
    }
}
