//! What has become of jobs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// What it is called.
    pub name: String,
    /// Seconds from one run to the next.
    pub every_s: f64,
    /// Runs that have ended.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// When the last one ended, RFC 3339.
    pub last_run: Option<String>,
    /// How long it took, milliseconds.
    pub last_duration_ms: f64,
    /// What it came to.
    pub last_result: Option<String>,
}

/// Where runs are noted.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<JobStatus>>);

impl Board {
    /// A job that has not run yet. One that is there already goes on with another interval.
    pub fn add(&self, name: &str, every: Duration) {
        let mut entries = self.entries();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) {
            entry.every_s = every.as_secs_f64();
            return;
        }
        entries.push(JobStatus {
            name: name.to_owned(),
            every_s: every.as_secs_f64(),
            runs: 0,
            failures: 0,
            last_run: None,
            last_duration_ms: 0.0,
            last_result: None,
        });
    }

    /// There is no such job any more.
    pub fn remove(&self, name: &str) {
        self.entries().retain(|entry| entry.name != name);
    }

    /// A run has ended.
    pub fn note(&self, name: &str, took: Duration, outcome: Outcome) {
        let mut entries = self.entries();
        let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) else {
            return;
        };
        entry.runs += 1;
        entry.failures += u64::from(outcome.is_err());
        entry.last_run = Some(humantime::format_rfc3339_millis(SystemTime::now()).to_string());
        entry.last_duration_ms = took.as_secs_f64() * 1000.0;
        entry.last_result = Some(outcome.unwrap_or_else(|error| format!("failed: {error}")));
    }

    /// All jobs.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.entries().clone()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<JobStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_come_and_go_and_keep_what_is_known_of_them() {
        let board = Board::default();
        board.add("one", Duration::from_secs(1));
        board.add("two", Duration::from_secs(1));
        board.note("one", Duration::from_millis(2), Ok("done".into()));
        board.add("one", Duration::from_secs(9));
        board.remove("two");
        board.note("two", Duration::ZERO, Ok("nobody knows it".into()));
        let [one] = &board.jobs()[..] else {
            panic!("one is left: {board:?}")
        };
        assert_eq!(
            (one.name.as_str(), one.every_s, one.runs, one.last_duration_ms),
            ("one", 9.0, 1, 2.0)
        );
        assert_eq!(one.last_result.as_deref(), Some("done"));
    }
}
