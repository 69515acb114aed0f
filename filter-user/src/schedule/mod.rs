//! What the engine does now and then, one after the other on one thread. Each job's last run can be seen on a board, and so can
//! that of what has a thread of its own.

mod board;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use board::{Board, JobStatus};

/// What became of a run: one line, also if it went wrong.
pub type Outcome = Result<String, String>;

/// Something to do now and then.
pub struct Job {
    /// What it is called.
    pub name: &'static str,
    /// Time from one run to the next.
    pub every: Duration,
    /// What there is to do.
    pub run: Box<dyn FnMut() -> Outcome + Send>,
}

impl Job {
    /// A job; its first run is after `every`.
    pub fn new(name: &'static str, every: Duration, run: impl FnMut() -> Outcome + Send + 'static) -> Self {
        Self {
            name,
            every,
            run: Box::new(run),
        }
    }
}

/// The running thread. It ends when dropped.
#[derive(Debug)]
pub struct Scheduler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the thread, which notes its runs on `board`.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(jobs: Vec<Job>, board: Arc<Board>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        for job in &jobs {
            board.add(job.name, job.every);
        }
        let thread = thread::Builder::new()
            .name("pc-jobs".into())
            .spawn(move || run(jobs, &board, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread of the jobs did not end in order");
        }
    }
}

fn run(jobs: Vec<Job>, board: &Board, stopped: &Receiver<()>) {
    let start = Instant::now();
    let mut jobs: Vec<_> = jobs.into_iter().map(|job| (start + job.every, job)).collect();
    loop {
        let Some((due, job)) = jobs.iter_mut().min_by_key(|(due, _)| *due) else {
            return;
        };
        let wait = due.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let began = Instant::now();
        // One job that fails does not keep the others from their work.
        let outcome = catch_unwind(AssertUnwindSafe(|| (job.run)()))
            .unwrap_or_else(|_| Err("it panicked; see the log".to_owned()));
        if let Err(error) = &outcome {
            tracing::warn!("the job `{}` failed: {error}", job.name);
        }
        board.note(job.name, began.elapsed(), outcome);
        // Runs that were missed are not made up for.
        *due = (*due + job.every).max(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn jobs_take_turns_and_one_that_fails_harms_no_other() {
        let board = Arc::new(Board::default());
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let every = Duration::from_millis(5);
        let jobs = vec![
            Job::new("good", every, move || {
                Ok(format!("run {}", counted.fetch_add(1, Ordering::Relaxed) + 1))
            }),
            Job::new("bad", every, || Err("no disk".into())),
            Job::new("worse", every, || panic!("a mistake")),
            Job::new("rare", Duration::from_hours(1), || Ok("never".into())),
        ];
        let scheduler = Scheduler::start(jobs, Arc::clone(&board)).expect("started");
        let end = Instant::now() + Duration::from_secs(20);
        while runs.load(Ordering::Relaxed) < 5 {
            assert!(Instant::now() < end, "it runs");
            thread::sleep(Duration::from_millis(1));
        }
        drop(scheduler);
        let after = runs.load(Ordering::Relaxed);
        let jobs = board.jobs();
        let names: Vec<_> = jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["good", "bad", "worse", "rare"]);
        assert_eq!(
            (jobs[0].failures, jobs[0].last_result.as_deref()),
            (0, Some(&*format!("run {after}")))
        );
        assert!(jobs[0].last_run.is_some() && jobs[0].last_duration_ms >= 0.0);
        assert!(jobs[1].failures >= 3 && jobs[1].failures == jobs[1].runs);
        assert_eq!(jobs[1].last_result.as_deref(), Some("failed: no disk"));
        assert!(jobs[2].failures >= 3, "{jobs:?}");
        assert_eq!((jobs[3].runs, &jobs[3].last_run), (0, &None));
        thread::sleep(every * 3);
        assert_eq!(runs.load(Ordering::Relaxed), after, "it has ended");
    }
}
