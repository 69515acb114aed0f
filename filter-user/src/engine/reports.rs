//! What a queue tells the control plane of its requests.

use std::sync::mpsc::{SyncSender, TrySendError};

use filter_common::FlowKey;
use filter_score::OwnedDecision;

/// A request that was not simply allowed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number on the page.
    pub request_id: u64,
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The flow.
    pub flow: FlowKey,
    /// The decision.
    pub decision: OwnedDecision,
    /// Whether the service's decisions are carried out.
    pub enforced: bool,
}

/// Sends events, and numbers them.
pub(super) struct Reports {
    events: SyncSender<Event>,
    next_request_id: u64,
    lost: u64,
}

impl Reports {
    /// Request ids count up from `first_request_id`.
    pub(super) fn new(events: SyncSender<Event>, first_request_id: u64) -> Self {
        Self {
            events,
            next_request_id: first_request_id,
            lost: 0,
        }
    }

    /// Events that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Reports a decision, which is carried out if it is `enforced`; returns the request's number.
    pub(super) fn send(
        &mut self,
        flow: FlowKey,
        time_ns: u64,
        decision: OwnedDecision,
        enforced: bool,
    ) -> u64 {
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        let event = Event {
            request_id,
            time_ns,
            flow,
            decision,
            enforced,
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.events.try_send(event) {
            self.lost += 1;
        }
        request_id
    }
}
