//! What a queue tells the control plane of its requests.

use std::{
    net::IpAddr,
    sync::mpsc::{SyncSender, TrySendError},
};

use filter_common::FlowKey;
use filter_score::OwnedDecision;

use super::second_tier::Undecided;

/// A request that was not simply allowed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number on the page.
    pub request_id: u64,
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The flow.
    pub flow: FlowKey,
    /// Who sent the request: the flow's source, or who is behind it.
    pub client: IpAddr,
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

    /// A number for a request that is not reported.
    pub(super) fn number(&mut self) -> u64 {
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        request_id
    }

    /// Reports a request's decision, which is carried out if it could wait; returns the request's number.
    pub(super) fn send(&mut self, request: Undecided, time_ns: u64) -> u64 {
        let request_id = self.number();
        let event = Event {
            request_id,
            time_ns,
            flow: request.flow,
            client: request.client,
            enforced: request.waits.is_some(),
            decision: request.decision,
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.events.try_send(event) {
            self.lost += 1;
        }
        request_id
    }
}
