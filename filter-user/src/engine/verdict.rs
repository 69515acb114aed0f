//! From the next bytes of a stream to what becomes of the frame that brought them.

use std::{
    mem,
    sync::{Arc, mpsc::SyncSender},
};

use filter_common::{FlowKey, Packet};
use filter_score::{
    Asks, Disposition, Mode, OpaqueKind, Policies, Reception as _, Scorer, SecondLook, Stream as HttpStream,
    Verdict,
};

use super::{
    EngineCounters, EngineDrop,
    counters::Unscored,
    flow::{Requests, Ruling},
    greeting::Greeted,
    pace::{Pace, PaceLimits},
    reception::{Denial, Desk, Fed},
    reports::{Event, Reports},
    second_tier::{Asked, SecondTier, Undecided},
};
use crate::{
    client::{BlockedClients, Clients},
    config::FailurePolicy,
    deep::{Port, Sleeper, Ticket},
    flow::{Action, Continuity, FlowHandle, Pending},
    limit::Counts,
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
    /// It completed the head of a request with this id that is not let in.
    Denied(F, u64, Denial),
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
    pub(super) scorer: Scorer,
    pub(super) services: ServiceNumbers,
    pub(super) clients: Arc<Clients>,
    /// How often `clients` was replaced.
    knows: u32,
    blocked: Arc<BlockedClients>,
    counts: Option<Arc<Counts>>,
    second: SecondTier,
    reports: Reports,
    /// Undecided requests whose flow ended, since the last look.
    withdrawn: EngineCounters,
    on_failure: FailurePolicy,
    report_allowed: bool,
    pace: PaceLimits,
}

impl Judge {
    /// Request ids count up from `first_request_id`.
    pub(super) fn new(
        scorer: Scorer,
        events: SyncSender<Event>,
        first_request_id: u64,
        on_failure: FailurePolicy,
        report_allowed: bool,
        pace: PaceLimits,
    ) -> Self {
        Self {
            scorer,
            services: ServiceNumbers::default(),
            clients: Arc::default(),
            knows: 0,
            blocked: Arc::default(),
            counts: None,
            second: SecondTier::default(),
            reports: Reports::new(events, first_request_id),
            withdrawn: EngineCounters::default(),
            on_failure,
            report_allowed,
            pace,
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

    /// Who is trusted to speak for clients, from now on.
    pub(super) fn know(&mut self, clients: Arc<Clients>) {
        self.clients = clients;
        self.knows = self.knows.wrapping_add(1);
    }

    /// Where requests are counted for limits; without, nothing is limited.
    pub(super) fn count_in(&mut self, counts: Arc<Counts>) {
        self.counts = Some(counts);
    }

    /// Which clients are blocked, from now on.
    pub(super) fn block(&mut self, blocked: Arc<BlockedClients>) {
        self.blocked = blocked;
    }

    /// What is to be asked about the requests that follow, by who they come from.
    pub(super) fn settle(&self, requests: &mut Requests, flow: &FlowKey) {
        let peer = flow.source.into();
        let hop = requests.stream.source().unwrap_or(peer);
        let client = self.clients.reads_heads_of(hop);
        let limited = !self.clients.limits.of(requests.stream.policy()).is_empty();
        requests.knows = self.knows;
        requests.stream.set_asks(Asks {
            client,
            admission: client || hop != peer || limited,
        });
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

    /// As if the flow's client had sent nothing yet; `from_start`: what comes is the connection's first byte.
    fn set_out(&self, requests: &mut Requests, stream: HttpStream, flow: &FlowKey, from_start: bool) {
        let service = self.services.of(flow.destination, flow.destination_port);
        requests.stream = stream.from_source(flow.source.into()).under(service);
        requests.greeting = None;
        self.settle(requests, flow);
        if requests.stream.is_idle() {
            requests.greeting = self.greeting(flow, service, from_start);
        }
    }

    /// Brings the counters up to date.
    pub(super) fn refresh(&mut self, counters: &mut EngineCounters) {
        counters.cached = self.scorer.cache_hits();
        let (lines, fields) = (self.scorer.line_hits(), self.scorer.field_hits());
        counters.known = [lines.0, lines.1, fields.0, fields.1];
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
        requests.pace = Pace::default();
        if let Some(ticket) = requests.asked.take()
            && let Some(request) = self.second.withdraw(ticket)
        {
            self.withdrawn.decided_late(&request.decision);
            let time_ns = request.time_ns;
            self.reports.send(request, time_ns);
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
                waits, flow, time_ns, ..
            } = settled.request;
            let verdict = settled.request.decision.decision;
            counters.decided_late(&settled.request.decision);
            let request_id = self.reports.send(settled.request, now);
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
        if requests
            .pace
            .is_late(self.pace, pending.payload().len(), origin.now)
        {
            return Outcome::Refuse(pending.reject(), EngineDrop::SlowRequest);
        }
        let mut at = scored.unwrap_or(0);
        if requests.greeting.is_some() {
            match self.greet(pending.payload(), pending.is_last(), requests, origin, counters) {
                Greeted::More => return Outcome::Forward(pending.accept()),
                Greeted::Over(taken) => at = taken,
                Greeted::Attack(id) => return Outcome::Attack(pending.reject(), id),
            }
        }
        let disposition = loop {
            let bytes = pending.payload().get(at..).unwrap_or_default();
            let (last, room) = (pending.is_last(), pending.can_wait());
            let fed = self.feed(bytes, last, room, requests, origin, counters);
            self.note_pace(requests, fed.decided, bytes.len(), origin.now);
            at = match fed.disposition {
                Disposition::Block => return Outcome::Attack(pending.reject(), fed.request_id),
                Disposition::Refused => {
                    return Outcome::Denied(pending.reject(), fed.request_id, fed.denial);
                }
                Disposition::Undecided { taken } => at + taken,
                other => break other,
            };
            match (fed.asked, self.on_failure) {
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

    /// Where nothing is blocked, nobody is too slow either.
    pub(super) fn note_pace(&self, requests: &mut Requests, decided: bool, bytes: usize, now: u64) {
        let stream = &requests.stream;
        if self.scorer.policies().policy(stream.policy()).mode == Mode::Block {
            requests.pace.note(stream.underway(), decided, bytes, now);
        }
    }

    /// Bytes that do not follow those before begin anew.
    fn begin(&mut self, continuity: Continuity, requests: &mut Requests, flow: &FlowKey) {
        match continuity {
            Continuity::Next => {}
            Continuity::Start => {
                self.release(requests);
                self.set_out(requests, HttpStream::new(), flow, true);
            }
            Continuity::AfterGap => {
                self.release(requests);
                let at_head = mem::take(&mut requests.at_head);
                let stream = if at_head {
                    HttpStream::new()
                } else {
                    HttpStream::resuming()
                };
                self.set_out(requests, stream, flow, false);
            }
        }
    }

    /// Feeds bytes up to the next undecided request. `last`: nothing follows; `room`: their segment can be held.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        last: bool,
        room: bool,
        requests: &mut Requests,
        origin: Origin,
        counters: &mut EngineCounters,
    ) -> Fed {
        let (scorer, stream, mut desk) = self.desk(room, requests, origin, counters);
        let mut disposition = scorer.feed_through(stream, bytes, &mut desk);
        if disposition == Disposition::Accept && last {
            // A request that is cut short is judged by what there is of it.
            disposition = scorer.finish(stream, |decision| desk.decided(decision));
            if let Disposition::Undecided { taken } = &mut disposition {
                *taken = bytes.len();
            }
        }
        Fed {
            disposition,
            ..desk.fed
        }
    }

    /// The stream does not begin as it has to.
    pub(super) fn not_http(
        &mut self,
        bytes: &[u8],
        requests: &mut Requests,
        origin: Origin,
        counters: &mut EngineCounters,
    ) -> Fed {
        let (scorer, stream, mut desk) = self.desk(false, requests, origin, counters);
        let disposition = scorer.not_http(stream, bytes, |decision| desk.decided(decision));
        Fed {
            disposition,
            ..desk.fed
        }
    }

    /// What feeding some bytes of a flow takes.
    fn desk<'a>(
        &'a mut self,
        room: bool,
        requests: &'a mut Requests,
        Origin { handle, flow, now }: Origin,
        counters: &'a mut EngineCounters,
    ) -> (&'a mut Scorer, &'a mut HttpStream, Desk<'a>) {
        if requests.knows != self.knows {
            self.settle(requests, &flow);
        }
        let Requests {
            stream, suspected, ..
        } = requests;
        let enforced = self.scorer.policies().policy(stream.policy()).mode == Mode::Block;
        let waits = enforced.then_some(handle);
        let desk = Desk {
            second: &mut self.second,
            reports: &mut self.reports,
            counters,
            suspected,
            flow,
            clients: &self.clients,
            hop: stream.source().unwrap_or_else(|| flow.source.into()),
            now,
            waits,
            room: waits.is_none() || room,
            report_allowed: self.report_allowed,
            blocked: &self.blocked,
            counts: self.counts.as_deref(),
            service: stream.policy(),
            fed: Fed::default(),
        };
        (&mut self.scorer, stream, desk)
    }
}
