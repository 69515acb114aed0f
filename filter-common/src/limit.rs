//! Token buckets, in whole nanoseconds and one word of state.
//!
//! A bucket is kept as the time at which it is full again (`due_ns`; full at any time before): taking a token puts that
//! time off by the interval in which one token comes back, and a token can be taken unless the bucket would then take longer
//! than its whole burst to fill. This is the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371, annex
//! A), and decides like a bucket whose tokens are counted in nanoseconds; there is nothing to divide, and the state can be
//! replaced by one atomic exchange.

#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SECOND_NS: u64 = 1_000_000_000;

/// How often a token is asked for when other CPUs change the bucket meanwhile.
///
/// The packet that loses so many times is let through uncounted. Each loss takes a change by another CPU, and each change
/// makes every other CPU lose once at most: with `n` CPUs at one bucket at most `(n - 1) / ATTEMPTS` uncounted packets come on
/// one that was counted, and none where each bucket has one CPU at a time.
pub const ATTEMPTS: u32 = 4;

/// Where a bucket's time is kept, shared by CPUs.
pub trait Due {
    /// The time, nanoseconds.
    fn load(&self) -> u64;
    /// Sets the time to `next` if it is `seen` still; else fails with what it is.
    ///
    /// # Errors
    ///
    /// The time, if it was another one.
    fn exchange(&self, seen: u64, next: u64) -> Result<(), u64>;
}

#[cfg(target_has_atomic = "64")]
impl Due for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(Relaxed)
    }

    fn exchange(&self, seen: u64, next: u64) -> Result<(), u64> {
        self.compare_exchange(seen, next, Relaxed, Relaxed).map(|_| ())
    }
}

/// A rate and a burst. All zero is no limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds in which one token comes back; 0 for no limit.
    pub interval_ns: u64,
    /// Nanoseconds in which an empty bucket fills.
    pub burst_ns: u64,
}

impl Limit {
    /// No limit.
    pub const OFF: Self = Self {
        interval_ns: 0,
        burst_ns: 0,
    };

    /// A limit of `rate` tokens a second, of which `burst` can be taken at once; none if `rate` is 0.
    ///
    /// The interval is rounded down, so that the rate in force is above `rate` by one part in 10⁹ ÷ `rate` at most.
    #[must_use]
    pub const fn per_second(rate: u32, burst: u32) -> Self {
        if rate == 0 {
            return Self::OFF;
        }
        let interval_ns = match SECOND_NS / rate as u64 {
            0 => 1,
            interval => interval,
        };
        Self {
            interval_ns,
            burst_ns: interval_ns * burst as u64,
        }
    }

    /// Whether there is a limit.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.interval_ns != 0
    }

    /// Takes `count` tokens at `now_ns` out of a bucket that is full at `due_ns`: when it is full then, or `None` if it
    /// does not hold so many.
    ///
    /// What lies further ahead than an empty bucket's time, as after the limit was changed, counts as an empty bucket.
    #[inline(always)]
    #[must_use]
    pub fn admit(&self, due_ns: u64, now_ns: u64, count: u64) -> Option<u64> {
        let full = now_ns + self.burst_ns;
        let due = if due_ns < now_ns {
            now_ns
        } else if due_ns > full {
            full
        } else {
            due_ns
        };
        let next = due + count * self.interval_ns;
        (next <= full).then_some(next)
    }

    /// Takes `count` tokens out of a bucket that several CPUs share. Returns whether it held so many; see [`ATTEMPTS`] for the
    /// one case in which tokens are granted that are not taken.
    ///
    /// Refusals write nothing: in a flood the bucket's cache line stays with all CPUs.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, due: &impl Due, now_ns: u64, count: u64) -> bool {
        let mut seen = due.load();
        for _ in 0..ATTEMPTS {
            match self.attempt(due, seen, now_ns, count) {
                Ok(admitted) => return admitted,
                Err(newer) => seen = newer,
            }
        }
        true
    }

    /// One attempt on a bucket that was `seen`; fails with what it is now if another CPU was faster.
    #[inline(always)]
    fn attempt(&self, due: &impl Due, seen: u64, now_ns: u64, count: u64) -> Result<bool, u64> {
        let Some(next) = self.admit(seen, now_ns, count) else {
            return Ok(false);
        };
        due.exchange(seen, next).map(|()| true)
    }
}

/// A limit that all CPUs share, each taking several tokens at a time. All zero is no limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedLimit {
    /// The limit.
    pub limit: Limit,
    /// Tokens that a CPU takes at a time.
    pub lease: u64,
}

impl SharedLimit {
    /// The most tokens of a lease: more would save nothing.
    pub const MAX_LEASE: u64 = 64;

    /// A limit of `rate` tokens a second for `cpus` CPUs together.
    ///
    /// The leases of all CPUs are a sixteenth of the burst at most, or one token each.
    #[must_use]
    pub const fn per_second(rate: u32, burst: u32, cpus: u32) -> Self {
        let lease = match cpus {
            0 => 1,
            cpus => burst as u64 / (16 * cpus as u64),
        };
        Self {
            limit: Limit::per_second(rate, burst),
            lease: if lease == 0 {
                1
            } else if lease > Self::MAX_LEASE {
                Self::MAX_LEASE
            } else {
                lease
            },
        }
    }

    /// Takes a token: of this CPU's `leased` ones, or of a new lease, or the last ones one by one.
    ///
    /// A CPU keeps the tokens that it does not use. In any time, no more packets are admitted than by the limit alone and one
    /// lease a CPU on top.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, due: &impl Due, leased: &mut u64, now_ns: u64) -> bool {
        if *leased > 0 {
            *leased -= 1;
            return true;
        }
        if self.lease > 1 && self.limit.take(due, now_ns, self.lease) {
            *leased = self.lease - 1;
            return true;
        }
        self.limit.take(due, now_ns, 1)
    }
}

const _: () = assert!(size_of::<Limit>() == 16);
const _: () = assert!(size_of::<SharedLimit>() == 24);

#[cfg(test)]
mod tests;
