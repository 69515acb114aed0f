//! The thread that keeps the blocks: removes those that have ended, and tells the queues which clients are blocked.
//!
//! Both may have to go over a million entries, which takes seconds: too long for any thread that is waited for.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;

use super::state::State;
use crate::{
    bpf::{Sweeper, Tables, Target},
    live::Topic,
};

/// How often the queues are told of changes, at most; and how long the thread rests between two batches of a pass.
const REST: Duration = Duration::from_millis(100);
/// How often a pass over all blocks begins, at most.
const SWEEP: Duration = Duration::from_secs(5);
/// Of blocks that have ended, so many are named to those who listen.
const TOLD: usize = 100;
/// What this is called among the jobs.
const EXPIRY: &str = "expiry";
/// Telling the queues may take one part in so many of the thread's time.
const SHARE: u32 = 5;

/// The running thread. It ends when dropped.
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(state: &Arc<State>) -> anyhow::Result<Self> {
        let sweeper = Sweeper::open(state.tables().pin_dir())?;
        let (stop, stopped) = mpsc::channel();
        let mut keeping = Keeping {
            state: Arc::clone(state),
            stopped,
            publish_at: Instant::now(),
        };
        let thread = thread::Builder::new()
            .name("pc-blocks".into())
            .spawn(move || keeping.run(&sweeper))
            .context("cannot start a thread")?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that keeps the blocks did not end in order");
        }
    }
}

struct Keeping {
    state: Arc<State>,
    stopped: Receiver<()>,
    publish_at: Instant,
}

impl Keeping {
    fn run(&mut self, sweeper: &Sweeper) {
        self.state.chronicle.board.add(EXPIRY, SWEEP);
        let mut sweep_at = Instant::now() + SWEEP;
        while self.rest(sweeper.tables()) {
            if Instant::now() < sweep_at {
                continue;
            }
            let began = Instant::now();
            let removed = self.sweep(sweeper);
            let board = &self.state.chronicle.board;
            board.note(
                EXPIRY,
                began.elapsed(),
                Ok(format!("{removed} blocks have ended")),
            );
            // Blocks are also written by hand.
            self.state.blocks_changed();
            sweep_at = Instant::now() + SWEEP;
        }
    }

    /// Does what has to be done often, and sleeps. Returns whether to go on.
    fn rest(&mut self, tables: &Tables) -> bool {
        self.state.forget_listing();
        if Instant::now() >= self.publish_at {
            let began = Instant::now();
            self.state.publish_blocks(tables);
            self.publish_at = Instant::now() + began.elapsed() * (SHARE - 1);
        }
        self.stopped.recv_timeout(REST) == Err(RecvTimeoutError::Timeout)
    }

    /// Removes what has ended, and counts what is left. Returns how many have ended.
    fn sweep(&mut self, sweeper: &Sweeper) -> u64 {
        let state = Arc::clone(&self.state);
        let changes = state.changes.load(Ordering::Relaxed);
        let mut removed = 0_u64;
        let mut told = Vec::new();
        let end = |target: Target| {
            let result = state.end_if_over(target);
            let is_gone = result.unwrap_or_else(|error| {
                tracing::debug!("an ended block stays: {error}");
                false
            });
            if is_gone {
                removed += 1;
                let net = state.net_of(target);
                state.reasons().remove(&net);
                if told.len() < TOLD {
                    told.push(net);
                }
            }
            is_gone
        };
        let left = sweeper.pass(end, || self.rest(sweeper.tables()));
        if removed > 0 {
            tracing::debug!("{removed} blocks have ended");
            let body = json!({ "action": "ended", "by": "time", "count": removed, "targets": told });
            state.chronicle.hub.tell(Topic::Blocks, &body);
        }
        if let Some(left) = left {
            state.correct_count(left, changes);
        }
        removed
    }
}
