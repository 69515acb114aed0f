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
    Decision, Disposition, Mode, OpaqueKind, OwnedDecision, Policies, Scorer, Stream as HttpStream, Verdict,
};

use super::{EngineCounters, EngineDrop, counters::Unscored, flow::Requests};
use crate::{
    config::FailurePolicy,
    flow::{Action, Continuity, Pending},
    tuning::ServiceNumbers,
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
    /// Whether the service's decisions are carried out.
    pub enforced: bool,
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
    services: ServiceNumbers,
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
            services: ServiceNumbers::default(),
            events,
            next_request_id: first_request_id,
            on_failure,
            report_allowed,
        }
    }

    /// Which policy holds for which destination.
    pub(super) fn serve(&mut self, services: ServiceNumbers) {
        self.services = services;
    }

    /// Puts other rules and policies in force. Requests in progress keep what was found in them.
    pub(super) fn replace(&mut self, policies: Arc<Policies>) {
        self.scorer.replace_all(policies);
    }

    /// As if the flow's client had sent nothing yet.
    fn begin(&self, stream: HttpStream, flow: &FlowKey) -> HttpStream {
        stream
            .from_source(flow.source.into())
            .under(self.services.of(flow.destination, flow.destination_port))
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
                requests.stream = self.begin(HttpStream::new(), flow);
            }
            Continuity::AfterGap => {
                self.release(requests);
                let at_head = mem::take(&mut requests.at_head);
                let stream = if at_head {
                    HttpStream::new()
                } else {
                    HttpStream::resuming()
                };
                requests.stream = self.begin(stream, flow);
            }
        }
        let Self {
            scorer,
            events,
            next_request_id,
            report_allowed,
            ..
        } = self;
        let enforced = scorer.policies().policy(requests.stream.policy()).mode == Mode::Block;
        let mut last_id = 0;
        let mut on_decision = |decision: &Decision<'_>| {
            let families = decision.counting().map(|hit| hit.rule.family);
            counters.decided(decision.verdict, families, decision.violation().is_some());
            let detected = decision.has_detected();
            counters.detect_only += u64::from(detected);
            counters.excluded += u64::from(!decision.excluded.is_empty());
            if decision.verdict != Verdict::Allow || detected || *report_allowed {
                last_id = *next_request_id;
                *next_request_id += 1;
                let event = Event {
                    request_id: last_id,
                    time_ns: now,
                    flow: *flow,
                    decision: decision.to_owned(),
                    enforced,
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
