//! How fast a client sends a request. Who sends slowly enough keeps a buffer here and a connection at the server for
//! nothing ("slowloris"), and could use up all of them.

use filter_score::Underway;

const SECOND_NS: u64 = 1_000_000_000;

/// What is fast enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceLimits {
    /// Longest time from the first byte of a request to the end of its head, longest silence within a request, and time that
    /// a body has before its rate counts, nanoseconds; 0 for no limits.
    pub patience_ns: u64,
    /// Least bytes of a body in a second, on the average since it began; 0 for any.
    pub body_bytes_per_s: u32,
}

/// Where a client is in its request, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    underway: Underway,
    since_ns: u64,
    /// Bytes of the body since then; or more, if they are those of a segment in which it began.
    bytes: u64,
}

impl Pace {
    /// Some bytes were taken, and brought the client here; `decided`: a request ended on the way.
    pub(super) fn note(&mut self, underway: Underway, decided: bool, bytes: usize, now_ns: u64) {
        if decided || underway != self.underway {
            *self = Self {
                underway,
                since_ns: now_ns,
                bytes: 0,
            };
        }
        self.bytes += bytes as u64;
    }

    /// Whether a request has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.underway != Underway::Nothing
    }

    /// Whether the client takes too long, now that `bytes` more have come.
    pub(super) fn is_late(&self, limits: PaceLimits, bytes: usize, now_ns: u64) -> bool {
        let elapsed = now_ns.saturating_sub(self.since_ns);
        if limits.patience_ns == 0 || elapsed <= limits.patience_ns {
            return false;
        }
        match self.underway {
            Underway::Nothing => false,
            Underway::Head => true,
            Underway::Body => {
                self.bytes + (bytes as u64) < elapsed / SECOND_NS * u64::from(limits.body_bytes_per_s)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        patience_ns: 10 * SECOND_NS,
        body_bytes_per_s: 100,
    };

    fn late(pace: Pace, seconds: u64) -> bool {
        pace.is_late(LIMITS, 0, seconds * SECOND_NS)
    }

    #[test]
    fn a_head_has_its_time_however_much_comes() {
        let mut pace = Pace::default();
        assert!(!pace.is_open() && !late(pace, 1_000));
        for second in 0..=10 {
            pace.note(Underway::Head, false, 1_000, second * SECOND_NS);
            assert!(pace.is_open() && !late(pace, second));
        }
        assert!(late(pace, 11));
        assert!(!pace.is_late(PaceLimits::default(), 0, 11 * SECOND_NS));
        // The next request has its own.
        pace.note(Underway::Head, true, 1, 10 * SECOND_NS);
        assert!(!late(pace, 20) && late(pace, 21));
        pace.note(Underway::Nothing, true, 1, 20 * SECOND_NS);
        assert!(!pace.is_open() && !late(pace, 1_000));
    }

    #[test]
    fn a_body_has_a_rate_after_some_time() {
        let mut pace = Pace::default();
        pace.note(Underway::Head, false, 100, 0);
        pace.note(Underway::Body, false, 500, 5 * SECOND_NS);
        assert!(!late(pace, 15), "not yet");
        assert!(late(pace, 16), "500 bytes in 11 s");
        assert!(!pace.is_late(LIMITS, 600, 16 * SECOND_NS));
        pace.note(Underway::Body, false, 600, 15 * SECOND_NS);
        assert!(!late(pace, 16) && late(pace, 17));
        let any = PaceLimits {
            body_bytes_per_s: 0,
            ..LIMITS
        };
        assert!(!pace.is_late(any, 0, 1_000 * SECOND_NS));
    }
}
