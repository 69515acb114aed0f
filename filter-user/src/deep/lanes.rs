//! The queues between one ring thread and the pool.

use std::{
    io,
    sync::atomic::{AtomicU8, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::{Bell, BreakerState, Job, Priority};

/// Three bounded lock-free queues. Each has room for all the jobs there are, so none is ever full.
#[derive(Debug)]
pub struct Lanes {
    suspect: ArrayQueue<Box<Job>>,
    ordinary: ArrayQueue<Box<Job>>,
    answers: ArrayQueue<Box<Job>>,
    /// Wakes the ring thread.
    pub(super) bell: Bell,
    breaker: AtomicU8,
}

impl Lanes {
    /// Room for `jobs` jobs.
    pub(super) fn new(jobs: usize) -> io::Result<Self> {
        let queue = || ArrayQueue::new(jobs.max(1));
        Ok(Self {
            suspect: queue(),
            ordinary: queue(),
            answers: queue(),
            bell: Bell::new()?,
            breaker: AtomicU8::new(BreakerState::Closed as u8),
        })
    }

    /// Jobs that no worker has taken yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.suspect.len() + self.ordinary.len()
    }

    pub(super) fn submit(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        match job.priority {
            Priority::Suspect => self.suspect.push(job),
            Priority::Ordinary => self.ordinary.push(job),
        }
    }

    /// The next job of this priority.
    #[must_use]
    pub fn take(&self, priority: Priority) -> Option<Box<Job>> {
        match priority {
            Priority::Suspect => self.suspect.pop(),
            Priority::Ordinary => self.ordinary.pop(),
        }
    }

    /// Gives a job back. The ring thread sees it when it looks next; [`Lanes::ring`] makes it look.
    pub fn answer(&self, job: Box<Job>) {
        let returned = self.answers.push(job);
        debug_assert!(returned.is_ok(), "there is room for all jobs");
    }

    /// Wakes the ring thread if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }

    pub(super) fn answered(&self) -> Option<Box<Job>> {
        self.answers.pop()
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    pub(super) fn set_breaker(&self, state: BreakerState) {
        self.breaker.store(state as u8, Ordering::Relaxed);
    }

    /// The port's breaker, as of its last job.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let state = self.breaker.load(Ordering::Relaxed);
        BreakerState::ALL
            .get(usize::from(state))
            .copied()
            .unwrap_or_default()
    }
}
