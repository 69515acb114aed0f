//! A ring thread's end of the pool.

use std::{io, sync::Arc};

use filter_score::{DeepJob, DeepVerdict};

use super::{
    Bell, Book, Breaker, BreakerState, DeepCount, Job, Lanes, Priority, Ticket, bell::Sleeper, job::Fate,
};

/// Why a request is not given to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The breaker is open.
    Breaker,
    /// All jobs are out.
    Full,
}

/// Submits jobs and collects verdicts; `T` is what the caller wants back with a verdict. Allocates nothing.
#[derive(Debug)]
pub struct Port<T> {
    lanes: Arc<Lanes>,
    /// Wakes a worker.
    workers: Arc<Bell>,
    #[expect(clippy::vec_box, reason = "the boxes go round")]
    free: Vec<Box<Job>>,
    /// Jobs that are with the pool.
    out: usize,
    book: Book<T>,
    breaker: Breaker,
    patience_ns: u64,
    counts: [u64; DeepCount::ALL.len()],
}

impl<T> Port<T> {
    /// A port of its own, without a pool: whoever has its [`lanes`](Port::lanes) is the pool.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn alone(jobs: u32, patience_ns: u64) -> io::Result<Self> {
        let lanes = Arc::new(Lanes::new(jobs as usize)?);
        Ok(Self::new(lanes, Arc::new(Bell::new()?), jobs, patience_ns))
    }

    pub(super) fn new(lanes: Arc<Lanes>, workers: Arc<Bell>, jobs: u32, patience_ns: u64) -> Self {
        Self {
            lanes,
            workers,
            free: (0..jobs).map(|_| Job::new()).collect(),
            out: 0,
            book: Book::new(jobs),
            breaker: Breaker::default(),
            patience_ns,
            counts: [0; DeepCount::ALL.len()],
        }
    }

    /// The other end.
    #[must_use]
    pub fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// Whether jobs are out: then [`next`](Port::next) may have something.
    #[must_use]
    pub fn awaits(&self) -> bool {
        self.out > 0
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.book.len()
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> &[u64; DeepCount::ALL.len()] {
        &self.counts
    }

    /// Gives a request to the pool.
    ///
    /// # Errors
    ///
    /// The value, and why not.
    pub fn submit(
        &mut self,
        now_ns: u64,
        priority: Priority,
        value: T,
        fill: impl FnOnce(&mut DeepJob),
    ) -> Result<Ticket, (Refusal, T)> {
        if !self.breaker.admits(now_ns) {
            self.count(DeepCount::Refused);
            return Err((Refusal::Breaker, value));
        }
        let Some(mut job) = self.free.pop() else {
            return Err((self.full(), value));
        };
        job.deadline_ns = now_ns.saturating_add(self.patience_ns);
        job.ticket = match self.book.open(job.deadline_ns, value) {
            Ok(ticket) => ticket,
            Err(value) => {
                self.free.push(job);
                return Err((self.full(), value));
            }
        };
        job.priority = priority;
        job.fate = Fate::Open;
        fill(&mut job.request);
        if job.request.is_cut() {
            self.count(DeepCount::Cut);
        }
        let ticket = job.ticket;
        // There is room for all jobs.
        if let Err(job) = self.lanes.submit(job) {
            self.free.push(job);
        } else {
            self.out += 1;
        }
        self.breaker.submitted();
        self.count(DeepCount::Submitted);
        self.workers.ring();
        Ok(ticket)
    }

    /// A request that cannot be given to the pool for want of room.
    pub fn full(&mut self) -> Refusal {
        self.count(DeepCount::Full);
        Refusal::Full
    }

    /// Nobody waits for this request any more.
    pub fn withdraw(&mut self, ticket: Ticket) -> Option<T> {
        let value = self.book.close(ticket)?;
        self.breaker.withdrawn();
        self.count(DeepCount::Withdrawn);
        Some(value)
    }

    /// The next request whose wait is over: `made` of what was submitted with it, and of its verdict unless there is none.
    pub fn next<R>(
        &mut self,
        now_ns: u64,
        made: impl FnOnce(Ticket, T, Option<&DeepVerdict>) -> R,
    ) -> Option<R> {
        while self.out > 0
            && let Some(job) = self.lanes.answered()
        {
            self.out -= 1;
            let in_time = job.fate == Fate::Judged && now_ns < job.deadline_ns;
            let value = self.book.close(job.ticket);
            let made = match value {
                Some(value) if in_time => {
                    self.breaker.answered();
                    self.count(DeepCount::Answered);
                    if job.verdict.block {
                        self.count(DeepCount::Blocked);
                    }
                    Some(made(job.ticket, value, Some(&job.verdict)))
                }
                Some(value) => {
                    self.miss(now_ns);
                    Some(made(job.ticket, value, None))
                }
                None => {
                    if job.fate == Fate::Judged {
                        self.count(DeepCount::Late);
                    }
                    self.free.push(job);
                    continue;
                }
            };
            self.free.push(job);
            return made;
        }
        let (ticket, value) = self.book.close_due(now_ns)?;
        self.miss(now_ns);
        Some(made(ticket, value, None))
    }

    /// When the next deadline is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.book.next_deadline()
    }

    /// The caller is about to sleep; `None` if there is an answer already.
    #[must_use]
    pub fn sleeper(&self) -> Option<Sleeper<'_>> {
        let sleeper = self.lanes.bell.announce();
        (!self.lanes.has_answers()).then_some(sleeper)
    }

    /// The breaker's state, as of the last job.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Lets others know the breaker's state.
    pub fn publish(&mut self) {
        self.counts[DeepCount::Openings as usize] = self.breaker.openings();
        self.lanes.set_breaker(self.breaker.state());
    }

    fn miss(&mut self, now_ns: u64) {
        self.breaker.missed(now_ns);
        self.count(DeepCount::Missed);
    }

    fn count(&mut self, what: DeepCount) {
        self.counts[what as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: u64 = 20;

    fn port(jobs: u32) -> Port<&'static str> {
        Port::alone(jobs, PATIENCE).expect("a port")
    }

    fn take(port: &Port<&'static str>) -> Box<Job> {
        [Priority::Suspect, Priority::Ordinary]
            .into_iter()
            .find_map(|priority| port.lanes().take(priority))
            .expect("a job")
    }

    fn answer(port: &Port<&'static str>, block: bool) {
        let mut job = take(port);
        job.verdict.block = block;
        job.judged();
        port.lanes().answer(job);
    }

    fn next(port: &mut Port<&'static str>, now: u64) -> Option<(&'static str, Option<bool>)> {
        port.next(now, |_, value, verdict| {
            (value, verdict.map(|verdict| verdict.block))
        })
    }

    fn count(port: &Port<&'static str>, what: DeepCount) -> u64 {
        port.counts()[what as usize]
    }

    fn submit(
        port: &mut Port<&'static str>,
        now: u64,
        name: &'static str,
    ) -> Result<Ticket, (Refusal, &'static str)> {
        port.submit(now, Priority::Ordinary, name, |_| ())
    }

    #[test]
    fn verdicts_come_back_with_what_was_submitted() {
        let mut port = port(4);
        submit(&mut port, 0, "a").expect("room");
        submit(&mut port, 0, "b").expect("room");
        assert_eq!(next(&mut port, 1), None);
        answer(&port, false);
        answer(&port, true);
        assert_eq!(next(&mut port, 1), Some(("a", Some(false))));
        assert_eq!(next(&mut port, 1), Some(("b", Some(true))));
        assert_eq!(next(&mut port, 100), None);
        assert!(!port.awaits());
    }

    #[test]
    fn a_deadline_ends_the_wait_and_the_late_answer_is_only_counted() {
        let mut port = port(1);
        submit(&mut port, 0, "a").expect("room");
        assert_eq!(submit(&mut port, 0, "b"), Err((Refusal::Full, "b")));
        assert_eq!(next(&mut port, PATIENCE - 1), None);
        assert_eq!(next(&mut port, PATIENCE), Some(("a", None)));
        assert_eq!(
            submit(&mut port, 30, "b"),
            Err((Refusal::Full, "b")),
            "the job is still out"
        );
        answer(&port, true);
        assert_eq!(next(&mut port, 30), None);
        assert_eq!(
            (count(&port, DeepCount::Late), count(&port, DeepCount::Full)),
            (1, 2)
        );
        submit(&mut port, 30, "c").expect("the job came back");
        // Answered after the deadline, but before anybody looked.
        answer(&port, true);
        assert_eq!(next(&mut port, 50), Some(("c", None)));
        assert_eq!(
            (count(&port, DeepCount::Missed), count(&port, DeepCount::Blocked)),
            (2, 0)
        );
    }

    #[test]
    fn a_lost_job_is_a_missed_deadline_at_once() {
        let mut port = port(1);
        submit(&mut port, 0, "a").expect("room");
        let mut job = take(&port);
        job.lost();
        port.lanes().answer(job);
        assert_eq!(next(&mut port, 1), Some(("a", None)));
        assert_eq!(count(&port, DeepCount::Missed), 1);
    }

    #[test]
    fn suspects_come_first() {
        let mut port = port(3);
        submit(&mut port, 0, "a").expect("room");
        port.submit(0, Priority::Suspect, "b", |_| ()).expect("room");
        answer(&port, true);
        assert_eq!(next(&mut port, 1), Some(("b", Some(true))));
    }

    #[test]
    fn what_is_withdrawn_is_not_waited_for() {
        let mut port = port(2);
        let ticket = submit(&mut port, 0, "a").expect("room");
        assert_eq!(port.withdraw(ticket), Some("a"));
        assert_eq!(port.withdraw(ticket), None);
        assert_eq!(next(&mut port, 100), None);
        answer(&port, true);
        assert_eq!(next(&mut port, 100), None);
        assert_eq!(count(&port, DeepCount::Late), 1);
        assert!(!port.awaits());
    }

    #[test]
    fn a_pool_that_never_answers_is_not_asked_for_long() {
        let mut port = port(8);
        let (mut now, mut waited) = (0, 0);
        for _ in 0..1000 {
            match submit(&mut port, now, "x") {
                Ok(_) => {
                    now += PATIENCE;
                    assert_eq!(next(&mut port, now), Some(("x", None)));
                    waited += 1;
                    // Somebody throws the jobs back, unanswered.
                    let mut job = take(&port);
                    job.lost();
                    port.lanes().answer(job);
                    assert_eq!(next(&mut port, now), None);
                }
                Err((refusal, _)) => assert_eq!(refusal, Refusal::Breaker),
            }
        }
        assert_eq!((waited, port.breaker()), (16, BreakerState::Open));
        assert_eq!(count(&port, DeepCount::Refused), 984);
        // A second later it answers again.
        now += 1_000_000_000;
        for _ in 0..4 {
            submit(&mut port, now, "y").expect("a probe");
            answer(&port, false);
            assert_eq!(next(&mut port, now), Some(("y", Some(false))));
        }
        assert_eq!(port.breaker(), BreakerState::Closed);
        port.publish();
        assert_eq!(
            (count(&port, DeepCount::Openings), port.lanes().breaker()),
            (1, BreakerState::Closed)
        );
    }
}
