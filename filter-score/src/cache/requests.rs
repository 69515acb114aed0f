//! Whole requests that were found clean.
//!
//! Only those without a body that came in one segment are kept: what a browser asks for again and again.

use super::fingerprint::LONGEST;
use super::table::Table;
use super::{Fingerprint, Fingerprinter};

#[derive(Debug)]
pub(crate) struct CleanRequests {
    table: Table,
    hits: u64,
}

impl CleanRequests {
    /// Room for `entries` requests, rounded up to a power of two; 0 for none.
    pub(crate) fn new(entries: usize) -> Self {
        Self {
            table: Table::new(entries),
            hits: 0,
        }
    }

    /// The fingerprint of what may be a request of the kind that is kept; `None` for anything else.
    pub(crate) fn fingerprint(
        &self,
        fingerprinter: &Fingerprinter,
        bytes: &[u8],
        policy: u16,
    ) -> Option<Fingerprint> {
        let may_be_kept = !self.table.is_empty()
            && bytes.len() <= LONGEST
            && bytes.ends_with(b"\r\n\r\n")
            && (bytes.starts_with(b"GET ") || bytes.starts_with(b"HEAD "));
        may_be_kept.then(|| fingerprinter.of(bytes, u64::from(policy)))
    }

    /// Whether the request is known; counts it.
    pub(crate) fn contains(&mut self, fingerprint: Fingerprint) -> bool {
        let known = self.table.contains(fingerprint);
        self.hits += u64::from(known);
        known
    }

    /// Keeps a request.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint) {
        self.table.insert(fingerprint);
    }

    /// Forgets all requests: other rules may judge them otherwise.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }

    /// How often a request was known.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_requests_without_a_body_have_a_fingerprint() {
        let fingerprinter = Fingerprinter::new(&[7; 16]);
        let cache = CleanRequests::new(64);
        let fingerprint = |bytes: &[u8]| cache.fingerprint(&fingerprinter, bytes, 0);
        assert!(fingerprint(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_some());
        assert!(fingerprint(b"HEAD / HTTP/1.1\r\n\r\n").is_some());
        let of_length = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 18));
        assert!(fingerprint(of_length(LONGEST).as_bytes()).is_some());
        let long = of_length(LONGEST + 1);
        assert_eq!(long.len(), LONGEST + 1);
        let others: [&[u8]; 5] = [
            b"",
            b"GET / HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            long.as_bytes(),
        ];
        for bytes in others {
            assert_eq!(fingerprint(bytes), None, "{}", bytes.escape_ascii());
        }
        let none = CleanRequests::new(0);
        assert_eq!(
            none.fingerprint(&fingerprinter, b"GET / HTTP/1.1\r\n\r\n", 0),
            None
        );
    }
}
