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
    time::{Duration, Instant, SystemTime},
};

use axum::body::Bytes;
use filter_score::{OfflineScorer, Policies};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout_at,
};

use super::{
    judged::{Circumstances, Judged, Outcome},
    memory::Memory,
};
use crate::{config::CheckApi, scan::write_request};

/// Requests that a worker takes at once.
const CHUNK: usize = 64;

/// Entries of what each worker remembers as clean, 16 bytes each: fields and requests, and a quarter as many header lines.
const CLEAN: usize = 16_384;

/// Bytes of an answer to one of them, with some to spare.
const USUAL_BYTES: usize = 512;

/// Says which policies are in force.
pub(in crate::api) type InForce = dyn Fn() -> Arc<Policies> + Send + Sync;

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
#[derive(Debug)]
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
    pub(super) fn start(settings: &CheckApi, policies: &Arc<InForce>) -> io::Result<Self> {
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
            let (queue, policies, number) =
                (Arc::clone(&pool.queue), Arc::clone(policies), Arc::clone(&number));
            pool.threads.push(
                thread::Builder::new()
                    .name(format!("pc-check-{worker}"))
                    .spawn(move || work(&queue, &*policies, &key, &number))?,
            );
        }
        Ok(pool)
    }

    /// Judges requests as clients show them, in JSON, or says why not before the deadline is over. Reading and writing JSON takes longer than
    /// judging, and is for the workers, too.
    pub(super) async fn judge(&self, mut requests: Vec<Bytes>) -> Result<Answers, Unanswered> {
        let (deadline, count) = (Instant::now() + self.deadline, requests.len());
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
        let mut all = Answers::to(count);
        for reply in replies {
            match timeout_at(deadline.into(), reply).await {
                Ok(Ok(part)) => all.append(part),
                Err(_) => return Err(Unanswered::Late),
                Ok(Err(_)) if Instant::now() >= deadline => return Err(Unanswered::Late),
                Ok(Err(_)) => return Err(Unanswered::Failed),
            }
        }
        Ok(all)
    }
}

impl Answers {
    /// None, with room for those to so many requests.
    fn to(count: usize) -> Self {
        Self {
            text: Vec::with_capacity(count * USUAL_BYTES),
            malformed: None,
        }
    }

    /// Adds those to the requests behind these.
    fn append(&mut self, mut part: Self) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        self.text.append(&mut part.text);
        self.malformed = part.malformed.or(self.malformed.take());
    }

    /// Adds one.
    fn add(&mut self, outcome: &Outcome<'_>) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, outcome).expect("strings, numbers and lists have a JSON form");
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

fn work(queue: &Queue, in_force: &InForce, key: &[u8; 16], number: &AtomicU64) {
    // Not with the first request, which would wait for it.
    let mut worker = Some(Worker::new(in_force(), key));
    while let Some(job) = queue.next() {
        // Whoever asked has gone, or will have.
        if Instant::now() >= job.deadline || job.reply.is_closed() {
            continue;
        }
        let policies = in_force();
        let mut current = match worker.take() {
            Some(worker) if Arc::ptr_eq(&worker.policies, &policies) => worker,
            _ => Worker::new(policies, key),
        };
        let judged = catch_unwind(AssertUnwindSafe(|| current.answer(&job.requests, number)));
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
    /// By the hash of what was shown.
    memory: Memory,
    /// Room for a request as it is on the wire.
    wire: Vec<u8>,
}

impl Worker {
    fn new(policies: Arc<Policies>, key: &[u8; 16]) -> Self {
        Self {
            scorer: OfflineScorer::with_policies(Policies::clone(&policies)).with_cache(CLEAN, key),
            threshold: policies.policy(0).block,
            policies,
            key: *key,
            memory: Memory::new(),
            wire: Vec::new(),
        }
    }

    /// What becomes of requests as a client shows them.
    fn answer(&mut self, shown: &[Bytes], number: &AtomicU64) -> Answers {
        let mut answers = Answers::to(shown.len());
        // Of all of them: they take less than the millisecond that it tells.
        let timestamp = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let first = number.fetch_add(shown.len() as u64, Ordering::Relaxed);
        for (number, shown) in (first..).zip(shown) {
            let began = Instant::now();
            // The key is secret, so nobody else makes the same.
            let id = hash(&self.key, &number.to_le_bytes());
            let Self { scorer, wire, .. } = self;
            let judge = || -> Result<_, String> {
                wire.clear();
                write_request(shown, wire)?;
                Ok(scorer.score_request(wire))
            };
            match self.memory.recall(hash(&self.key, shown), judge) {
                Ok((decision, cached)) => answers.add(&Outcome::Judged(Judged::new(
                    decision,
                    Circumstances {
                        id,
                        timestamp: &timestamp,
                        threshold: self.threshold,
                        cached,
                        took: began.elapsed(),
                    },
                ))),
                Err(error) => {
                    answers.add(&Outcome::Malformed { error: &error });
                    answers.malformed = Some(error);
                }
            }
        }
        answers
    }
}

/// A hash that nobody without the key can foresee.
fn hash(key: &[u8; 16], bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}
