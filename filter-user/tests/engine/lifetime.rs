//! Flows end, rules change, the loop stops.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, sync::mpsc, time::Duration};

use filter_common::{FlowKey, FlowState, metadata::Metadata};
use filter_score::{Policies, Policy, RuleSet, Scorer};
use filter_user::{
    config::FailurePolicy,
    engine::{
        Command, EngineDrop, KernelMaps, Rings, SharedCounters, Worker,
        memory::{MemoryClock, MemoryFrame, MemoryMaps, MemoryRings},
    },
    flow::DropReason,
    latency::LatencyBook,
};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, BENIGN, GET},
    site::{SECOND_NS, Site, TICK_NS, config, rules},
};

const ATTACK: &[u8] = ATTACKS[0].1;

#[test]
fn an_expired_flow_gives_everything_back() {
    let mut site = Site::with(|config| config.requests = 1);
    let client = Client::v4(1);
    site.open(&client);
    site.send(client.data(0, &GET[..20]));
    site.send(client.data(30, &GET[30..40]));
    let counters = site.counters();
    assert_eq!((counters.flows, counters.held, counters.held_bytes), (1, 1, 10));
    site.advance(299 * SECOND_NS);
    assert_eq!(site.counters().flows, 1);
    site.advance(3 * SECOND_NS);
    let counters = site.counters();
    assert_eq!((counters.flows, counters.held, counters.held_bytes), (0, 0, 0));
    assert_eq!(site.stream_dropped(DropReason::Released), 1);
    assert!(
        site.worker.maps_mut().flows.is_empty(),
        "the entry in the map goes, too"
    );
    // The request's buffer is free again.
    let next = Client::v4(2);
    site.open(&next);
    site.send(next.data(0, &GET[..20]));
    site.send(next.data(20, &GET[20..]));
    assert_eq!(site.server(&next).bytes, GET);
}

#[test]
fn a_client_that_only_acknowledges_keeps_its_flow() {
    let mut site = Site::new();
    let [downloading, idle] = [1, 2].map(Client::v4);
    for client in [&downloading, &idle] {
        site.open(client);
        site.send(client.data(0, GET));
    }
    for _ in 0..3 {
        site.advance(200 * SECOND_NS);
        // What the XDP program notes while it passes acknowledgements by the engine.
        let now = site.now();
        let flows = &mut site.worker.maps_mut().flows;
        let state = flows.entry(downloading.key()).or_insert(FlowState::inspect(0));
        state.acknowledged_ns = now;
    }
    site.advance(200 * SECOND_NS);
    assert_eq!(site.counters().flows, 1);
    // The next request on it is scored in its place.
    site.send(downloading.data(GET.len(), ATTACK));
    assert_eq!(site.dropped(EngineDrop::Attack), 1);
    site.advance(12 * SECOND_NS);
    assert_eq!(site.counters().flows, 0);
}

#[test]
fn a_download_that_has_ended_expires() {
    let (mut site, client) = (Site::new(), Client::v4(1));
    site.open(&client);
    site.send(client.data(0, GET));
    site.advance(200 * SECOND_NS);
    let acknowledged_ns = site.now();
    let flows = &mut site.worker.maps_mut().flows;
    flows.insert(
        client.key(),
        FlowState {
            acknowledged_ns,
            ..FlowState::inspect(0)
        },
    );
    for (seconds, flows) in [(110, 1), (280, 1), (30, 0)] {
        site.advance(seconds * SECOND_NS);
        assert_eq!(site.counters().flows, flows, "after another {seconds} s");
    }
}

#[test]
fn each_class_has_its_timeout() {
    let mut site = Site::new();
    let [opening, closed, open] = [1, 2, 3].map(Client::v6);
    for client in [&opening, &closed, &open] {
        site.open(client);
    }
    for client in [&closed, &open] {
        site.send(client.data(0, GET));
    }
    site.send(closed.segment(GET.len(), flag::ACK | flag::FIN, b"").to_bytes());
    for (seconds, flows) in [(9, 3), (3, 2), (17, 2), (3, 1), (260, 1), (15, 0)] {
        site.advance(seconds * SECOND_NS);
        assert_eq!(site.counters().flows, flows, "after another {seconds} s");
    }
}

#[test]
fn a_block_in_the_map_outlives_the_flow() {
    let (mut site, client) = (Site::new(), Client::v4(1));
    site.open(&client);
    site.send(client.data(0, ATTACK));
    site.advance(12 * SECOND_NS);
    assert_eq!(site.counters().flows, 0);
    let state = site.worker.maps_mut().flows.get(&client.key()).copied();
    assert_eq!(state.map(|state| state.path), Some(FlowState::PATH_BLOCK));
}

/// Rules that find nothing.
fn no_rules() -> Arc<RuleSet> {
    Arc::new(RuleSet::compile(&[]).expect("no rules are rules"))
}

fn replace(site: &mut Site, rules: Arc<RuleSet>) {
    let command = Command::Policies(Arc::new(Policies::single(rules, Policy::default())));
    site.commands.send(command).expect("the loop listens");
    site.advance(TICK_NS);
}

#[test]
fn rules_are_replaced_between_requests() {
    let (mut site, client) = (Site::new(), Client::v4(1));
    site.open(&client);
    site.send(client.data(0, GET));
    replace(&mut site, no_rules());
    site.send(client.data(GET.len(), ATTACK));
    assert_eq!(site.server(&client).bytes, [GET, ATTACK].concat());
    replace(&mut site, rules());
    site.send(client.data(GET.len() + ATTACK.len(), ATTACK));
    assert_eq!(site.server(&client).bytes, [GET, ATTACK].concat());
    assert_eq!(site.counters().requests, [2, 0, 1]);
}

#[test]
fn rules_are_replaced_in_the_middle_of_requests() {
    // At many places of every request: nothing is lost, and what is not yet scored is scored by the new rules.
    for request in BENIGN.into_iter().chain(ATTACKS.map(|(_, request)| request)) {
        for at in (1..request.len()).step_by(5) {
            let (mut site, client) = (Site::new(), Client::v6(1));
            replace(&mut site, no_rules());
            site.open(&client);
            site.send(client.data(0, &request[..at]));
            replace(&mut site, rules());
            site.send(client.data(at, &request[at..]));
            // The beginning of another request tells that the parser is where it should be.
            if site.dropped(EngineDrop::Attack) == 0 {
                site.send(client.data(request.len(), GET));
                assert_eq!(site.server(&client).bytes, [request, GET].concat());
            }
        }
    }
    let (mut site, client) = (Site::new(), Client::v4(1));
    replace(&mut site, no_rules());
    site.open(&client);
    site.send(client.data(0, &ATTACK[..60]));
    replace(&mut site, rules());
    site.send(client.data(60, &ATTACK[60..]));
    assert_eq!(
        site.dropped(EngineDrop::Attack),
        1,
        "the request line ended under the new rules"
    );
}

/// Rings and maps that outlive the loop.
#[derive(Default)]
struct Kept<T>(Rc<RefCell<T>>);

impl Rings for Kept<MemoryRings> {
    type Frame = MemoryFrame;

    fn receive(&mut self, batch: &mut Vec<MemoryFrame>) -> usize {
        self.0.borrow_mut().receive(batch)
    }

    fn continues(&self, frame: &MemoryFrame) -> bool {
        self.0.borrow().continues(frame)
    }

    fn take_metadata(&mut self, frame: &MemoryFrame) -> Option<Metadata> {
        self.0.borrow_mut().take_metadata(frame)
    }

    fn allocate(&mut self, bytes: &[u8]) -> Option<MemoryFrame> {
        self.0.borrow_mut().allocate(bytes)
    }

    fn forward(&mut self, frame: MemoryFrame) {
        self.0.borrow_mut().forward(frame);
    }

    fn transmit(&mut self, frame: MemoryFrame) {
        self.0.borrow_mut().transmit(frame);
    }

    fn release(&mut self, frame: MemoryFrame) {
        self.0.borrow_mut().release(frame);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.0.borrow_mut().wait(timeout)
    }
}

impl KernelMaps for Kept<MemoryMaps> {
    fn own_flow(&mut self, key: &FlowKey) {
        self.0.borrow_mut().own_flow(key);
    }

    fn flow(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.0.borrow_mut().flow(key)
    }

    fn block_flow(&mut self, key: &FlowKey, until_ns: u64) {
        self.0.borrow_mut().block_flow(key, until_ns);
    }

    fn inspect_flow(&mut self, key: &FlowKey) {
        self.0.borrow_mut().inspect_flow(key);
    }

    fn forget_flow(&mut self, key: &FlowKey) {
        self.0.borrow_mut().forget_flow(key);
    }

    fn beat(&mut self, now_ns: u64) {
        self.0.borrow_mut().beat(now_ns);
    }

    fn consumed(&mut self, count: u64) {
        self.0.borrow_mut().consumed(count);
    }

    fn settle(&mut self) {
        self.0.borrow_mut().settle();
    }
}

#[test]
fn told_to_stop_the_loop_gives_everything_back() {
    for told in [true, false] {
        let (rings, maps) = (Kept::<MemoryRings>::default(), Kept::<MemoryMaps>::default());
        let (events, _events) = mpsc::sync_channel(16);
        let (commands, receiver) = mpsc::sync_channel(16);
        let shared = Arc::new(SharedCounters::default());
        let clock = MemoryClock::default();
        clock.set(SECOND_NS);
        let worker = Worker::new(
            config(FailurePolicy::Drop),
            Kept(Rc::clone(&rings.0)),
            Kept(Rc::clone(&maps.0)),
            clock,
            Scorer::new(rules(), Policy::default(), 16),
            Arc::clone(&shared),
            LatencyBook::new(1).1.remove(0),
            events,
            receiver,
        );
        let client = Client::v4(1);
        let frames = [
            client.syn(),
            client.data(0, &GET[..20]),
            client.data(30, &GET[30..]),
        ];
        for bytes in frames {
            rings.0.borrow_mut().push(bytes, None);
        }
        if told {
            commands.send(Command::Stop).expect("the loop listens");
        }
        // Nobody left to give commands is as good as being told.
        drop(commands);
        worker.run().expect("in-memory rings do not fail");
        let rings = rings.0.borrow();
        assert_eq!((rings.forwarded.len(), rings.released), (2, 1));
        assert_eq!(maps.0.borrow().heartbeat, 0, "the XDP program knows at once");
        assert_eq!(maps.0.borrow().consumed, 3);
        let counters = shared.read();
        assert_eq!(
            (
                counters.received,
                counters.forwarded,
                counters.held,
                counters.flows
            ),
            (3, 2, 0, 0)
        );
        assert_eq!(counters.stream_dropped[DropReason::Released as usize], 1);
    }
}

#[test]
fn counters_are_published_at_every_tick_and_the_heart_beats_at_every_turn() {
    let (mut site, client) = (Site::new(), Client::v4(1));
    site.open(&client);
    site.advance(TICK_NS);
    assert_eq!(site.shared.read().received, 1);
    site.send(client.data(0, GET));
    let now = site.now();
    assert_eq!(site.worker.maps_mut().heartbeat, now);
    site.advance(TICK_NS);
    let read = site.shared.read();
    assert_eq!(
        (read.received, read.forwarded, read.requests, read.flows),
        (2, 2, [1, 0, 0], 1)
    );
}
