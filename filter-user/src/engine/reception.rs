//! What the loop has to say about the requests of one flow, and what it makes of their decisions.

use std::net::IpAddr;

use filter_common::FlowKey;
use filter_score::{Decision, Disposition, Reception, RequestHead, Verdict};

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
    deep::Priority,
    flow::FlowHandle,
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
    /// What came of it so far.
    pub(super) fed: Fed,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    pub(super) disposition: Disposition,
    /// What the second tier was asked.
    pub(super) asked: Asked,
    /// The last number that a request got.
    pub(super) request_id: u64,
}

impl Default for Fed {
    fn default() -> Self {
        Self {
            disposition: Disposition::Accept,
            asked: Asked::Nothing,
            request_id: 0,
        }
    }
}

impl Desk<'_> {
    /// Whose request it is.
    fn client_of(&self, source: Option<IpAddr>) -> IpAddr {
        source.unwrap_or(self.hop)
    }

    /// Asks the second tier.
    fn undecided(&mut self, decision: &Decision<'_>, priority: Priority) {
        let request = Undecided {
            waits: self.waits,
            flow: self.flow,
            client: self.client_of(decision.source),
            decision: decision.to_owned(),
            time_ns: self.now,
        };
        let (asked, left) = self.second.ask(request, decision, priority, self.room);
        self.fed.asked = asked;
        if let Some(request) = left {
            self.counters.decided_late(&request.decision);
            self.fed.request_id = self.reports.send(request, self.now);
        }
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
        true
    }

    fn decided(&mut self, decision: &Decision<'_>) {
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
            let request = Undecided {
                waits: self.waits,
                flow: self.flow,
                client: self.client_of(decision.source),
                decision: decision.to_owned(),
                time_ns: self.now,
            };
            self.fed.request_id = self.reports.send(request, self.now);
        }
    }
}
