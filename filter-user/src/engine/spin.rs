//! Whether an empty ring is worth reading again before the loop sleeps.
//!
//! Waking up costs some microseconds, here and at the sender; so does reading in vain, and where the packets come from
//! the loop's own CPU nothing can arrive meanwhile. So the loop spins only while that finds packets more often than
//! not, and tries again now and then.

/// Finds that outweigh later misses.
const MAX_CREDIT: u8 = 8;
/// A miss undoes so many finds.
const MISS: u8 = 2;
/// Sleeps without spinning between two tries.
const REST: u8 = 32;

/// How long to spin, learnt from what it brought.
#[derive(Debug)]
pub(super) struct Spin {
    limit_ns: u64,
    credit: u8,
    rest: u8,
}

impl Spin {
    /// At most `limit_ns` nanoseconds at a time; `u64::MAX` for never sleeping.
    pub(super) fn new(limit_ns: u64) -> Self {
        Self {
            limit_ns,
            credit: 1,
            rest: 0,
        }
    }

    /// How long to spin now, nanoseconds.
    pub(super) fn window_ns(&self) -> u64 {
        if self.credit > 0 || self.limit_ns == u64::MAX {
            self.limit_ns
        } else {
            0
        }
    }

    /// A packet came while spinning.
    pub(super) fn found(&mut self) {
        self.credit = (self.credit + 1).min(MAX_CREDIT);
    }

    /// The loop goes to sleep: it spun in vain, or not at all.
    pub(super) fn gave_up(&mut self) {
        if self.credit > 0 {
            self.credit = self.credit.saturating_sub(MISS);
            self.rest = REST;
        } else if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.credit = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_as_long_as_it_pays() {
        let mut spin = Spin::new(3_000);
        for _ in 0..100 {
            assert_eq!(spin.window_ns(), 3_000);
            spin.found();
        }
        // Two of three times is enough, one of three is not.
        for _ in 0..50 {
            spin.found();
            spin.found();
            spin.gave_up();
            assert_eq!(spin.window_ns(), 3_000);
        }
        let mut vain = 0;
        while spin.window_ns() > 0 {
            spin.gave_up();
            vain += 1;
        }
        assert_eq!(vain, (MAX_CREDIT - MISS) / MISS);
    }

    #[test]
    fn tries_again_after_a_rest() {
        let mut spin = Spin::new(3_000);
        spin.gave_up();
        let tries = (0..1_000).filter(|_| {
            let spins = spin.window_ns() > 0;
            spin.gave_up();
            spins
        });
        assert_eq!(tries.count(), 1_000 / (usize::from(REST) + 2));
    }

    #[test]
    fn never_sleeps_if_told_so() {
        let mut spin = Spin::new(u64::MAX);
        for _ in 0..10 {
            spin.gave_up();
            assert_eq!(spin.window_ns(), u64::MAX);
        }
    }
}
