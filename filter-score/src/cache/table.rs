//! A set-associative table of fingerprints.

use super::Fingerprint;

/// Fingerprints that share one cache line.
pub(super) const WAYS: usize = 4;

/// One cache line; the fingerprint used last comes first, zero is an empty place.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set([u128; WAYS]);

/// Its memory is fixed, 16 bytes an entry; the fingerprint of a set that was not used for the longest time makes room.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Set]>,
}

impl Table {
    /// A table for `entries` fingerprints, rounded up to a power of two; 0 for none.
    pub(super) fn new(entries: usize) -> Self {
        let sets = if entries == 0 {
            0
        } else {
            entries.div_ceil(WAYS).next_power_of_two()
        };
        Self {
            sets: vec![Set([0; WAYS]); sets].into_boxed_slice(),
        }
    }

    /// Whether nothing can be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether the fingerprint is known.
    pub(super) fn contains(&mut self, fingerprint: Fingerprint) -> bool {
        let Set(ways) = self.set(fingerprint);
        let Some(way) = ways.iter().position(|&known| known == fingerprint.0) else {
            return false;
        };
        ways[..=way].rotate_right(1);
        true
    }

    /// Keeps a fingerprint.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint) {
        let Set(ways) = self.set(fingerprint);
        ways.rotate_right(1);
        ways[0] = fingerprint.0;
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.sets.fill(Set([0; WAYS]));
    }

    fn set(&mut self, fingerprint: Fingerprint) -> &mut Set {
        let index = fingerprint.spread() & (self.sets.len() - 1);
        &mut self.sets[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_used_last_and_forgets_all_at_once() {
        let mut table = Table::new(WAYS);
        let all: Vec<_> = (1..=WAYS as u128 + 1).map(Fingerprint).collect();
        for &fingerprint in &all[..WAYS] {
            assert!(!table.contains(fingerprint));
            table.insert(fingerprint);
        }
        assert!(table.contains(all[0]));
        table.insert(all[WAYS]);
        assert!(!table.contains(all[1]), "the one not used for longest");
        assert!(table.contains(all[0]) && table.contains(all[WAYS]));
        table.clear();
        assert!(all.iter().all(|&fingerprint| !table.contains(fingerprint)));
        assert!(Table::new(0).is_empty());
    }
}
