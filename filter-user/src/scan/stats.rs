//! How fast a scan was.

use std::{
    fmt,
    time::{Duration, Instant},
};

use filter_score::Verdict;
use hdrhistogram::Histogram;

use crate::latency::{MAX_NS, empty_histogram};

/// Counts and times of a scan. It prints as some lines for people.
#[derive(Debug)]
pub struct Stats {
    start: Instant,
    requests: u64,
    bytes: u64,
    verdicts: [u64; 3],
    bad_input: u64,
    scoring: Duration,
    latency: Histogram<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            requests: 0,
            bytes: 0,
            verdicts: [0; 3],
            bad_input: 0,
            scoring: Duration::ZERO,
            latency: empty_histogram(),
        }
    }
}

impl Stats {
    /// Counts a decision.
    pub fn decision(&mut self, verdict: Verdict) {
        self.verdicts[verdict as usize] += 1;
    }

    /// Counts the time that scoring `requests` requests of together `bytes` took.
    pub fn scored(&mut self, requests: u64, bytes: u64, took: Duration) {
        self.requests += requests;
        self.bytes += bytes;
        self.scoring += took;
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(each) = ns.checked_div(requests) {
            self.latency.saturating_record_n(each.min(MAX_NS), requests);
        }
    }

    /// Counts input that could not be read.
    pub fn bad_input(&mut self) {
        self.bad_input += 1;
    }

    /// True if nothing at all could be scored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Input that could not be read.
    #[must_use]
    pub fn bad_inputs(&self) -> u64 {
        self.bad_input
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [allow, suspicious, block] = self.verdicts;
        let Self {
            requests,
            bytes,
            bad_input,
            ..
        } = self;
        let (wall, scoring) = (self.start.elapsed().as_secs_f64(), self.scoring.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = |seconds: f64| {
            if seconds > 0.0 {
                *requests as f64 / seconds
            } else {
                0.0
            }
        };
        writeln!(
            f,
            "requests    {requests} ({allow} allowed, {suspicious} suspicious, {block} blocked), {bytes} bytes"
        )?;
        writeln!(f, "not read    {bad_input}")?;
        writeln!(f, "all         {wall:.3} s, {:.0} requests/s", rate(wall))?;
        writeln!(f, "scoring     {scoring:.3} s, {:.0} requests/s", rate(scoring))?;
        write!(f, "latency     ")?;
        for (name, percentile) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)] {
            write!(f, "{name} {} ns, ", self.latency.value_at_percentile(percentile))?;
        }
        write!(f, "max {} ns", self.latency.max())
    }
}
