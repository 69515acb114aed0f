//! What was scored before and found clean, byte for byte: whole requests, header lines, and fields.
//!
//! Whether anything is found depends on the bytes, the rules and the policy alone, so what is remembered under a policy
//! stays true until the rules or the policies change; then all is forgotten. Memory is fixed at the start, 16 bytes an entry.

mod fingerprint;
mod requests;
mod table;
mod texts;

pub(crate) use fingerprint::{Fingerprint, Fingerprinter, LONGEST};
use requests::CleanRequests;
use texts::CleanTexts;

use crate::decode::DecodingSet;
use crate::decode::encoding::Encoding;
use crate::target::Target;

/// Lines that are kept for each request that is: those of many requests are the same.
const REQUESTS_A_LINE: usize = 4;
/// Longer lines and fields are scored each time, in bytes.
const LONGEST_LINE: usize = 512;
const LONGEST_FIELD: usize = 1024;

/// What one scorer remembers.
#[derive(Debug)]
pub(crate) struct Known {
    fingerprinter: Fingerprinter,
    requests: CleanRequests,
    lines: CleanTexts,
    fields: CleanTexts,
}

impl Known {
    /// Room for about `entries` requests, as many fields and a quarter as many lines; 0 for none. `secret` is what no client can
    /// guess.
    pub(crate) fn new(entries: usize, secret: &[u8; 16]) -> Self {
        Self {
            fingerprinter: Fingerprinter::new(secret),
            requests: CleanRequests::new(entries),
            lines: CleanTexts::new(entries / REQUESTS_A_LINE, LONGEST_LINE),
            fields: CleanTexts::new(entries, LONGEST_FIELD),
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
        let taken = self.lines.takes(line);
        taken.then(|| self.fingerprinter.of(line, u64::from(policy)))
    }

    /// Whether a header line is known to be clean.
    #[inline]
    pub(crate) fn is_clean_line(&mut self, fingerprint: Fingerprint) -> bool {
        self.lines.contains(fingerprint)
    }

    /// A header line that may be kept is scored, as it is not known.
    #[inline]
    pub(crate) fn missed_line(&mut self) {
        self.lines.missed();
    }

    /// A header line was found clean, and says nothing about the message's framing.
    pub(crate) fn keep_line(&mut self, fingerprint: Fingerprint) {
        self.lines.insert(fingerprint);
    }

    /// Whether a field may be kept.
    #[inline]
    pub(crate) fn keeps(&self, target: Target, text: &[u8]) -> bool {
        target != Target::Header && self.fields.takes(text)
    }

    /// Whether header lines are kept.
    #[inline]
    pub(crate) fn keeps_lines(&self) -> bool {
        self.lines.takes(&[])
    }

    /// The fingerprint of a field that may be kept. What is found in a field depends on its target, its
    /// `encoding` and what it was `decoded` by before, and on its name only in headers, whose lines are kept.
    #[inline]
    pub(crate) fn field(
        &self,
        target: Target,
        text: &[u8],
        encoding: Encoding,
        decoded: DecodingSet,
        policy: u16,
    ) -> Fingerprint {
        let [policy, decoded] = [policy, decoded.bits()].map(u64::from);
        let context = policy << 32 | decoded << 16 | (encoding as u64) << 8 | target as u64;
        self.fingerprinter.of(text, context)
    }

    /// Whether a field is known to be clean.
    #[inline]
    pub(crate) fn is_clean_field(&mut self, fingerprint: Fingerprint) -> bool {
        self.fields.contains(fingerprint)
    }

    /// A field that may be kept is scored, as it is not known.
    #[inline]
    pub(crate) fn missed_field(&mut self) {
        self.fields.missed();
    }

    /// A field was found clean.
    pub(crate) fn keep_field(&mut self, fingerprint: Fingerprint) {
        self.fields.insert(fingerprint);
    }

    /// Forgets all: other rules may judge otherwise.
    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.lines.clear();
        self.fields.clear();
    }

    /// How many requests were known.
    pub(crate) fn requests_known(&self) -> u64 {
        self.requests.hits()
    }

    /// How many header lines were known, and how many were looked up.
    pub(crate) fn lines_known(&self) -> (u64, u64) {
        self.lines.hits()
    }

    /// How many fields were known, and how many were looked up.
    pub(crate) fn fields_known(&self) -> (u64, u64) {
        self.fields.hits()
    }
}
