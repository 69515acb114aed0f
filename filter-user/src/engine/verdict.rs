//! From the next bytes of a stream to what becomes of the frame that brought them.

use std::{
    cell::Cell,
    mem,
    sync::{Arc, mpsc::SyncSender},
};

use filter_common::{FlowKey, Packet};
use filter_score::{
    Decision, Disposition, Mode, OpaqueKind, Policies, Scorer, SecondLook, Stream as HttpStream, Verdict,
};

use super::{
    EngineCounters, EngineDrop,
    counters::Unscored,
    flow::{Requests, Ruling},
    reports::{Event, Reports},
    second_tier::{Asked, SecondTier, Undecided},
};
use crate::{
    config::FailurePolicy,
    deep::{Port, Priority, Sleeper, Ticket},
    flow::{Action, Continuity, FlowHandle, Pending},
    tuning::ServiceNumbers,
};

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

/// Where bytes belong to, and when they came.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) handle: FlowHandle,
    pub(super) flow: FlowKey,
    pub(super) now: u64,
}

/// A flow that waits no longer.
pub(super) struct Ruled {
    pub(super) handle: FlowHandle,
    pub(super) flow: FlowKey,
    pub(super) ticket: Ticket,
    /// `None`: the segment that was put off goes on.
    pub(super) ruling: Option<Ruling>,
    /// When the wait began.
    pub(super) since_ns: u64,
}

/// Scores, counts and reports the requests of one queue.
pub(super) struct Judge {
    scorer: Scorer,
    services: ServiceNumbers,
    second: SecondTier,
    reports: Reports,
    /// Undecided requests whose flow ended, since the last look.
    withdrawn: EngineCounters,
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
            second: SecondTier::default(),
            reports: Reports::new(events, first_request_id),
            withdrawn: EngineCounters::default(),
            on_failure,
            report_allowed,
        }
    }

    /// Which policy holds for which destination.
    pub(super) fn serve(&mut self, services: ServiceNumbers) {
        self.services = services;
    }

    /// Whether the destination of a packet is a service that is inspected.
    pub(super) fn inspects(&self, packet: &Packet) -> bool {
        self.services
            .inspects(packet.destination, packet.destination_port)
    }

    /// Asks the second tier from now on.
    pub(super) fn connect(&mut self, port: Port<Undecided>) {
        self.second.connect(port);
    }

    /// Takes the second look itself, at once. For where nothing is blocked: a block would come of nothing.
    pub(super) fn look_at_once(&mut self, look: SecondLook) {
        self.second.look_at_once(look);
    }

    /// Puts other rules and policies in force. Requests in progress keep what was found in them.
    pub(super) fn replace(&mut self, policies: Arc<Policies>) {
        self.scorer.replace_all(policies);
    }

    /// As if the flow's client had sent nothing yet.
    fn of_flow(&self, stream: HttpStream, flow: &FlowKey) -> HttpStream {
        stream
            .from_source(flow.source.into())
            .under(self.services.of(flow.destination, flow.destination_port))
    }

    /// Brings the counters up to date.
    pub(super) fn refresh(&mut self, counters: &mut EngineCounters) {
        counters.cached = self.scorer.cache_hits();
        let baseline = self.scorer.baseline();
        counters.baseline = [baseline.profiles, baseline.mature, baseline.capacity];
        counters.events_lost = self.reports.lost();
        counters.add_decisions(&mem::take(&mut self.withdrawn));
        (counters.deep, counters.deep_waiting) = self.second.counts();
    }

    /// The flow's requests are of no more interest; their buffer is free again, and nobody waits for a verdict.
    pub(super) fn release(&mut self, requests: &mut Requests) {
        self.scorer.release(&mut requests.stream);
        requests.ruling = None;
        if let Some(ticket) = requests.asked.take()
            && let Some(request) = self.second.withdraw(ticket)
        {
            self.withdrawn.decided_late(&request.decision);
            let enforced = request.waits.is_some();
            self.reports
                .send(request.flow, request.time_ns, request.decision, enforced);
        }
    }

    /// Whether the second tier has anything of this queue's.
    pub(super) fn awaits(&self) -> bool {
        self.second.awaits()
    }

    /// When the next wait ends at the latest.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.second.next_deadline()
    }

    /// The loop is about to sleep, and wants to be woken by an answer; `None` if there is one.
    pub(super) fn sleeper(&self) -> Option<Sleeper<'_>> {
        self.second.sleeper()
    }

    /// The next flow whose wait is over.
    pub(super) fn next_ruled(&mut self, now: u64, counters: &mut EngineCounters) -> Option<Ruled> {
        loop {
            let settled = self.second.next(now)?;
            let Undecided {
                waits,
                flow,
                decision,
                time_ns,
            } = settled.request;
            let verdict = decision.decision;
            counters.decided_late(&decision);
            let request_id = self.reports.send(flow, now, decision, waits.is_some());
            let ruling = match (verdict, self.on_failure) {
                (Verdict::Block, _) => Some(Ruling::Attack(request_id)),
                (_, FailurePolicy::Drop) if !settled.in_time => Some(Ruling::Refuse),
                _ => None,
            };
            if let Some(handle) = waits {
                return Some(Ruled {
                    handle,
                    flow,
                    ticket: settled.ticket,
                    ruling,
                    since_ns: time_ns,
                });
            }
        }
    }

    /// What becomes of a frame that its stream has judged.
    pub(super) fn outcome<F: AsRef<[u8]>>(
        &mut self,
        action: Action<'_, F>,
        requests: &mut Requests,
        origin: Origin,
        counters: &mut EngineCounters,
    ) -> Outcome<F> {
        match action {
            Action::Score(pending) => self.score(pending, requests, origin, counters),
            Action::Forward(frame) => Outcome::Forward(frame),
            Action::Hold => Outcome::Held,
            Action::Drop(frame, _) => Outcome::Drop(frame),
        }
    }

    /// Scores the new bytes of a segment, and accepts it, rejects it or puts it off.
    fn score<F: AsRef<[u8]>>(
        &mut self,
        pending: Pending<'_, F>,
        requests: &mut Requests,
        origin: Origin,
        counters: &mut EngineCounters,
    ) -> Outcome<F> {
        let scored = pending.scored();
        match requests.ruling.take().filter(|_| scored.is_some()) {
            Some(Ruling::Attack(request_id)) => return Outcome::Attack(pending.reject(), request_id),
            Some(Ruling::Refuse) => return Outcome::Refuse(pending.reject(), EngineDrop::DeepDeadline),
            None => {}
        }
        if scored.is_none() {
            self.begin(pending.continuity(), requests, &origin.flow);
        }
        let mut at = scored.unwrap_or(0);
        let disposition = loop {
            let (disposition, asked, id) = self.feed(&pending, at, requests, origin, counters);
            at = match disposition {
                Disposition::Block => return Outcome::Attack(pending.reject(), id),
                Disposition::Undecided { taken } => at + taken,
                other => break other,
            };
            match (asked, self.on_failure) {
                (Asked::Yes(ticket), _) => {
                    requests.asked = Some(ticket);
                    pending.put_off(at);
                    return Outcome::Held;
                }
                (Asked::NoRoom, FailurePolicy::Drop) => {
                    return Outcome::Refuse(pending.reject(), EngineDrop::DeepFull);
                }
                (Asked::NoRoom, FailurePolicy::Pass) | (Asked::Nothing, _) => {}
            }
        };
        let (unscored, refused) = match disposition {
            Disposition::Exhausted => (Unscored::ScorerFull, EngineDrop::ScorerFull),
            Disposition::Unsynced => (Unscored::Unsynced, EngineDrop::Unsynced),
            Disposition::Opaque(kind) if kind != OpaqueKind::Upgraded => {
                (Unscored::Opaque, EngineDrop::Opaque)
            }
            _ => return Outcome::Forward(pending.accept()),
        };
        match self.on_failure {
            FailurePolicy::Pass => Outcome::ForwardUnscored(pending.accept(), unscored),
            FailurePolicy::Drop => Outcome::Refuse(pending.reject(), refused),
        }
    }

    /// Bytes that do not follow those before begin anew.
    fn begin(&mut self, continuity: Continuity, requests: &mut Requests, flow: &FlowKey) {
        match continuity {
            Continuity::Next => {}
            Continuity::Start => {
                self.release(requests);
                requests.stream = self.of_flow(HttpStream::new(), flow);
            }
            Continuity::AfterGap => {
                self.release(requests);
                let at_head = mem::take(&mut requests.at_head);
                let stream = if at_head {
                    HttpStream::new()
                } else {
                    HttpStream::resuming()
                };
                requests.stream = self.of_flow(stream, flow);
            }
        }
    }

    /// Feeds the bytes from `at` on up to the next undecided request. Returns what is to be done with them, what
    /// the second tier was asked, and the last number that a request got.
    fn feed<F: AsRef<[u8]>>(
        &mut self,
        pending: &Pending<'_, F>,
        at: usize,
        requests: &mut Requests,
        Origin { handle, flow, now }: Origin,
        counters: &mut EngineCounters,
    ) -> (Disposition, Asked, u64) {
        let Self {
            scorer,
            second,
            reports,
            report_allowed,
            ..
        } = self;
        let enforced = scorer.policies().policy(requests.stream.policy()).mode == Mode::Block;
        let waits = enforced.then_some(handle);
        let room = waits.is_none() || pending.can_wait();
        let (asked, last_id) = (Cell::new(Asked::Nothing), Cell::new(0));
        let Requests {
            stream, suspected, ..
        } = requests;
        let mut on_decision = |decision: &Decision<'_>| {
            let priority = if *suspected {
                Priority::Suspect
            } else {
                Priority::Ordinary
            };
            *suspected |= decision.verdict != Verdict::Allow;
            if decision.is_undecided() {
                let request = Undecided {
                    waits,
                    flow,
                    decision: decision.to_owned(),
                    time_ns: now,
                };
                let (answer, left) = second.ask(request, decision, priority, room);
                asked.set(answer);
                if let Some(Undecided { decision, .. }) = left {
                    counters.decided_late(&decision);
                    last_id.set(reports.send(flow, now, decision, enforced));
                }
                return;
            }
            let families = decision.counting().map(|hit| hit.rule.family);
            counters.decided(decision.verdict, families, decision.violation().is_some());
            let detected = decision.has_detected();
            counters.detect_only += u64::from(detected);
            counters.excluded += u64::from(!decision.excluded.is_empty());
            if decision.verdict != Verdict::Allow || detected || *report_allowed {
                last_id.set(reports.send(flow, now, decision.to_owned(), enforced));
            }
        };
        let bytes = pending.payload().get(at..).unwrap_or_default();
        let mut disposition = scorer.feed(stream, bytes, &mut on_decision);
        if disposition == Disposition::Accept && pending.is_last() {
            // Nothing follows: a request that is cut short is judged by what there is of it.
            disposition = scorer.finish(stream, &mut on_decision);
            if let Disposition::Undecided { taken } = &mut disposition {
                *taken = bytes.len();
            }
        }
        (disposition, asked.get(), last_id.get())
    }
}
