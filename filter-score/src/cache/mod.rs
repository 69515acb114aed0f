//! What was scored before and found clean, byte for byte: whole requests, and header lines.
//!
//! Whether anything is found depends on the bytes, the rules and the policy alone, so what is remembered under a policy
//! stays true until the rules or the policies change; then all is forgotten. Memory is fixed at the start, 16 bytes an entry.

mod fingerprint;
mod lines;
mod requests;
mod table;

pub(crate) use fingerprint::{Fingerprint, Fingerprinter, LONGEST};
use lines::CleanLines;
use requests::CleanRequests;

/// Lines that are kept for each request that is: those of many requests are the same.
const REQUESTS_A_LINE: usize = 4;

/// What one scorer remembers.
#[derive(Debug)]
pub(crate) struct Known {
    fingerprinter: Fingerprinter,
    requests: CleanRequests,
    lines: CleanLines,
}

impl Known {
    /// Room for about `entries` requests and a quarter as many lines; 0 for none. `secret` is what no client can
    /// guess.
    pub(crate) fn new(entries: usize, secret: &[u8; 16]) -> Self {
        Self {
            fingerprinter: Fingerprinter::new(secret),
            requests: CleanRequests::new(entries),
            lines: CleanLines::new(entries / REQUESTS_A_LINE),
        }
    }

    /// The fingerprint of what may be a request of the kind that is kept.
    pub(crate) fn request(&self, bytes: &[u8], policy: u16) -> Option<Fingerprint> {
        self.requests.fingerprint(&self.fingerprinter, bytes, policy)
    }

    /// Whether a request is known to be clean.
    pub(crate) fn is_clean_request(&mut self, fingerprint: Fingerprint) -> bool {
        self.requests.contains(fingerprint)
    }

    /// A request was found clean.
    pub(crate) fn keep_request(&mut self, fingerprint: Fingerprint) {
        self.requests.insert(fingerprint);
    }

    /// The fingerprint of a header line that is not too long to be kept.
    #[inline]
    pub(crate) fn line(&self, line: &[u8], policy: u16) -> Option<Fingerprint> {
        self.lines.fingerprint(&self.fingerprinter, line, policy)
    }

    /// Whether a header line is known to be clean.
    #[inline]
    pub(crate) fn is_clean_line(&mut self, fingerprint: Fingerprint) -> bool {
        self.lines.contains(fingerprint)
    }

    /// A header line was found clean, and says nothing about the message's framing.
    pub(crate) fn keep_line(&mut self, fingerprint: Fingerprint) {
        self.lines.insert(fingerprint);
    }

    /// Forgets all: other rules may judge otherwise.
    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.lines.clear();
    }

    /// How many requests were known.
    pub(crate) fn requests_known(&self) -> u64 {
        self.requests.hits()
    }

    /// How many header lines were known, and how many were looked up.
    pub(crate) fn lines_known(&self) -> (u64, u64) {
        self.lines.hits()
    }
}
