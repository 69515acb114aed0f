//! Header lines in which nothing was found: clients send the same ones with every request.

use super::table::Table;
use super::{Fingerprint, Fingerprinter};

/// Longer lines are scored each time, in bytes.
const LONGEST: usize = 512;

#[derive(Debug)]
pub(crate) struct CleanLines {
    table: Table,
    hits: u64,
    looked_up: u64,
}

impl CleanLines {
    /// Room for `entries` lines, rounded up to a power of two; 0 for none.
    pub(crate) fn new(entries: usize) -> Self {
        Self {
            table: Table::new(entries),
            hits: 0,
            looked_up: 0,
        }
    }

    /// The fingerprint of a line that may be kept.
    #[inline]
    pub(crate) fn fingerprint(
        &self,
        fingerprinter: &Fingerprinter,
        line: &[u8],
        policy: u16,
    ) -> Option<Fingerprint> {
        (line.len() <= LONGEST && !self.table.is_empty()).then(|| fingerprinter.of(line, policy))
    }

    /// Whether the line is known.
    #[inline]
    pub(crate) fn contains(&mut self, fingerprint: Fingerprint) -> bool {
        let known = self.table.contains(fingerprint);
        self.looked_up += 1;
        self.hits += u64::from(known);
        known
    }

    /// Keeps a line.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint) {
        self.table.insert(fingerprint);
    }

    /// Forgets all lines: other rules may judge them otherwise.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }

    /// How many lines were known, and how many were looked up.
    pub(crate) fn hits(&self) -> (u64, u64) {
        (self.hits, self.looked_up)
    }
}
