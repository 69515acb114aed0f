//! From the next bytes of a stream to what becomes of the frame that brought them.

use std::{
    mem,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
};

use filter_common::FlowKey;
use filter_score::{
    Decision, Disposition, OpaqueKind, OwnedDecision, Policy, RuleSet, Scorer, Stream as HttpStream, Verdict,
};

use super::{EngineCounters, EngineDrop, counters::Unscored, flow::Requests};
use crate::{
    config::FailurePolicy,
    flow::{Action, Continuity, Pending},
};

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
}

/// What becomes of a frame, once its stream and the scorer have had their say.
pub(super) enum Outcome<F> {
    /// It goes on.
    Forward(F),
    /// It goes on, unscored, by the failure policy.
    ForwardUnscored(F, Unscored),
    /// It waits in the stream.
    Held,
    /// The stream dropped it.
    Drop(F),
    /// The failure policy refuses it, and with it the flow.
    Refuse(F, EngineDrop),
    /// It completed an attack, reported under this request id.
    Attack(F, u64),
}

/// Scores, counts and reports the requests of one queue.
pub(super) struct Judge {
    scorer: Scorer,
    events: SyncSender<Event>,
    next_request_id: u64,
    on_failure: FailurePolicy,
    report_allowed: bool,
}

impl Judge {
    /// Request ids count up from `first_request_id`.
    pub(super) fn new(
        scorer: Scorer,
        events: SyncSender<Event>,
        first_request_id: u64,
        on_failure: FailurePolicy,
        report_allowed: bool,
    ) -> Self {
        Self {
            scorer,
            events,
            next_request_id: first_request_id,
            on_failure,
            report_allowed,
        }
    }

    /// Puts other rules in force. Requests in progress keep what was found in them.
    pub(super) fn replace(&mut self, rules: Arc<RuleSet>, policy: Policy) {
        self.scorer.replace(rules, policy);
    }

    /// Requests that were known to be clean.
    pub(super) fn cached(&self) -> u64 {
        self.scorer.cache_hits()
    }

    /// The flow's requests are of no more interest; their buffer is free again.
    pub(super) fn release(&mut self, requests: &mut Requests) {
        self.scorer.release(&mut requests.stream);
    }

    /// What becomes of a frame that its stream has judged.
    pub(super) fn outcome<F: AsRef<[u8]>>(
        &mut self,
        action: Action<'_, F>,
        requests: &mut Requests,
        flow: &FlowKey,
        now: u64,
        counters: &mut EngineCounters,
    ) -> Outcome<F> {
        match action {
            Action::Score(pending) => self.score(pending, requests, flow, now, counters),
            Action::Forward(frame) => Outcome::Forward(frame),
            Action::Hold => Outcome::Held,
            Action::Drop(frame, _) => Outcome::Drop(frame),
        }
    }

    /// Scores the new bytes of a segment, and accepts or rejects it.
    fn score<F: AsRef<[u8]>>(
        &mut self,
        pending: Pending<'_, F>,
        requests: &mut Requests,
        flow: &FlowKey,
        now: u64,
        counters: &mut EngineCounters,
    ) -> Outcome<F> {
        match pending.continuity() {
            Continuity::Next => {}
            Continuity::Start => {
                self.release(requests);
                requests.stream = HttpStream::new();
            }
            Continuity::AfterGap => {
                self.release(requests);
                let at_head = mem::take(&mut requests.at_head);
                requests.stream = if at_head {
                    HttpStream::new()
                } else {
                    HttpStream::resuming()
                };
            }
        }
        let Self {
            scorer,
            events,
            next_request_id,
            report_allowed,
            ..
        } = self;
        let mut last_id = 0;
        let mut on_decision = |decision: &Decision<'_>| {
            let families = decision.hits.iter().map(|hit| hit.rule.family);
            counters.decided(decision.verdict, families, decision.violation().is_some());
            if decision.verdict != Verdict::Allow || *report_allowed {
                last_id = *next_request_id;
                *next_request_id += 1;
                let event = Event {
                    request_id: last_id,
                    time_ns: now,
                    flow: *flow,
                    decision: decision.to_owned(),
                };
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = events.try_send(event) {
                    counters.events_lost += 1;
                }
            }
        };
        let mut disposition = scorer.feed(&mut requests.stream, pending.payload(), &mut on_decision);
        if disposition == Disposition::Accept && pending.is_last() {
            // Nothing follows: a request that is cut short is judged by what there is of it.
            disposition = scorer.finish(&mut requests.stream, &mut on_decision);
        }
        let (unscored, refused) = match disposition {
            Disposition::Accept | Disposition::Opaque(OpaqueKind::Upgraded) => {
                return Outcome::Forward(pending.accept());
            }
            Disposition::Block => return Outcome::Attack(pending.reject(), last_id),
            Disposition::Exhausted => (Unscored::ScorerFull, EngineDrop::ScorerFull),
            Disposition::Unsynced => (Unscored::Unsynced, EngineDrop::Unsynced),
            Disposition::Opaque(_) => (Unscored::Opaque, EngineDrop::Opaque),
        };
        match self.on_failure {
            FailurePolicy::Pass => Outcome::ForwardUnscored(pending.accept(), unscored),
            FailurePolicy::Drop => Outcome::Refuse(pending.reject(), refused),
        }
    }
}
