//! What goes round between a ring thread and the pool.

use filter_score::{DeepJob, DeepVerdict};

use super::{Book, Priority, Ticket};

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet.
    Open,
    /// It has a verdict.
    Judged,
    /// A worker found its deadline over, or failed on it.
    Lost,
}

/// One job, about 5 KiB. It is made at the start and filled again and again.
#[derive(Debug)]
pub struct Job {
    /// The request.
    pub request: DeepJob,
    /// What was made of it.
    pub verdict: DeepVerdict,
    pub(super) fate: Fate,
    pub(super) ticket: Ticket,
    pub(super) deadline_ns: u64,
    pub(super) priority: Priority,
}

impl Job {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            request: DeepJob::default(),
            verdict: DeepVerdict::default(),
            fate: Fate::Open,
            ticket: Book::<()>::no_ticket(),
            deadline_ns: 0,
            priority: Priority::Ordinary,
        })
    }

    /// The verdict is there.
    pub fn judged(&mut self) {
        self.fate = Fate::Judged;
    }

    /// There will be no verdict.
    pub fn lost(&mut self) {
        self.fate = Fate::Lost;
    }
}
