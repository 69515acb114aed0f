//! How many decisions of a second are told: fairly, so that none who floods hides the attack of another.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

use filter_score::Verdict;

/// Sources that are told apart in a second. Those that meet in a place share what it may have.
const PLACES: usize = 4096;
/// A source has at most this part of a second's decisions.
const SHARE: u32 = 4;
/// The last part of them, this one, is for blocked requests alone.
const FOR_BLOCKS: u32 = 4;
/// The very last one is for the first of each source.
const FOR_THE_FIRST: u32 = 8;

/// So many decisions a second.
pub(super) struct Allowance {
    rate: u32,
    second: Instant,
    taken: u32,
    refused: u64,
    /// Nobody can choose sources that meet: it is another one each second.
    key: RandomState,
    /// How many each source has taken.
    places: Box<[u32]>,
}

impl Allowance {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate,
            second: Instant::now(),
            taken: 0,
            refused: 0,
            key: RandomState::new(),
            places: vec![0; PLACES].into(),
        }
    }

    /// Whether a decision about a request of `source` is told.
    pub(super) fn take(&mut self, source: IpAddr, verdict: Verdict) -> bool {
        let place = self.place(source);
        let own = self.places[place];
        let left = self.rate - self.taken;
        let is_told = left > 0
            && own < (self.rate / SHARE).max(1)
            && (verdict == Verdict::Block || left > self.rate / FOR_BLOCKS)
            && (own == 0 || left > self.rate / FOR_THE_FIRST);
        if is_told {
            self.taken += 1;
            self.places[place] += 1;
        } else {
            self.refused += 1;
        }
        is_told
    }

    /// Begins another second when one is over. Returns how many were refused in it, if any were.
    pub(super) fn turn(&mut self) -> Option<u64> {
        if self.second.elapsed() < Duration::from_secs(1) {
            return None;
        }
        let refused = self.refused;
        if self.taken > 0 {
            self.places.fill(0);
        }
        self.taken = 0;
        self.refused = 0;
        self.second = Instant::now();
        self.key = RandomState::new();
        (refused > 0).then_some(refused)
    }

    fn place(&self, source: IpAddr) -> usize {
        (self.key.hash_one(source) % PLACES as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    /// A source that meets none of `others`.
    fn apart(allowance: &Allowance, others: &[IpAddr]) -> IpAddr {
        let taken: Vec<_> = others.iter().map(|other| allowance.place(*other)).collect();
        let mut sources = (1 << 20..).map(source);
        let found = sources.find(|source| !taken.contains(&allowance.place(*source)));
        found.expect("there are more places than others")
    }

    #[test]
    fn a_flood_of_one_does_not_hide_the_block_of_another() {
        let mut allowance = Allowance::new(1000);
        let loud = source(1);
        let quiet = apart(&allowance, &[loud]);
        let told = (0..100_000)
            .filter(|_| allowance.take(loud, Verdict::Block))
            .count();
        assert_eq!(told, 250);
        assert!((0..250).all(|_| allowance.take(quiet, Verdict::Block)));
        assert!(!allowance.take(quiet, Verdict::Block));
        // What was kept back is told as a number.
        allowance.second = Instant::now()
            .checked_sub(Duration::from_secs(1))
            .expect("a time");
        assert_eq!(allowance.turn(), Some(99_751));
        assert!(allowance.take(loud, Verdict::Block));
        assert_eq!(allowance.turn(), None);
    }

    #[test]
    fn floods_of_several_leave_room_for_the_first_block_of_others() {
        let mut allowance = Allowance::new(1000);
        let loud: Vec<_> = (1..=20).map(source).collect();
        for _ in 0..1000 {
            for source in &loud {
                allowance.take(*source, Verdict::Block);
            }
        }
        assert_eq!(allowance.taken, 875);
        let quiet = apart(&allowance, &loud);
        assert!(!allowance.take(quiet, Verdict::Suspicious));
        assert!(allowance.take(quiet, Verdict::Block));
        assert!(!allowance.take(quiet, Verdict::Block));
    }

    #[test]
    fn what_is_suspicious_leaves_room_for_blocks() {
        let mut allowance = Allowance::new(1000);
        for number in 0..10_000 {
            allowance.take(source(number), Verdict::Suspicious);
        }
        assert_eq!(allowance.taken, 750);
        let told = (0..100).filter(|number| allowance.take(source(1 << 16 | number), Verdict::Block));
        // Two that meet in a place, or meet one that was suspicious, still have their share.
        assert_eq!(told.count(), 100);
    }

    #[test]
    fn never_more_than_the_rate_whoever_comes() {
        for rate in [1, 2, 3, 7, 50] {
            let mut allowance = Allowance::new(rate);
            for number in 0..20_000 {
                allowance.take(source(number), Verdict::Block);
            }
            assert_eq!(allowance.taken, rate);
            assert_eq!(allowance.refused, 20_000 - u64::from(rate));
        }
    }
}
