//! Scoring of recorded requests, offline.
//!
//! Files are read as streams: memory is bounded by the longest request, however long the file.

mod capture;
#[cfg(test)]
mod capture_tests;
mod http;
mod input;
mod jsonl;
mod output;
mod record;
mod stats;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr};

use filter_score::{OwnedDecision, Policies};
use serde_json::Value;

pub use capture::{Capture, CaptureError, Frame};
pub use http::scan_http;
pub use input::{Input, open};
pub use jsonl::{MAX_LINE_BYTES, scan_jsonl};
pub use output::{Output, OutputForm};
pub(crate) use record::CheckedRequest;
pub use stats::Stats;

/// The request of one JSON line, on the wire; an error says what is wrong with it.
pub(crate) fn parse_request(line: &[u8]) -> Result<Vec<u8>, String> {
    record::Record::parse(line).map(|record| record.bytes)
}

/// Appends the request of a JSON object as it is on the wire; an error says what is wrong with it.
pub(crate) fn write_request(shown: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    CheckedRequest::parse(shown)?.write(out)
}

/// What scoring needs.
#[derive(Debug, Clone)]
pub struct Judge {
    /// Rules and policies; none of them blocks.
    pub policies: Policies,
    /// Whom requests are from, where a file does not say.
    pub source: Option<IpAddr>,
    /// The number of the policy that holds for them, where a file does not say.
    pub policy: u16,
}

/// Where decisions go, and what cannot be decided.
pub trait Sink {
    /// Takes the decision on one request; `id` is the record's own, or its number. An error ends the scan.
    fn decision(&mut self, id: &Value, decision: &OwnedDecision) -> std::io::Result<()>;

    /// Counts the time that scoring `requests` requests of together `bytes` took.
    fn scored(&mut self, requests: u64, bytes: u64, took: std::time::Duration);

    /// Notes input that cannot be read; the scan goes on behind it.
    fn bad_input(&mut self, error: &BadInput);
}

/// Input that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadInput {
    /// The file.
    pub file: String,
    /// The line, from 1, where the file has lines.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}
