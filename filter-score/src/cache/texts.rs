//! Texts in which nothing was found: clients send the same header lines, parameters and members of objects again and again.

use super::Fingerprint;
use super::table::Table;

#[derive(Debug)]
pub(crate) struct CleanTexts {
    table: Table,
    /// Longer texts are scored each time, in bytes.
    longest: usize,
    hits: u64,
    misses: u64,
}

impl CleanTexts {
    /// Room for `entries` texts, rounded up to a power of two; 0 for none.
    pub(crate) fn new(entries: usize, longest: usize) -> Self {
        Self {
            table: Table::new(entries),
            longest,
            hits: 0,
            misses: 0,
        }
    }

    /// Whether the text may be kept.
    #[inline]
    pub(crate) fn takes(&self, text: &[u8]) -> bool {
        text.len() <= self.longest && !self.table.is_empty()
    }

    /// Whether the text is known.
    #[inline]
    pub(crate) fn contains(&mut self, fingerprint: Fingerprint) -> bool {
        let known = self.table.contains(fingerprint);
        self.hits += u64::from(known);
        known
    }

    /// A text is scored, as it is not known.
    #[inline]
    pub(crate) fn missed(&mut self) {
        self.misses += 1;
    }

    /// Keeps a text.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint) {
        self.table.insert(fingerprint);
    }

    /// Forgets all texts: other rules may judge them otherwise.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }

    /// How many texts were known, and how many of those that may be kept were looked up.
    pub(crate) fn hits(&self) -> (u64, u64) {
        (self.hits, self.hits + self.misses)
    }
}
