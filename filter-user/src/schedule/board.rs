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
    /// A job that has not run yet.
    pub fn add(&self, name: &str, every: Duration) {
        self.entries().push(JobStatus {
            name: name.to_owned(),
            every_s: every.as_secs_f64(),
            runs: 0,
            failures: 0,
            last_run: None,
            last_duration_ms: 0.0,
            last_result: None,
        });
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
