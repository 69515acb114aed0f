//! On when a value has been too high for long enough, off when it has been low enough for as long.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Raised,
    Cleared,
}

/// A switch that does not flicker.
#[derive(Debug)]
pub(super) struct Hysteresis {
    above: f64,
    for_s: f64,
    on: bool,
    /// Since when the value says the opposite of `on`.
    since: Option<f64>,
}

/// It is over below this part of the threshold.
const LOW: f64 = 0.8;

impl Hysteresis {
    pub(super) fn new(above: f64, for_s: u32) -> Self {
        Self {
            above,
            for_s: for_s.into(),
            on: false,
            since: None,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// A value at a time, in seconds.
    pub(super) fn add(&mut self, value: f64, now: f64) -> Option<Change> {
        let turns = if self.on {
            value <= self.above * LOW
        } else {
            value > self.above
        };
        if !turns {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now - since < self.for_s {
            return None;
        }
        self.since = None;
        self.on = !self.on;
        Some(if self.on { Change::Raised } else { Change::Cleared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_time_and_a_margin() {
        let mut switch = Hysteresis::new(10.0, 2);
        for (now, value, expected) in [
            (0.0, 10.0, None),
            (1.0, 11.0, None),
            (2.0, 9.0, None),
            (3.0, 11.0, None),
            (4.0, 11.0, None),
            (5.0, 11.0, Some(Change::Raised)),
            (6.0, 99.0, None),
            (7.0, 9.0, None),
            (8.0, 8.0, None),
            (9.0, 8.1, None),
            (10.0, 0.0, None),
            (12.0, 8.0, Some(Change::Cleared)),
            (13.0, 8.0, None),
        ] {
            assert_eq!(switch.add(value, now), expected, "at {now}");
        }
        let mut at_once = Hysteresis::new(0.5, 0);
        assert_eq!(at_once.add(1.0, 0.0), Some(Change::Raised));
        assert_eq!(at_once.add(0.0, 0.0), Some(Change::Cleared));
    }
}
