//! The ring thread's dealings with the second tier: which requests it is asked about, and what comes of them.

use std::net::IpAddr;

use filter_common::FlowKey;
use filter_score::{Decision, OwnedDecision, SecondLook};

use crate::{
    deep::{DeepCount, Port, Priority, Refusal, Sleeper, Ticket},
    flow::FlowHandle,
};

/// A request whose verdict is not known yet.
#[derive(Debug)]
pub struct Undecided {
    /// The flow that waits; `None` if nothing does, because nothing is blocked.
    pub(super) waits: Option<FlowHandle>,
    pub(super) flow: FlowKey,
    /// Who sent it.
    pub(super) client: IpAddr,
    /// The first tier's decision; after [`SecondTier::next`], that of both.
    pub(super) decision: OwnedDecision,
    /// When the first tier decided.
    pub(super) time_ns: u64,
}

/// What the second tier was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Asked {
    /// Nothing: the first tier's verdict stands.
    #[default]
    Nothing,
    /// It has the request.
    Yes(Ticket),
    /// It should have been asked, and there was no room: the failure policy decides.
    NoRoom,
}

/// A request whose wait is over.
pub(super) struct Settled {
    pub(super) ticket: Ticket,
    pub(super) request: Undecided,
    /// There is a verdict.
    pub(super) in_time: bool,
}

/// The queue's port to the pool, if there is one.
#[derive(Debug, Default)]
pub(super) struct SecondTier {
    port: Option<Port<Undecided>>,
    /// Instead of a pool, where time does not matter.
    look: Option<Box<SecondLook>>,
}

impl SecondTier {
    pub(super) fn connect(&mut self, port: Port<Undecided>) {
        self.port = Some(port);
    }

    pub(super) fn look_at_once(&mut self, look: SecondLook) {
        self.look = Some(Box::new(look));
    }

    /// Asks about an undecided request, which comes back if it is not given to the pool. `room`: its segment can
    /// be held.
    pub(super) fn ask(
        &mut self,
        mut request: Undecided,
        decision: &Decision<'_>,
        priority: Priority,
        room: bool,
    ) -> (Asked, Option<Undecided>) {
        if let Some(look) = &mut self.look {
            request.decision = look.decide(decision);
            return (Asked::Nothing, Some(request));
        }
        let Some(port) = &mut self.port else {
            return (Asked::Nothing, Some(request));
        };
        if !room {
            port.full();
            return (Asked::NoRoom, Some(request));
        }
        let now = request.time_ns;
        match port.submit(now, priority, request, |job| decision.copy_doubts(job)) {
            Ok(ticket) => (Asked::Yes(ticket), None),
            Err((Refusal::Breaker, request)) => (Asked::Nothing, Some(request)),
            Err((Refusal::Full, request)) => (Asked::NoRoom, Some(request)),
        }
    }

    /// The flow does not wait any more.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Undecided> {
        self.port.as_mut()?.withdraw(ticket)
    }

    /// Whether anything may come back.
    pub(super) fn awaits(&self) -> bool {
        self.port.as_ref().is_some_and(Port::awaits)
    }

    /// The next request whose wait is over.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Settled> {
        self.port.as_mut()?.next(now_ns, |ticket, mut request, verdict| {
            if let Some(verdict) = verdict {
                request.decision.settle(verdict);
            }
            Settled {
                ticket,
                request,
                in_time: verdict.is_some(),
            }
        })
    }

    /// When the next wait ends at the latest.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.port.as_ref()?.next_deadline()
    }

    /// The loop is about to sleep; `None` if it need not listen, or should not sleep.
    pub(super) fn sleeper(&self) -> Option<Sleeper<'_>> {
        self.port.as_ref()?.sleeper()
    }

    /// Counts, and how many requests wait.
    pub(super) fn counts(&mut self) -> ([u64; DeepCount::ALL.len()], u64) {
        let Some(port) = &mut self.port else {
            return Default::default();
        };
        port.publish();
        (*port.counts(), port.waiting() as u64)
    }
}
