//! The queues' threads, as the control plane knows them. They are replaced as a whole when their number changes.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{queues::QueueThreads, slots::Slot};
use crate::{
    control::{Refusal, RefusalCode},
    deep::Pool,
    engine::{Command, SharedCounters},
    latency::LatencyBook,
    ring::QueueHandle,
};

/// All queues, and what they share.
pub(super) struct QueueSet {
    pub(super) queues: Vec<Queue>,
    pub(super) latency: LatencyBook,
    /// The second tier, if there is one.
    pub(super) deep: Option<Pool>,
    /// Packets that the XDP program redirected before these threads began.
    pub(super) redirected_before: u64,
}

impl QueueSet {
    pub(super) fn new(
        threads: &QueueThreads,
        latency: LatencyBook,
        deep: Option<Pool>,
        redirected_before: u64,
    ) -> Self {
        let queues = threads.queues.iter().map(|thread| Queue {
            slot: thread.slot,
            cpu: thread.cpu,
            zero_copy: thread.zero_copy,
            counters: Arc::clone(&thread.counters),
            handle: thread.handle.clone(),
            commands: thread.commands.clone(),
        });
        Self {
            queues: queues.collect(),
            latency,
            deep,
            redirected_before,
        }
    }
}

/// What the control plane keeps of a queue.
pub(super) struct Queue {
    pub(super) slot: Slot,
    pub(super) cpu: Option<u32>,
    pub(super) zero_copy: bool,
    pub(super) counters: Arc<SharedCounters>,
    pub(super) handle: QueueHandle,
    pub(super) commands: SyncSender<Command>,
}

/// How long a thread may take to have room for another command: many reloads in a row on a busy CPU are no mistake.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

impl Queue {
    /// Tells the queue's thread something. Returns whether there was room for it.
    pub(super) fn tell(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// The same, and waits for room.
    pub(super) fn tell_for_sure(&self, mut command: Command) -> Result<(), Refusal> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.commands.try_send(command) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                TrySendError::Full(returned) if Instant::now() < deadline => command = returned,
                error => {
                    return Err(Refusal::new(
                        RefusalCode::Failed,
                        format!("queue {} takes no commands: {error}", self.slot.number),
                        "try again; `portcullis status` shows whether the queue is alive",
                    ));
                }
            }
            thread::sleep(PAUSE);
        }
    }
}
