//! One tracked flow, and what the maps know of its server.

use filter_common::{FlowKey, FlowState};

use super::{KernelMaps, greeting::Greeting, pace::Pace};
use crate::deep::Ticket;
use crate::flow::{FlowTable, Replies, Reply, Seq, Stream, SynAck, TimeoutClass};

/// The entry of the flow table.
#[derive(Debug)]
pub(super) struct Flow {
    /// The client's bytes in order.
    pub(super) stream: Stream,
    /// The requests in them.
    pub(super) requests: Requests,
    /// A SYN, or a reply of the server, showed that there is a connection behind the flow.
    pub(super) confirmed: bool,
}

/// The requests of one flow.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The parser's state.
    pub(super) stream: filter_score::Stream,
    /// Which settings what is asked about them follows.
    pub(super) knows: u32,
    /// How fast they come.
    pub(super) pace: Pace,
    /// What comes before the first request, while it is not complete. Apart, as hardly any flow has one.
    pub(super) greeting: Option<Box<Greeting>>,
    /// The flow was picked up where a request begins, on the word of the XDP program's pre-screen.
    pub(super) at_head: bool,
    /// Something about the flow or its source was suspicious before.
    pub(super) suspected: bool,
    /// The request that the second tier is asked about.
    pub(super) asked: Option<Ticket>,
    /// What the second tier, or the failure policy in its place, said about the segment that was put off.
    pub(super) ruling: Option<Ruling>,
}

/// What keeps a segment that was put off from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It completed an attack, reported under this request id.
    Attack(u64),
    /// The failure policy refuses it.
    Refuse,
}

/// An idle flow may cost this much: its entry here with its share of the index, and the one in the kernel's map.
const BUDGET: usize = 512;
/// What the map takes for an entry with its key and value, by `memlock` in the fdinfo of a full one of a million
/// (`cargo xtask bench scale`).
const MAP_ENTRY: usize = 64 + size_of::<FlowKey>() + size_of::<FlowState>();
const _: () = assert!(FlowTable::<FlowKey, Flow>::bytes_per_entry() + MAP_ENTRY <= BUDGET);

impl Flow {
    pub(super) fn new(owner: u32) -> Self {
        Self {
            stream: Stream::new(owner),
            requests: Requests::default(),
            confirmed: false,
        }
    }

    /// The timeout the flow is under: what nobody has confirmed counts as half-open, so that made-up segments
    /// cannot fill the table for long.
    pub(super) fn class(&self) -> TimeoutClass {
        match self.stream.class() {
            TimeoutClass::Established if !self.confirmed => TimeoutClass::HalfOpen,
            TimeoutClass::Established if self.requests.pace.is_open() => TimeoutClass::Requesting,
            class => class,
        }
    }
}

/// The replies of one flow's server, looked up at most once for each segment.
pub(super) struct Observed<'a, M> {
    maps: &'a mut M,
    key: &'a FlowKey,
    looked: bool,
    state: Option<FlowState>,
}

impl<'a, M: KernelMaps> Observed<'a, M> {
    pub(super) fn new(maps: &'a mut M, key: &'a FlowKey) -> Self {
        Self {
            maps,
            key,
            looked: false,
            state: None,
        }
    }

    /// Whether a look-up was made and showed a server that talks.
    pub(super) fn confirmed(&self) -> bool {
        self.state
            .is_some_and(|state| state.server_flags & FlowState::SERVER_SEEN != 0)
    }

    fn state(&mut self) -> Option<FlowState> {
        if !self.looked {
            self.looked = true;
            self.state = self.maps.flow(self.key);
        }
        self.state
    }
}

impl<M: KernelMaps> Replies for Observed<'_, M> {
    fn look(&mut self) -> Option<Reply> {
        let state = self.state()?;
        let seen = |flag: u8| state.server_flags & flag != 0;
        seen(FlowState::SERVER_SEEN).then(|| Reply {
            acknowledged: Seq(state.server_ack),
            syn_ack: seen(FlowState::SERVER_OPENED).then_some(SynAck {
                seq: Seq(state.server_isn),
                acknowledged: Seq(state.server_opened),
            }),
        })
    }
}
