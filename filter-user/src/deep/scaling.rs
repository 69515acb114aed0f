//! How many workers the pool has.

/// Jobs that wait, from which on there are too few workers, and below which there are too many.
const HIGH: usize = 50;
const LOW: usize = 10;
/// Looks in a row that must say the same.
const LOOKS: u8 = 3;
/// Time between two changes, in nanoseconds.
const COOL_DOWN: u64 = 30_000_000_000;

/// One worker more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more.
    Up,
    /// One less.
    Down,
}

/// Follows the depth of the queues: between the two marks nothing changes, and after a change nothing for a while.
#[derive(Debug)]
pub struct Scaling {
    min: usize,
    max: usize,
    workers: usize,
    high: u8,
    low: u8,
    changed_ns: Option<u64>,
}

impl Scaling {
    /// From `min` workers, which there are at first, to `max`.
    #[must_use]
    pub fn new(min: usize, max: usize) -> Self {
        Self {
            min,
            max: max.max(min),
            workers: min,
            high: 0,
            low: 0,
            changed_ns: None,
        }
    }

    /// How many workers there should be.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// A look at the queues: `depth` jobs wait. At most one worker more or less comes of it.
    pub fn look(&mut self, now_ns: u64, depth: usize) -> Option<Step> {
        self.high = if depth > HIGH {
            self.high.saturating_add(1)
        } else {
            0
        };
        self.low = if depth < LOW {
            self.low.saturating_add(1)
        } else {
            0
        };
        let cooling = self
            .changed_ns
            .is_some_and(|changed| now_ns.saturating_sub(changed) < COOL_DOWN);
        let step = if cooling {
            return None;
        } else if self.high >= LOOKS && self.workers < self.max {
            self.workers += 1;
            Step::Up
        } else if self.low >= LOOKS && self.workers > self.min {
            self.workers -= 1;
            Step::Down
        } else {
            return None;
        };
        self.changed_ns = Some(now_ns);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look every 100 ms; the seconds at which something changed.
    fn changes(
        scaling: &mut Scaling,
        from_s: u64,
        to_s: u64,
        depth: impl Fn(u64) -> usize,
    ) -> Vec<(u64, Step)> {
        (from_s * 10..to_s * 10)
            .filter_map(|tenth| {
                let step = scaling.look(tenth * 100_000_000, depth(tenth))?;
                Some((tenth / 10, step))
            })
            .collect()
    }

    #[test]
    fn grows_to_the_most_and_shrinks_to_the_least_one_by_one() {
        let mut scaling = Scaling::new(2, 4);
        assert_eq!(
            changes(&mut scaling, 0, 200, |_| HIGH + 1),
            [(0, Step::Up), (30, Step::Up)]
        );
        assert_eq!(scaling.workers(), 4);
        assert_eq!(
            changes(&mut scaling, 200, 400, |_| LOW - 1),
            [(200, Step::Down), (230, Step::Down)]
        );
        assert_eq!(scaling.workers(), 2);
    }

    #[test]
    fn between_the_marks_and_for_a_moment_nothing_changes() {
        let mut scaling = Scaling::new(2, 8);
        assert_eq!(changes(&mut scaling, 0, 100, |_| HIGH), []);
        assert_eq!(changes(&mut scaling, 100, 200, |_| LOW), []);
        // Bursts that are over at the third look.
        let bursts = |tenth: u64| if tenth % 3 < 2 { 1000 } else { 20 };
        assert_eq!(changes(&mut scaling, 200, 300, bursts), []);
    }

    #[test]
    fn a_load_that_swings_does_not_make_the_pool_swing() {
        let mut scaling = Scaling::new(2, 8);
        // Ten seconds of load, ten of rest.
        let swinging = |tenth: u64| if (tenth / 100).is_multiple_of(2) { 100 } else { 0 };
        let steps = changes(&mut scaling, 0, 600, swinging);
        assert!(steps.len() <= 600 / 30, "{steps:?}");
        assert!(
            steps.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 30),
            "{steps:?}"
        );
    }

    #[test]
    fn one_number_of_workers_is_kept() {
        let mut scaling = Scaling::new(3, 3);
        assert_eq!(changes(&mut scaling, 0, 100, |_| 1000), []);
        assert_eq!(changes(&mut scaling, 100, 200, |_| 0), []);
        assert_eq!(scaling.workers(), 3);
    }
}
