//! Verdicts of the second tier that were found before.

use std::sync::Arc;

use crate::cache::Fingerprint;
use crate::findings::Hit;
use crate::model::OwnedInference;

/// Entries that share a set.
const WAYS: usize = 4;

/// A verdict as it is remembered. What is let go has no hits to tell of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) block: bool,
    pub(super) score: f32,
    pub(super) anomaly: u32,
    pub(super) hits: Option<Arc<[Hit]>>,
    pub(super) model: Option<Arc<OwnedInference>>,
}

#[derive(Clone, Debug)]
struct Entry {
    fingerprint: u128,
    verdict: Known,
}

/// A set-associative table; in each set the verdict that was not used for the longest time makes room. 80 bytes an
/// entry, and those of a blocked one up to eight hits more.
#[derive(Debug)]
pub(super) struct KnownVerdicts {
    sets: Vec<[Option<Entry>; WAYS]>,
}

impl KnownVerdicts {
    /// Room for `entries` verdicts, rounded up to a power of two; 0 for none.
    pub(super) fn new(entries: usize) -> Self {
        let sets = match entries {
            0 => 0,
            _ => entries.div_ceil(WAYS).next_power_of_two(),
        };
        Self {
            sets: vec![[const { None }; WAYS]; sets],
        }
    }

    /// The verdict, if it is known.
    pub(super) fn get(&mut self, fingerprint: Fingerprint) -> Option<&Known> {
        let set = self.set(fingerprint)?;
        let is_it = |entry: &Option<Entry>| {
            entry
                .as_ref()
                .is_some_and(|entry| entry.fingerprint == fingerprint.0)
        };
        let way = set.iter().position(is_it)?;
        set[..=way].rotate_right(1);
        set[0].as_ref().map(|entry| &entry.verdict)
    }

    /// Keeps a verdict.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, verdict: Known) {
        if let Some(set) = self.set(fingerprint) {
            set.rotate_right(1);
            set[0] = Some(Entry {
                fingerprint: fingerprint.0,
                verdict,
            });
        }
    }

    /// Forgets all: other rules may judge otherwise.
    pub(super) fn clear(&mut self) {
        self.sets.fill([const { None }; WAYS]);
    }

    fn set(&mut self, fingerprint: Fingerprint) -> Option<&mut [Option<Entry>; WAYS]> {
        let mask = self.sets.len().checked_sub(1)?;
        let index = fingerprint.spread() & mask;
        self.sets.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_not_used_for_longest_makes_room() {
        let mut known = KnownVerdicts::new(WAYS);
        let verdict = |block| Known {
            block,
            score: 0.5,
            anomaly: 3,
            hits: None,
            model: None,
        };
        for number in 1..=WAYS as u128 {
            known.insert(Fingerprint(number), verdict(number % 2 == 0));
        }
        assert_eq!(
            known.get(Fingerprint(1)).map(|verdict| verdict.block),
            Some(false)
        );
        known.insert(Fingerprint(9), verdict(true));
        assert!(known.get(Fingerprint(2)).is_none());
        assert_eq!(known.get(Fingerprint(9)).map(|verdict| verdict.block), Some(true));
        assert!(known.get(Fingerprint(1)).is_some());
        known.clear();
        assert!(known.get(Fingerprint(1)).is_none());
        let mut none = KnownVerdicts::new(0);
        none.insert(Fingerprint(1), verdict(true));
        assert!(none.get(Fingerprint(1)).is_none());
    }
}
