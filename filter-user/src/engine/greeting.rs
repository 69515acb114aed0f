//! What comes before the first request of a connection: a header of the PROXY protocol, where its service has one.

use filter_common::FlowKey;
use filter_score::Disposition;

use super::{
    EngineCounters,
    flow::Requests,
    verdict::{Judge, Origin},
};
use crate::{
    client::{
        ClientCount,
        proxy_protocol::{Header, Preface, Progress},
    },
    config::ProxyProtocol,
};

/// A header that has not ended yet.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    preface: Preface,
    /// It is a violation to have none.
    required: bool,
}

/// What the first bytes of a connection came to.
pub(super) enum Greeted {
    /// The header goes on.
    More,
    /// So many of the bytes are the header's, and requests follow.
    Over(usize),
    /// They are an attack, reported under this request id.
    Attack(u64),
}

impl Judge {
    /// What a flow's first bytes are to be; `from_start`: they are the connection's first bytes for certain.
    pub(super) fn greeting(&self, flow: &FlowKey, service: u16, from_start: bool) -> Option<Box<Greeting>> {
        let expected = self.clients.proxy_protocol(service);
        let reads = expected != ProxyProtocol::Off && (from_start || self.trusts(flow));
        reads.then(|| {
            Box::new(Greeting {
                preface: Preface::default(),
                required: from_start && expected == ProxyProtocol::Require,
            })
        })
    }

    /// Whether the word of a flow's source on its client counts.
    fn trusts(&self, flow: &FlowKey) -> bool {
        self.clients.trusted.contains(flow.source.into())
    }

    /// Reads on in the header. `last`: the stream ends with these bytes.
    pub(super) fn greet(
        &mut self,
        bytes: &[u8],
        last: bool,
        requests: &mut Requests,
        origin: Origin,
        counters: &mut EngineCounters,
    ) -> Greeted {
        let Some(mut greeting) = requests.greeting.take() else {
            return Greeted::Over(0);
        };
        let progress = match greeting.preface.take(bytes) {
            // Of a connection without a byte there is nothing to say.
            Progress::More if last && !greeting.preface.kept().is_empty() => Progress::Malformed,
            progress => progress,
        };
        let (violation, taken) = match progress {
            Progress::More => {
                requests.greeting = Some(greeting);
                return Greeted::More;
            }
            Progress::Done(taken, _) if !self.trusts(&origin.flow) => {
                (Some(ClientCount::ProxyUntrusted), taken)
            }
            Progress::Done(taken, Header::Source(source)) => {
                requests.stream.set_source(source);
                self.settle(requests, &origin.flow);
                counters.client(ClientCount::ProxyHeader);
                (None, taken)
            }
            Progress::Done(taken, Header::Own) => {
                counters.client(ClientCount::ProxyOwn);
                (None, taken)
            }
            Progress::Malformed => (Some(ClientCount::ProxyMalformed), 0),
            Progress::Absent => (greeting.required.then_some(ClientCount::ProxyMissing), 0),
        };
        if let Some(count) = violation {
            counters.client(count);
            let kept = greeting.preface.kept();
            let evidence = if kept.is_empty() { bytes } else { kept };
            let fed = self.not_http(evidence, requests, origin, counters);
            if fed.disposition == Disposition::Block {
                return Greeted::Attack(fed.request_id);
            }
        }
        if progress == Progress::Absent && !greeting.preface.kept().is_empty() {
            // Earlier segments began like a header: too few bytes for a request, but for a byte that no method has.
            let fed = self.feed(greeting.preface.kept(), false, false, requests, origin, counters);
            if fed.disposition == Disposition::Block {
                return Greeted::Attack(fed.request_id);
            }
        }
        Greeted::Over(taken)
    }
}
