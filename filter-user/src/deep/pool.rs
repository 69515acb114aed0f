//! The pool as the engine sees it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use filter_score::Policies;

use super::{Bell, BreakerState, JobScorer, Lanes, Port, supervisor::Supervisor, worker::Shared};

/// Bounds and timing of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Workers, at least and at most.
    pub workers: (usize, usize),
    /// Jobs a worker takes at once.
    pub batch: usize,
    /// How long a worker with more than one job waits for more.
    pub collect: Duration,
    /// How long a request waits for its verdict.
    pub deadline: Duration,
    /// Requests of one queue that may be with the pool.
    pub jobs: u32,
    /// A worker that has been at one job for so long is given up and replaced.
    pub stall: Duration,
}

/// Something an operator may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The pool has another number of workers, for the depth of its queues.
    Scaled {
        /// Workers now.
        workers: usize,
        /// Jobs that waited.
        depth: usize,
    },
    /// A worker panicked and was replaced.
    Died,
    /// A worker hangs and was replaced.
    Stalled,
    /// The breaker of a queue is in another state.
    Breaker {
        /// The queue.
        queue: usize,
        /// Its breaker's state.
        state: BreakerState,
    },
}

/// What the pool counts; any thread may read.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Workers, without those that hang.
    pub workers: AtomicU64,
    /// Times the pool grew.
    pub grown: AtomicU64,
    /// Times it shrank.
    pub shrunk: AtomicU64,
    /// Workers that panicked.
    pub died: AtomicU64,
    /// Workers that hung.
    pub stalled: AtomicU64,
}

/// A running pool. Dropping it ends its threads; ports that are left get no answers, and their deadlines hold.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    settings: Settings,
    supervisor: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts the workers for `queues` ports. `make` makes a worker's scorer, `prepare` runs first on each thread, and
    /// `observe` is told what happens.
    ///
    /// # Errors
    ///
    /// When threads or eventfds cannot be had.
    pub fn start(
        settings: Settings,
        queues: usize,
        make: impl Fn() -> Box<dyn JobScorer> + Send + 'static,
        prepare: impl Fn() + Send + Sync + 'static,
        observe: impl Fn(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let lanes: io::Result<Box<[_]>> = (0..queues)
            .map(|_| Lanes::new(settings.jobs as usize).map(Arc::new))
            .collect();
        let shared = Arc::new(Shared::new(
            lanes?,
            Arc::new(Bell::new()?),
            settings.batch,
            settings.collect,
        ));
        let mut supervisor = Supervisor::new(
            Arc::clone(&shared),
            settings,
            Box::new(make),
            Arc::new(prepare),
            Box::new(observe),
        );
        supervisor.fill_seats()?;
        let supervisor = thread::Builder::new()
            .name("pc-deep".into())
            .spawn(move || supervisor.run())?;
        Ok(Self {
            shared,
            settings,
            supervisor: Some(supervisor),
        })
    }

    /// The port of a queue; to be asked for once each.
    ///
    /// # Panics
    ///
    /// When the pool has no such queue.
    #[must_use]
    pub fn port<T>(&self, queue: usize) -> Port<T> {
        Port::new(
            Arc::clone(&self.shared.lanes[queue]),
            Arc::clone(&self.shared.bell),
            self.settings.jobs,
            self.settings.deadline.as_nanos() as u64,
        )
    }

    /// Puts other rules and policies in force.
    pub fn replace(&self, policies: Arc<Policies>) {
        self.shared.replace(policies);
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &PoolCounters {
        &self.shared.counters
    }

    /// Jobs that no worker has taken yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.depth()
    }

    /// The worst state of the queues' breakers.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let states = self.shared.lanes.iter().map(|lanes| lanes.breaker());
        states.max_by_key(|state| *state as u8).unwrap_or_default()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.thread().unpark();
            if supervisor.join().is_err() {
                tracing::warn!("the supervisor of the pool did not end in order");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{
            Mutex,
            mpsc::{self, Receiver},
        },
        time::Instant,
    };

    use filter_score::{DeepJob, DeepVerdict, Policy, RuleSet};

    use super::*;
    use crate::{
        deep::{DeepCount, Priority, Refusal},
        engine::{Clock, live::SystemClock},
    };

    const SOON: Duration = Duration::from_mins(1);
    const DEADLINE: Duration = Duration::from_secs(30);

    fn settings() -> Settings {
        Settings {
            workers: (2, 4),
            batch: 4,
            collect: Duration::from_micros(50),
            deadline: DEADLINE,
            jobs: 32,
            stall: Duration::from_secs(20),
        }
    }

    /// Does what it is told to, one thing for each job.
    struct Scripted(Arc<Mutex<Box<dyn FnMut() -> bool + Send>>>);

    impl JobScorer for Scripted {
        fn score(&mut self, _: &DeepJob, verdict: &mut DeepVerdict) {
            let script = &mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            verdict.block = script();
        }

        fn replace(&mut self, policies: Arc<Policies>) {
            let block = policies.policy(0).paranoia == 4;
            *self.0.lock().expect("not poisoned") = Box::new(move || block);
        }
    }

    fn start(
        settings: Settings,
        queues: usize,
        script: impl FnMut() -> bool + Send + 'static,
    ) -> (Pool, Receiver<Notice>) {
        let script: Box<dyn FnMut() -> bool + Send> = Box::new(script);
        let script = Arc::new(Mutex::new(script));
        let (observe, notices) = mpsc::channel();
        let pool = Pool::start(
            settings,
            queues,
            move || Box::new(Scripted(Arc::clone(&script))),
            || (),
            move |notice| {
                let _ = observe.send(notice);
            },
        )
        .expect("threads can be had");
        (pool, notices)
    }

    fn submit(port: &mut Port<usize>, number: usize) -> Result<(), Refusal> {
        port.submit(SystemClock.now(), Priority::Ordinary, number, |_| ())
            .map(|_| ())
            .map_err(|(refusal, _)| refusal)
    }

    /// Waits for the next verdict as the ring thread does.
    fn next(port: &mut Port<usize>) -> Option<(usize, Option<bool>)> {
        let start = Instant::now();
        while start.elapsed() < SOON {
            let settled = port.next(SystemClock.now(), |_, number, verdict| {
                (number, verdict.map(|verdict| verdict.block))
            });
            if settled.is_some() {
                return settled;
            }
            if let Some(sleeper) = port.sleeper() {
                sleeper.sleep(Duration::from_secs(1));
            }
        }
        None
    }

    fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < SOON, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Hangs at each job until it is released.
    struct Hanging(Arc<Mutex<Receiver<()>>>);

    impl JobScorer for Hanging {
        fn score(&mut self, _: &DeepJob, verdict: &mut DeepVerdict) {
            verdict.block = true;
            let _ = self.0.lock().expect("not poisoned").recv();
        }

        fn replace(&mut self, _: Arc<Policies>) {}
    }

    #[test]
    fn every_job_of_every_queue_is_answered_once() {
        let (pool, _notices) = start(settings(), 3, || false);
        let ports: Vec<_> = (0..3).map(|queue| pool.port::<usize>(queue)).collect();
        let rings: Vec<_> = ports
            .into_iter()
            .map(|mut port| {
                thread::spawn(move || {
                    let (mut sent, mut seen) = (0, HashSet::new());
                    while seen.len() < 5000 {
                        while sent < 5000 && submit(&mut port, sent).is_ok() {
                            sent += 1;
                        }
                        let (number, verdict) = next(&mut port).expect("an answer");
                        assert_eq!(verdict, Some(false));
                        assert!(seen.insert(number));
                    }
                    assert!(!port.awaits());
                    port.counts()[DeepCount::Answered as usize]
                })
            })
            .collect();
        for ring in rings {
            assert_eq!(ring.join().expect("it ends"), 5000);
        }
        assert_eq!(pool.depth(), 0);
    }

    #[test]
    fn a_worker_that_panics_is_replaced_and_its_job_comes_back() {
        let mut number = 0;
        let (pool, notices) = start(settings(), 1, move || {
            number += 1;
            assert!(number % 3 != 0, "told to");
            false
        });
        let mut port = pool.port(0);
        for number in 0..9 {
            submit(&mut port, number).expect("the breaker is closed");
            let expected = if number % 3 == 2 { None } else { Some(false) };
            assert_eq!(next(&mut port), Some((number, expected)));
        }
        assert_eq!(port.counts()[DeepCount::Missed as usize], 3);
        wait_for("replaced", || {
            let counters = pool.counters();
            counters.died.load(Ordering::Relaxed) == 3 && counters.workers.load(Ordering::Relaxed) == 2
        });
        assert_eq!(
            notices
                .try_iter()
                .filter(|notice| *notice == Notice::Died)
                .count(),
            3
        );
        // They are at work again.
        submit(&mut port, 9).expect("room");
        assert_eq!(next(&mut port), Some((9, Some(false))));
    }

    #[test]
    fn workers_that_hang_are_replaced_and_the_breaker_opens_and_closes() {
        let (release, hang) = mpsc::channel::<()>();
        let mut settings = settings();
        settings.deadline = Duration::from_millis(50);
        settings.workers = (1, 2);
        settings.stall = Duration::from_millis(200);
        settings.batch = 1;
        let hang = Arc::new(Mutex::new(hang));
        let (observe, notices) = mpsc::channel();
        let pool = Pool::start(
            settings,
            1,
            move || Box::new(Hanging(Arc::clone(&hang))),
            || (),
            move |notice| {
                let _ = observe.send(notice);
            },
        )
        .expect("threads can be had");
        let mut port = pool.port(0);
        let mut number = 0;
        while port.breaker() != BreakerState::Open {
            submit(&mut port, number).expect("room");
            assert_eq!(next(&mut port), Some((number, None)), "the deadline holds");
            number += 1;
        }
        assert_eq!(submit(&mut port, number), Err(Refusal::Breaker));
        port.publish();
        wait_for("replaced", || {
            pool.counters().stalled.load(Ordering::Relaxed) >= 1
        });
        assert_eq!(pool.breaker(), BreakerState::Open);
        // They come back.
        drop(release);
        wait_for("closed again", || {
            let _probe = submit(&mut port, 0);
            while port.next(SystemClock.now(), |_, _, _| ()).is_some() {}
            port.publish();
            port.breaker() == BreakerState::Closed
        });
        wait_for("told", || {
            notices.try_iter().any(|notice| {
                notice
                    == Notice::Breaker {
                        queue: 0,
                        state: BreakerState::Closed,
                    }
            })
        });
    }

    #[test]
    fn the_pool_grows_under_load() {
        let mut settings = settings();
        settings.jobs = 200;
        settings.batch = 1;
        let (pool, notices) = start(settings, 1, || {
            thread::sleep(Duration::from_millis(5));
            false
        });
        let mut port = pool.port(0);
        wait_for("grown", || {
            while submit(&mut port, 0).is_ok() {}
            while port.next(SystemClock.now(), |_, _, _| ()).is_some() {}
            pool.counters().grown.load(Ordering::Relaxed) == 1
        });
        assert_eq!(pool.counters().workers.load(Ordering::Relaxed), 3);
        let notice = notices.try_iter().next().expect("it is told");
        assert!(
            matches!(notice, Notice::Scaled { workers: 3, depth } if depth > 50),
            "{notice:?}"
        );
    }

    #[test]
    fn other_rules_hold_from_the_next_batch_on() {
        let (pool, _notices) = start(settings(), 1, || false);
        let mut port = pool.port(0);
        submit(&mut port, 0).expect("room");
        assert_eq!(next(&mut port), Some((0, Some(false))));
        let policy = Policy {
            paranoia: 4,
            ..Policy::default()
        };
        let rules = RuleSet::compile(&[]).expect("no rules are rules");
        pool.replace(Arc::new(Policies::single(Arc::new(rules), policy)));
        submit(&mut port, 1).expect("room");
        assert_eq!(next(&mut port), Some((1, Some(true))));
    }

    #[test]
    fn a_port_outlives_its_pool() {
        let mut settings = settings();
        settings.deadline = Duration::from_millis(20);
        let (pool, _notices) = start(settings, 1, || false);
        let mut port = pool.port(0);
        drop(pool);
        submit(&mut port, 0).expect("room");
        assert_eq!(next(&mut port), Some((0, None)));
    }
}
