//! What the control plane asks of the supervisor, who owns the queues' threads.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use tokio::sync::mpsc::error::TrySendError;

use super::state::State;
use crate::control::{HandedOver, Refusal, RefusalCode, Successor};

/// Orders that may wait; there is hardly ever one.
pub(super) const ORDERS: usize = 4;
/// How long an order may take: the threads stop and start again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something to do, and who waits for it.
pub(super) struct Order {
    pub(super) what: What,
    pub(super) reply: mpsc::SyncSender<Reply>,
}

/// What became of it.
pub(super) type Reply = Result<Option<HandedOver>, Refusal>;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Write down the flows for a successor, and wait.
    HandOver(Successor),
    /// Go on as before.
    TakeBack,
    /// End, and leave everything as it is.
    Retire,
    /// Change the number of queues.
    Queues(u32),
}

impl State {
    /// Has the supervisor do something. Not for its own thread.
    pub(super) fn order(&self, what: What) -> Reply {
        let (reply, answer) = mpsc::sync_channel(1);
        self.orders.try_send(Order { what, reply }).map_err(|error| {
            let why = match error {
                TrySendError::Full(_) => "others are waiting already",
                TrySendError::Closed(_) => "the engine is ending",
            };
            Refusal::new(RefusalCode::Busy, why, "try again in a moment")
        })?;
        answer.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            // The connection ends with the engine.
            RecvTimeoutError::Disconnected => Ok(None),
            RecvTimeoutError::Timeout => Err(Refusal::new(
                RefusalCode::Failed,
                "the engine does not come to it",
                "see its log",
            )),
        })
    }
}
