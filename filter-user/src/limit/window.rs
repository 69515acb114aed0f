//! Counting in a sliding window, in one word.
//!
//! Time is cut into windows. The count is that of the current one and of the one before it, the latter as far as it still
//! reaches back: after a third of the current window, two thirds of it. This takes the requests of the window before to be
//! spread evenly over it.

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: u32,
    /// Seconds.
    pub window_s: u32,
}

/// What counting a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is within the rate.
    Within,
    /// It is not.
    Over {
        /// Milliseconds after which one would be, if no other is counted meanwhile.
        retry_ms: u64,
        /// It is the first such request in this window.
        first: bool,
    },
}

/// The most that is counted in a window.
pub const MOST: u32 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 21;
const NUMBER_MASK: u64 = (1 << 21) - 1;

/// The state of a client: 21 bits each for the current window's number, the window before it and the current one, and one
/// for whether the current one was exceeded. Zero is a client not seen before.
#[derive(Clone, Copy)]
struct Window {
    number: u64,
    told: bool,
    before: u64,
    now: u64,
}

impl Window {
    fn unpack(state: u64) -> Self {
        Self {
            number: state >> 43,
            told: state >> 42 & 1 != 0,
            before: state >> COUNT_BITS & u64::from(MOST),
            now: state & u64::from(MOST),
        }
    }

    fn pack(self) -> u64 {
        self.number << 43 | u64::from(self.told) << 42 | self.before << COUNT_BITS | self.now
    }

    /// The same at the window with this number; numbers go round after 2²¹ windows.
    fn at(self, number: u64) -> Self {
        let number = number & NUMBER_MASK;
        let (before, now, told) = match number.wrapping_sub(self.number) & NUMBER_MASK {
            0 => return self,
            1 => (self.now, 0, false),
            _ => (0, 0, false),
        };
        Self {
            number,
            told,
            before,
            now,
        }
    }
}

/// Counts a request at `now_ms`; returns the state after it. What is over the rate is counted only if it is `admitted` all
/// the same.
#[must_use]
pub fn count(state: u64, rate: Rate, now_ms: u64, admitted: bool) -> (u64, Counted) {
    let length = u64::from(rate.window_s) * 1000;
    let requests = u64::from(rate.requests);
    let elapsed = now_ms % length;
    let mut window = Window::unpack(state).at(now_ms / length);
    let reaching = (window.before * (length - elapsed)).div_ceil(length);
    if reaching + window.now < requests {
        window.now += 1;
        return (window.pack(), Counted::Within);
    }
    // From where on in a window at most `left` of a window before it count.
    let from = |before: u64, left: u64| length.saturating_sub(length * left / before.max(1));
    let retry_ms = if window.now < requests {
        from(window.before, requests - 1 - window.now) - elapsed
    } else {
        length - elapsed + from(window.now, requests - 1)
    };
    let first = !std::mem::replace(&mut window.told, true);
    if admitted {
        window.now = (window.now + 1).min(MOST.into());
    }
    (window.pack(), Counted::Over { retry_ms, first })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        requests: 5,
        window_s: 60,
    };

    /// Counts at these seconds; which were within.
    fn run(rate: Rate, seconds: &[u64]) -> Vec<bool> {
        let mut state = 0;
        let mut within = |second: &u64| {
            let (after, counted) = count(state, rate, second * 1000, false);
            state = after;
            counted == Counted::Within
        };
        seconds.iter().map(&mut within).collect()
    }

    #[test]
    fn five_a_minute() {
        assert_eq!(run(RATE, &[600; 7]), [true, true, true, true, true, false, false]);
        // A window later, none of the window before counts any more; two later, nothing does.
        assert_eq!(run(RATE, &[600, 600, 600, 600, 600, 720, 720]), [true; 7]);
        // Of five in the last window, four reach back to its second sixth, and so on.
        let spread: Vec<_> = (0..5).map(|_| 600).chain([660, 672, 673, 684, 685]).collect();
        assert_eq!(run(RATE, &spread)[5..], [false, true, false, true, false]);
    }

    #[test]
    fn it_says_when_to_come_again_and_tells_the_first() {
        let mut state = 0;
        for _ in 0..5 {
            state = count(state, RATE, 600_000, false).0;
        }
        let (state, counted) = count(state, RATE, 605_000, false);
        let retry_ms = 55_000 + 12_000;
        assert_eq!(
            counted,
            Counted::Over {
                retry_ms,
                first: true
            }
        );
        let (state, counted) = count(state, RATE, 606_000, false);
        assert_eq!(
            counted,
            Counted::Over {
                retry_ms: retry_ms - 1000,
                first: false
            }
        );
        let (_, counted) = count(state, RATE, 605_000 + retry_ms, false);
        assert_eq!(counted, Counted::Within);
    }

    proptest! {
        /// Never twice the rate in any window, never more than the rate in an aligned one, and what is told of coming
        /// again is right.
        #[test]
        fn bounds(
            requests in 1u32..40,
            window_s in 1u32..100,
            steps in prop::collection::vec(0u64..20_000, 1..300),
        ) {
            let rate = Rate { requests, window_s };
            let length = u64::from(window_s) * 1000;
            let (mut state, mut now) = (0, 1_000_000);
            let mut admitted: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                let (after, counted) = count(state, rate, now, false);
                state = after;
                match counted {
                    Counted::Within => admitted.push(now),
                    Counted::Over { retry_ms, .. } => {
                        prop_assert!(retry_ms > 0 && retry_ms <= 2 * length);
                        prop_assert_eq!(count(state, rate, now + retry_ms, false).1, Counted::Within);
                        let early = count(state, rate, now + retry_ms - 1, false).1;
                        prop_assert!(early != Counted::Within);
                    }
                }
                let recent = admitted.iter().filter(|at| **at + length > now).count();
                prop_assert!(recent < 2 * requests as usize);
                let aligned = admitted.iter().filter(|at| **at / length == now / length).count();
                prop_assert!(aligned <= requests as usize);
            }
        }

        #[test]
        fn any_state_is_counted_on(state in any::<u64>(), now in any::<u32>(), admitted in any::<bool>(), requests in 1u32..=1_000_000, window_s in 1u32..=86_400) {
            let _ = count(state, Rate { requests, window_s }, now.into(), admitted);
        }
    }
}
