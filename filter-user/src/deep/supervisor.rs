//! Who looks after the workers: replaces those that die or hang, and follows the load.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    BreakerState, JobScorer, Notice, Scaling, Settings, Step,
    worker::{End, Seat, Shared, Worker},
};
use crate::engine::{Clock, live::SystemClock};

/// How often it looks at workers and queues.
const WATCH: Duration = Duration::from_millis(100);

pub(super) type Make = Box<dyn Fn() -> Box<dyn JobScorer> + Send>;
pub(super) type Prepare = Arc<dyn Fn() + Send + Sync>;
pub(super) type Observe = Box<dyn Fn(Notice) + Send>;

/// A worker's thread.
struct Hired {
    seat: Arc<Seat>,
    thread: JoinHandle<End>,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    make: Make,
    prepare: Prepare,
    observe: Observe,
    scaling: Scaling,
    stall_ns: u64,
    /// Workers that may hang at once before no more are hired in their place.
    spare: usize,
    staff: Vec<Hired>,
    given_up: Vec<Hired>,
    breakers: Vec<BreakerState>,
    hired: u64,
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        make: Make,
        prepare: Prepare,
        observe: Observe,
    ) -> Self {
        let (min, max) = settings.workers;
        Self {
            breakers: vec![BreakerState::Closed; shared.lanes.len()],
            shared,
            make,
            prepare,
            observe,
            scaling: Scaling::new(min, max),
            stall_ns: settings.stall.as_nanos() as u64,
            spare: max,
            staff: Vec::new(),
            given_up: Vec::new(),
            hired: 0,
        }
    }

    pub(super) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.look(SystemClock.now());
            thread::park_timeout(WATCH);
        }
        for _ in &self.staff {
            self.shared.bell.ring();
        }
        for hired in self.staff.drain(..) {
            // What it died of was said by the panic hook; those that hang are left alone.
            if hired.seat.busy_since.load(Ordering::Acquire) == 0 || hired.thread.is_finished() {
                let _ = hired.thread.join();
            } else {
                finish(&hired.thread, Duration::from_nanos(self.stall_ns));
            }
        }
    }

    /// One round of everything.
    fn look(&mut self, now_ns: u64) {
        self.replace_the_dead(now_ns);
        let depth = self.shared.depth();
        if let Some(step) = self.scaling.look(now_ns, depth) {
            let counters = &self.shared.counters;
            match step {
                Step::Up => counters.grown.fetch_add(1, Ordering::Relaxed),
                Step::Down => counters.shrunk.fetch_add(1, Ordering::Relaxed),
            };
            let workers = self.scaling.workers();
            (self.observe)(Notice::Scaled { workers, depth });
        }
        while self.staff.len() > self.scaling.workers()
            && let Some(hired) = self.staff.pop()
        {
            hired.seat.retired.store(true, Ordering::Release);
            // One of the sleepers; if it is another one, that goes back to sleep, and this ends within a second.
            self.shared.bell.ring();
            self.given_up.push(hired);
        }
        if let Err(error) = self.fill_seats() {
            tracing::warn!("cannot start a thread of the deep-inspection pool: {error}");
        }
        for (queue, lanes) in self.shared.lanes.iter().enumerate() {
            let state = lanes.breaker();
            if std::mem::replace(&mut self.breakers[queue], state) != state {
                (self.observe)(Notice::Breaker { queue, state });
            }
        }
    }

    /// Takes those who ended, or hang, off the staff.
    fn replace_the_dead(&mut self, now_ns: u64) {
        let mut at = 0;
        while let Some(hired) = self.given_up.get(at) {
            if hired.thread.is_finished() {
                let hired = self.given_up.swap_remove(at);
                self.bury(hired);
            } else {
                at += 1;
            }
        }
        at = 0;
        while let Some(hired) = self.staff.get(at) {
            let since = hired.seat.busy_since.load(Ordering::Acquire);
            let hangs = since != 0 && now_ns.saturating_sub(since) >= self.stall_ns;
            if hired.thread.is_finished() {
                let hired = self.staff.swap_remove(at);
                self.bury(hired);
            } else if hangs && self.given_up.len() < self.spare {
                let hired = self.staff.swap_remove(at);
                // Should it come back, it gives its jobs back and ends.
                hired.seat.retired.store(true, Ordering::Release);
                self.given_up.push(hired);
                self.shared.counters.stalled.fetch_add(1, Ordering::Relaxed);
                (self.observe)(Notice::Stalled);
            } else {
                at += 1;
            }
        }
    }

    /// Counts a worker that ended, unless it was told to.
    fn bury(&self, hired: Hired) {
        if !matches!(hired.thread.join(), Ok(End::Told)) {
            self.shared.counters.died.fetch_add(1, Ordering::Relaxed);
            (self.observe)(Notice::Died);
        }
    }

    /// Hires workers up to the number there should be.
    pub(super) fn fill_seats(&mut self) -> io::Result<()> {
        while self.staff.len() < self.scaling.workers() {
            let seat = Arc::new(Seat::default());
            let worker = Worker::new(
                Arc::clone(&self.shared),
                Arc::clone(&seat),
                (self.make)(),
                SystemClock,
            );
            let prepare = Arc::clone(&self.prepare);
            let thread = thread::Builder::new()
                .name(format!("pc-deep-{}", self.hired))
                .spawn(move || {
                    prepare();
                    worker.run()
                })?;
            self.hired += 1;
            self.staff.push(Hired { seat, thread });
        }
        let workers = self.staff.len() as u64;
        self.shared.counters.workers.store(workers, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits for a thread that is at work, but not for ever.
fn finish(thread: &JoinHandle<End>, patience: Duration) {
    const STEP: Duration = Duration::from_millis(1);
    let mut waited = Duration::ZERO;
    while waited < patience && !thread.is_finished() {
        thread::sleep(STEP);
        waited += STEP;
    }
}
