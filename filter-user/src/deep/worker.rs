//! A thread of the pool.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use filter_score::{DeepJob, DeepScorer, DeepVerdict, Policies};

use super::{Bell, Job, Lanes, PoolCounters, Priority, priority::Turn};
use crate::engine::Clock;

/// The longest sleep; the bell rings for work and for the end.
const SLEEP: Duration = Duration::from_secs(1);

/// What judges jobs.
pub trait JobScorer: Send {
    /// Fills the verdict.
    fn score(&mut self, request: &DeepJob, verdict: &mut DeepVerdict);

    /// Puts other rules and policies in force.
    fn replace(&mut self, policies: Arc<Policies>);
}

impl JobScorer for DeepScorer {
    fn score(&mut self, request: &DeepJob, verdict: &mut DeepVerdict) {
        Self::score(self, request, verdict);
    }

    fn replace(&mut self, policies: Arc<Policies>) {
        Self::replace(self, &policies);
    }
}

/// What all threads of the pool share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lanes: Box<[Arc<Lanes>]>,
    /// Wakes workers.
    pub(super) bell: Arc<Bell>,
    pub(super) batch: usize,
    pub(super) collect: Duration,
    pub(super) stop: AtomicBool,
    pub(super) counters: PoolCounters,
    policies: Mutex<Option<Arc<Policies>>>,
    /// Counts the changes of `policies`.
    generation: AtomicU64,
}

impl Shared {
    pub(super) fn new(lanes: Box<[Arc<Lanes>]>, bell: Arc<Bell>, batch: usize, collect: Duration) -> Self {
        Self {
            lanes,
            bell,
            batch: batch.max(1),
            collect,
            stop: AtomicBool::new(false),
            counters: PoolCounters::default(),
            policies: Mutex::new(None),
            generation: AtomicU64::new(0),
        }
    }

    /// Puts other rules and policies in force; each worker takes them over before its next batch.
    pub(super) fn replace(&self, policies: Arc<Policies>) {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = Some(policies);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Jobs that no worker has taken yet.
    pub(super) fn depth(&self) -> usize {
        self.lanes.iter().map(|lanes| lanes.depth()).sum()
    }
}

/// What the supervisor and one worker share.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Since when the worker has been at one job; 0 if it is at none.
    pub(super) busy_since: AtomicU64,
    /// It is to end.
    pub(super) retired: AtomicBool,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Told,
    /// It panicked: what it has learnt cannot be relied on.
    Panicked,
}

/// One worker's own.
pub(super) struct Worker<C> {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Arc<Seat>,
    pub(super) scorer: Box<dyn JobScorer>,
    pub(super) clock: C,
    turn: Turn,
    /// Where the round over the queues goes on.
    at: usize,
    #[expect(clippy::vec_box, reason = "the boxes go round")]
    batch: Vec<Box<Job>>,
    /// Whose jobs they are.
    owners: Vec<usize>,
    generation: u64,
}

impl<C: Clock> Worker<C> {
    pub(super) fn new(shared: Arc<Shared>, seat: Arc<Seat>, scorer: Box<dyn JobScorer>, clock: C) -> Self {
        let batch = shared.batch;
        Self {
            shared,
            seat,
            scorer,
            clock,
            turn: Turn::default(),
            at: 0,
            batch: Vec::with_capacity(batch),
            owners: Vec::with_capacity(batch),
            generation: 0,
        }
    }

    /// Works until told to end.
    pub(super) fn run(mut self) -> End {
        while !self.told() {
            self.take();
            if self.batch.is_empty() {
                self.sleep();
                continue;
            }
            // A job alone is not kept waiting for company.
            if self.batch.len() > 1 && self.batch.len() < self.shared.batch && !self.shared.collect.is_zero()
            {
                thread::sleep(self.shared.collect);
                self.take();
            }
            if self.judge() == End::Panicked {
                return End::Panicked;
            }
        }
        End::Told
    }

    fn told(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire) || self.seat.retired.load(Ordering::Acquire)
    }

    fn sleep(&self) {
        let shared = &self.shared;
        let sleeper = shared.bell.announce();
        if shared.depth() == 0 && !self.told() {
            sleeper.sleep(SLEEP);
        }
    }

    /// Fills the batch from all queues in turn.
    fn take(&mut self) {
        while self.batch.len() < self.shared.batch {
            let order = self.turn.order();
            let Some((owner, job)) = order.into_iter().find_map(|priority| self.next(priority)) else {
                return;
            };
            self.owners.push(owner);
            self.batch.push(job);
        }
    }

    fn next(&mut self, priority: Priority) -> Option<(usize, Box<Job>)> {
        let count = self.shared.lanes.len();
        for step in 0..count {
            let owner = (self.at + step) % count;
            if let Some(job) = self.shared.lanes[owner].take(priority) {
                self.at = owner + 1;
                return Some((owner, job));
            }
        }
        None
    }

    /// Judges the batch and gives it back.
    fn judge(&mut self) -> End {
        self.adopt();
        let mut end = End::Told;
        for (mut job, &owner) in self.batch.drain(..).zip(&self.owners) {
            let now = self.clock.now();
            self.seat.busy_since.store(now.max(1), Ordering::Release);
            if end == End::Panicked || now >= job.deadline_ns {
                job.lost();
            } else {
                let Job { request, verdict, .. } = &mut *job;
                let scored = catch_unwind(AssertUnwindSafe(|| self.scorer.score(request, verdict)));
                if scored.is_ok() {
                    job.judged();
                } else {
                    job.lost();
                    end = End::Panicked;
                }
            }
            self.shared.lanes[owner].answer(job);
            self.shared.lanes[owner].ring();
        }
        self.owners.clear();
        self.seat.busy_since.store(0, Ordering::Release);
        end
    }

    /// Takes over the policies in force.
    fn adopt(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            let policies = self
                .shared
                .policies
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(policies) = &*policies {
                self.scorer.replace(Arc::clone(policies));
            }
        }
    }
}
