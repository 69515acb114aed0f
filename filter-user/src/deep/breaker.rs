//! A circuit breaker (Nygard, "Release It!"): when the pool does not answer, requests do not wait for it.

/// The outcomes that count, the latest ones.
const WINDOW: u32 = 32;
/// So many missed deadlines among them open the breaker.
const MISSES: u32 = 16;
/// Answers in time that close it again; so many may be asked for at once.
const PROBES: u32 = 4;
/// The first pause, and the longest, in nanoseconds.
const FIRST_PAUSE: u64 = 1_000_000_000;
const LONGEST_PAUSE: u64 = 30_000_000_000;

/// Whether jobs are submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// All are.
    #[default]
    Closed,
    /// Some are, to see whether they are answered.
    HalfOpen,
    /// None is: the first tier's verdict stands.
    Open,
}

impl BreakerState {
    /// All states, from good to bad.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The state's name in status and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The breaker of one port. Every job that was admitted is settled once: answered in time, missed or withdrawn.
#[derive(Debug)]
pub struct Breaker {
    state: BreakerState,
    /// Bit by bit whether the latest jobs missed their deadline.
    misses: u32,
    pause_ns: u64,
    /// Open: when the first probe goes out.
    until_ns: u64,
    /// Half-open: probes that are out, and those that were answered in time.
    out: u32,
    answered: u32,
    openings: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: BreakerState::Closed,
            misses: 0,
            pause_ns: FIRST_PAUSE,
            until_ns: 0,
            out: 0,
            answered: 0,
            openings: 0,
        }
    }
}

impl Breaker {
    /// The state, as of the last job.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// How often it opened.
    #[must_use]
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether a job may be submitted now.
    pub fn admits(&mut self, now_ns: u64) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open if now_ns < self.until_ns => false,
            BreakerState::Open => {
                self.state = BreakerState::HalfOpen;
                (self.out, self.answered) = (0, 0);
                true
            }
            BreakerState::HalfOpen => self.out + self.answered < PROBES,
        }
    }

    /// A job was submitted.
    pub fn submitted(&mut self) {
        if self.state == BreakerState::HalfOpen {
            self.out += 1;
        }
    }

    /// A job was answered in time.
    pub fn answered(&mut self) {
        self.misses <<= 1;
        if self.state == BreakerState::HalfOpen {
            self.out = self.out.saturating_sub(1);
            self.answered += 1;
            if self.answered == PROBES {
                self.state = BreakerState::Closed;
                self.misses = 0;
                self.pause_ns = FIRST_PAUSE;
            }
        }
    }

    /// A job missed its deadline, or came back without a verdict.
    pub fn missed(&mut self, now_ns: u64) {
        const { assert!(WINDOW == u32::BITS) };
        self.misses = self.misses << 1 | 1;
        match self.state {
            BreakerState::Closed if self.misses.count_ones() >= MISSES => {}
            BreakerState::HalfOpen => self.pause_ns = (self.pause_ns * 2).min(LONGEST_PAUSE),
            _ => return,
        }
        self.state = BreakerState::Open;
        self.openings += 1;
        self.until_ns = now_ns.saturating_add(self.pause_ns);
    }

    /// Nobody waits for a job any more.
    pub fn withdrawn(&mut self) {
        if self.state == BreakerState::HalfOpen {
            self.out = self.out.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn miss(breaker: &mut Breaker, now: u64) {
        assert!(breaker.admits(now));
        breaker.submitted();
        breaker.missed(now);
    }

    fn answer(breaker: &mut Breaker, now: u64) {
        assert!(breaker.admits(now));
        breaker.submitted();
        breaker.answered();
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        (0..MISSES).for_each(|_| miss(&mut breaker, 0));
        breaker
    }

    #[test]
    fn opens_when_half_of_the_latest_miss() {
        let mut breaker = Breaker::default();
        // One of three is not enough, however long it goes on.
        for _ in 0..100 {
            answer(&mut breaker, 0);
            answer(&mut breaker, 0);
            miss(&mut breaker, 0);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        while breaker.state() == BreakerState::Closed {
            miss(&mut breaker, 5);
        }
        assert_eq!((breaker.state(), breaker.openings()), (BreakerState::Open, 1));
        assert!(!breaker.admits(5) && !breaker.admits(4 + FIRST_PAUSE));
    }

    #[test]
    fn closes_after_enough_probes_in_time() {
        let mut breaker = opened();
        assert!(!breaker.admits(FIRST_PAUSE - 1));
        for probe in 0..PROBES {
            assert!(breaker.admits(FIRST_PAUSE), "probe {probe}");
            breaker.submitted();
        }
        assert!(!breaker.admits(FIRST_PAUSE), "no more until they are answered");
        for _ in 1..PROBES {
            breaker.answered();
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
        breaker.answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
        // The misses of before do not count any more.
        (1..MISSES).for_each(|_| miss(&mut breaker, FIRST_PAUSE));
        assert_eq!(breaker.state(), BreakerState::Closed);
        miss(&mut breaker, FIRST_PAUSE);
        assert!(!breaker.admits(2 * FIRST_PAUSE - 1) && breaker.admits(2 * FIRST_PAUSE));
    }

    #[test]
    fn a_missed_probe_doubles_the_pause_up_to_the_longest() {
        let mut breaker = opened();
        let (mut now, mut pause) = (0, FIRST_PAUSE);
        for opening in 1..10 {
            assert_eq!(breaker.openings(), opening);
            assert!(!breaker.admits(now + pause - 1));
            now += pause;
            answer(&mut breaker, now);
            miss(&mut breaker, now);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(pause, LONGEST_PAUSE);
    }

    #[test]
    fn a_withdrawn_probe_makes_room_for_another() {
        let mut breaker = opened();
        for _ in 0..100 {
            assert!(breaker.admits(FIRST_PAUSE));
            breaker.submitted();
            breaker.withdrawn();
        }
        (0..PROBES).for_each(|_| answer(&mut breaker, FIRST_PAUSE + MS));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
