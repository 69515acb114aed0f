//! What the loop has to say about the requests of one flow, and what it makes of their decisions.

use std::net::IpAddr;

use filter_common::FlowKey;
use filter_score::{Decision, Disposition, OwnedDecision, Reception, RequestHead, Verdict};

use super::{
    EngineCounters,
    reports::Reports,
    second_tier::{Asked, SecondTier, Undecided},
};
use crate::{
    client::{
        BlockedClients, ClientCount, Clients,
        header::{self, Named},
    },
    config::LimitAction,
    deep::Priority,
    flow::FlowHandle,
    limit::{
        Counts, Limit,
        window::{Counted, Rate},
    },
};

/// For as long as some bytes are fed.
pub(super) struct Desk<'a> {
    pub(super) second: &'a mut SecondTier,
    pub(super) reports: &'a mut Reports,
    pub(super) counters: &'a mut EngineCounters,
    /// Something about the flow or its source was suspicious before.
    pub(super) suspected: &'a mut bool,
    pub(super) flow: FlowKey,
    pub(super) clients: &'a Clients,
    /// Whose word the head of a request is: the flow's source, or whom a PROXY header named.
    pub(super) hop: IpAddr,
    pub(super) now: u64,
    /// The flow, if it waits for the second tier; `None` if nothing is blocked.
    pub(super) waits: Option<FlowHandle>,
    /// The segment can be held.
    pub(super) room: bool,
    pub(super) report_allowed: bool,
    pub(super) blocked: &'a BlockedClients,
    pub(super) counts: Option<&'a Counts>,
    /// The number of the flow's service.
    pub(super) service: u16,
    /// What came of it so far.
    pub(super) fed: Fed,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    pub(super) disposition: Disposition,
    /// What the second tier was asked.
    pub(super) asked: Asked,
    /// A request was decided.
    pub(super) decided: bool,
    /// The last number that a request got.
    pub(super) request_id: u64,
    /// Why a request was refused, if it was.
    pub(super) denial: Denial,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Denial {
    /// Its client is blocked.
    #[default]
    Blocked,
    /// It is beyond a limit that answers like an attack.
    Limit,
    /// It is beyond a limit, and one would be let in again after so many seconds.
    TooMany { retry_after_s: u32 },
}

impl Default for Fed {
    fn default() -> Self {
        Self {
            disposition: Disposition::Accept,
            asked: Asked::Nothing,
            decided: false,
            request_id: 0,
            denial: Denial::default(),
        }
    }
}

impl Desk<'_> {
    /// Whose request it is.
    fn client_of(&self, source: Option<IpAddr>) -> IpAddr {
        source.unwrap_or(self.hop)
    }

    /// Counts a request. What a trusted proxy does not attribute to a client is nobody's.
    fn is_within_limits(&mut self, client: IpAddr, request: &RequestHead<'_>) -> bool {
        let clients = self.clients;
        let (limits, Some(counts)) = (clients.limits.of(self.service), self.counts) else {
            return true;
        };
        if limits.is_empty() || clients.trusted.contains(client) {
            return true;
        }
        let counted_as = clients.counted_as(client);
        for limit in limits.iter().filter(|limit| limit.is_about(request)) {
            let action = match self.waits {
                Some(_) => limit.action,
                // Nothing is carried out here.
                None => LimitAction::Log,
            };
            let admitted = action == LimitAction::Log;
            let outcome = counts.count(limit.id, counted_as, limit.rate, self.now, admitted);
            self.counters.clients[ClientCount::CountEvicted as usize] += u64::from(outcome.evicted);
            if let Counted::Over { retry_ms, first } = outcome.counted
                && !self.exceeded(limit, action, retry_ms, first, client, request)
            {
                return false;
            }
        }
        true
    }

    /// What becomes of a request beyond a limit: whether it is let in. The first of a window is reported, and each offence.
    fn exceeded(
        &mut self,
        limit: &Limit,
        action: LimitAction,
        retry_ms: u64,
        first: bool,
        client: IpAddr,
        request: &RequestHead<'_>,
    ) -> bool {
        let (count, verdict) = match action {
            LimitAction::TooMany => (ClientCount::TooMany, Verdict::Suspicious),
            LimitAction::Block => (ClientCount::LimitBlocked, Verdict::Block),
            LimitAction::Log => (ClientCount::LimitLogged, Verdict::Suspicious),
        };
        self.counters.client(count);
        self.fed.denial = match action {
            LimitAction::TooMany => Denial::TooMany {
                retry_after_s: retry_ms.div_ceil(1000) as u32,
            },
            LimitAction::Block | LimitAction::Log => Denial::Limit,
        };
        self.fed.request_id = if first || verdict == Verdict::Block {
            let report = self.request(client, beyond(limit, verdict, request));
            self.reports.send(report, self.now)
        } else {
            self.reports.number()
        };
        action == LimitAction::Log
    }

    /// A request of the flow, with what is decided of it so far.
    fn request(&self, client: IpAddr, decision: OwnedDecision) -> Undecided {
        Undecided {
            waits: self.waits,
            flow: self.flow,
            client,
            decision,
            time_ns: self.now,
        }
    }

    /// Asks the second tier.
    fn undecided(&mut self, decision: &Decision<'_>, priority: Priority) {
        let request = self.request(self.client_of(decision.source), decision.to_owned());
        let (asked, left) = self.second.ask(request, decision, priority, self.room);
        self.fed.asked = asked;
        if let Some(request) = left {
            self.counters.decided_late(&request.decision);
            self.fed.request_id = self.reports.send(request, self.now);
        }
    }
}

/// The report of a request beyond a limit.
fn beyond(limit: &Limit, verdict: Verdict, request: &RequestHead<'_>) -> OwnedDecision {
    let Rate { requests, window_s } = limit.rate;
    OwnedDecision {
        decision: verdict,
        score: 0.0,
        anomaly: 0,
        categories: Vec::new(),
        rules: Vec::new(),
        model: None,
        excluded: Vec::new(),
        explanation: format!(
            "limit {}: more than {requests} requests in {window_s} s",
            limit.name
        ),
        request_line: format!(
            "{} {}",
            request.method.escape_ascii(),
            request.path.unwrap_or_default().escape_ascii()
        ),
        head: Box::default(),
        bytes: 0,
        complete: false,
    }
}

impl Reception for Desk<'_> {
    fn client(&mut self, head: &[u8]) -> Option<IpAddr> {
        let Named { client, count } =
            header::client(&self.clients.header, head, self.hop, &self.clients.trusted);
        self.counters.client(count);
        Some(client)
    }

    fn admits(&mut self, request: &RequestHead<'_>) -> bool {
        let client = self.client_of(request.source);
        // The XDP program has let the flow's own source pass.
        let behind = client != IpAddr::from(self.flow.source);
        if behind && self.blocked.contains(client, self.now) {
            self.counters.client(ClientCount::Blocked);
            self.fed.request_id = self.reports.number();
            return false;
        }
        self.is_within_limits(client, request)
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        self.fed.decided = true;
        let priority = if *self.suspected {
            Priority::Suspect
        } else {
            Priority::Ordinary
        };
        *self.suspected |= decision.verdict != Verdict::Allow;
        if decision.is_undecided() {
            return self.undecided(decision, priority);
        }
        let families = decision.counting().map(|hit| hit.rule.family);
        self.counters
            .decided(decision.verdict, families, decision.violation().is_some());
        let detected = decision.has_detected();
        self.counters.detect_only += u64::from(detected);
        self.counters.excluded += u64::from(!decision.excluded.is_empty());
        if decision.verdict != Verdict::Allow || detected || self.report_allowed {
            let owned = decision.to_owned().with_unseen(decision.unseen);
            let request = self.request(self.client_of(decision.source), owned);
            self.fed.request_id = self.reports.send(request, self.now);
        }
    }
}
