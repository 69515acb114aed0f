//! The threads that judge, and the bounded queue before them.

use std::{
    collections::VecDeque,
    hash::Hasher as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use filter_score::{OfflineScorer, OwnedDecision, Policies};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout_at,
};

use super::judged::{Judged, Outcome};
use crate::{config::CheckApi, control::Engine, scan::parse_request};

/// Requests that a worker takes at once.
const CHUNK: usize = 64;
/// Decisions that each worker remembers.
const REMEMBERED: usize = 4096;

/// Why requests were not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Unanswered {
    /// Too many wait.
    Full,
    /// It would have come too late.
    Late,
    /// The worker panicked.
    Failed,
}

/// The workers. They end when dropped.
pub(in crate::api) struct Pool {
    queue: Arc<Queue>,
    places: Arc<Semaphore>,
    deadline: Duration,
    threads: Vec<JoinHandle<()>>,
}

/// What waits.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Requests for one worker.
struct Job {
    requests: Vec<Bytes>,
    deadline: Instant,
    reply: oneshot::Sender<Answers>,
    _places: OwnedSemaphorePermit,
}

/// What became of some requests.
#[derive(Debug, Default)]
pub(in crate::api) struct Answers {
    /// An object each, with commas between them.
    pub(super) text: Vec<u8>,
    /// Why the last of those that are no requests is none.
    pub(super) malformed: Option<String>,
}

impl Pool {
    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, or there is no randomness.
    pub(super) fn start(settings: &CheckApi, engine: &Arc<dyn Engine>) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::default(),
            places: Arc::new(Semaphore::new(settings.queue as usize)),
            deadline: Duration::from_millis(settings.deadline_ms.into()),
            threads: Vec::new(),
        };
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let number = Arc::new(AtomicU64::new(0));
        for worker in 0..settings.workers {
            let (queue, engine, number) = (Arc::clone(&pool.queue), Arc::clone(engine), Arc::clone(&number));
            pool.threads.push(
                thread::Builder::new()
                    .name(format!("pc-check-{worker}"))
                    .spawn(move || work(&queue, &*engine, &key, &number))?,
            );
        }
        Ok(pool)
    }

    /// Judges requests as clients show them, in JSON, or says why not before the deadline is over. Reading and writing JSON takes longer than
    /// judging, and is for the workers, too.
    pub(super) async fn judge(&self, mut requests: Vec<Bytes>) -> Result<Answers, Unanswered> {
        let deadline = Instant::now() + self.deadline;
        let mut replies = Vec::with_capacity(requests.len().div_ceil(CHUNK));
        let mut jobs = Vec::with_capacity(replies.capacity());
        // All or none.
        while !requests.is_empty() {
            let rest = requests.split_off(requests.len().min(CHUNK));
            let places = Arc::clone(&self.places)
                .try_acquire_many_owned(requests.len() as u32)
                .map_err(|_| Unanswered::Full)?;
            let (reply, answer) = oneshot::channel();
            replies.push(answer);
            jobs.push(Job {
                requests,
                deadline,
                reply,
                _places: places,
            });
            requests = rest;
        }
        self.queue.lock().jobs.extend(jobs);
        self.queue.more.notify_all();
        let mut all = Answers::default();
        for reply in replies {
            match timeout_at(deadline.into(), reply).await {
                Ok(Ok(part)) => all.add(part),
                Err(_) => return Err(Unanswered::Late),
                Ok(Err(_)) if Instant::now() >= deadline => return Err(Unanswered::Late),
                Ok(Err(_)) => return Err(Unanswered::Failed),
            }
        }
        Ok(all)
    }
}

impl Answers {
    fn add(&mut self, mut part: Self) {
        if self.text.is_empty() {
            *self = part;
            return;
        }
        self.text.push(b',');
        self.text.append(&mut part.text);
        self.malformed = part.malformed.or(self.malformed.take());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.more.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread that checks requests did not end in order");
            }
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; none when the pool ends.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(queue: &Queue, engine: &dyn Engine, key: &[u8; 16], number: &AtomicU64) {
    // Not with the first request, which would wait for it.
    let mut worker = Some(Worker::new(engine.policies(), key));
    while let Some(job) = queue.next() {
        // Whoever asked has gone, or will have.
        if Instant::now() >= job.deadline || job.reply.is_closed() {
            continue;
        }
        let policies = engine.policies();
        let mut current = match worker.take() {
            Some(worker) if Arc::ptr_eq(&worker.policies, &policies) => worker,
            _ => Worker::new(policies, key),
        };
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let mut answers = Answers::default();
            for request in &job.requests {
                current.answer(request, number, &mut answers);
            }
            answers
        }));
        if let Ok(answers) = judged {
            let _ = job.reply.send(answers);
            worker = Some(current);
        } else {
            tracing::error!("checking a request panicked; it goes on with a new scorer");
        }
    }
}

/// What a thread judges with, as long as the same policies are in force.
struct Worker {
    policies: Arc<Policies>,
    scorer: OfflineScorer,
    threshold: f32,
    key: [u8; 16],
    /// By the hash of the request; a later one of the same place takes it.
    remembered: Vec<Option<(u128, Arc<OwnedDecision>)>>,
}

impl Worker {
    fn new(policies: Arc<Policies>, key: &[u8; 16]) -> Self {
        Self {
            scorer: OfflineScorer::with_policies(Policies::clone(&policies)),
            threshold: policies.policy(0).block,
            policies,
            key: *key,
            remembered: vec![None; REMEMBERED],
        }
    }

    /// Adds what becomes of a request as a client shows it.
    fn answer(&mut self, shown: &[u8], number: &AtomicU64, answers: &mut Answers) {
        let outcome = match parse_request(shown) {
            Ok(request) => Outcome::Judged(Box::new(self.judge(&request, number))),
            Err(error) => {
                answers.malformed = Some(error.clone());
                Outcome::Malformed { error }
            }
        };
        if !answers.text.is_empty() {
            answers.text.push(b',');
        }
        serde_json::to_writer(&mut answers.text, &outcome)
            .expect("strings, numbers and lists have a JSON form");
    }

    fn judge(&mut self, request: &[u8], number: &AtomicU64) -> Judged {
        let began = Instant::now();
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(request);
        let hash = hasher.finish128().as_u128();
        let place = &mut self.remembered[hash as usize % REMEMBERED];
        let (decision, cached) = match place {
            Some((known, decision)) if *known == hash => (Arc::clone(decision), true),
            _ => {
                let decision = Arc::new(self.scorer.score_request(request));
                *place = Some((hash, Arc::clone(&decision)));
                (decision, false)
            }
        };
        // The key is secret, so nobody else makes the same.
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(number.fetch_add(1, Ordering::Relaxed));
        let id = hasher.finish128().as_u128();
        Judged::new(&decision, self.threshold, id, cached, began.elapsed())
    }
}
