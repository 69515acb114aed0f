//! Flows whose packets come in by another queue than they did.

use std::sync::Arc;

use filter_common::FlowState;
use filter_user::{
    config::FailurePolicy,
    engine::{EngineDrop, Handover},
};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, GET},
    site::{SECOND_NS, Site, config},
};

const ATTACK: &[u8] = ATTACKS[0].1;

/// The hardware address of the interface that clients' frames are for, and that of another one.
const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// The loop of queue 3, which knows the flow of `client`, and the one of queue 4, by which its packets come in from now on.
fn loops(client: &Client) -> (Site, Site) {
    connected(client, &Handover::new(5, 2048).expect("eventfds"))
}

fn connected(client: &Client, handover: &Arc<Handover>) -> (Site, Site) {
    let mut owner = Site::new().among(handover.inbox(3));
    owner.open(client);
    let mut config = config(FailurePolicy::Drop);
    config.queue = 4;
    let mut other = Site::configured(config, filter_score::Policy::default(), 256).among(handover.inbox(4));
    other
        .worker
        .maps_mut()
        .flows
        .insert(client.key(), FlowState::inspect(3));
    (owner, other)
}

#[test]
fn the_thread_that_knows_a_flow_goes_on_with_it() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        let (mut owner, mut other) = loops(&client);
        let stream = [GET, ATTACK].concat();
        let cut = GET.len() + 5;
        owner.send(client.data(0, &stream[..20]));
        other.send(client.data(20, &stream[20..cut]));
        owner.turn();
        other.send(client.data(cut, &stream[cut..]));
        owner.turn();
        assert!(other.servers.is_empty() && other.decisions().is_empty());
        let decisions = owner.decisions();
        assert!(
            decisions[0].starts_with("Allow") && decisions[1].starts_with("Block"),
            "{decisions:?}"
        );
        assert_eq!(owner.server(&client).bytes, stream[..cut]);
        assert_eq!((other.counters().received, other.counters().handed_over), (0, 2));
        assert_eq!(owner.counters().received, 4);
    }
}

/// What goes on does so by the owner's device, as if it had come in by its interface; what goes back goes the way it came.
#[test]
fn a_flow_that_comes_in_by_another_interface_goes_on_by_one_and_back_by_the_other() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        let handover = Handover::between(&[OTHER, OTHER, OTHER, OTHER, NEAR], 2048).expect("eventfds");
        let (mut owner, mut other) = connected(&client, &handover);
        let came = client.data(0, GET);
        other.send(came.clone());
        owner.worker.turn().expect("in-memory rings do not fail");
        let forwarded = std::mem::take(&mut owner.worker.rings_mut().forwarded);
        assert_eq!(forwarded, [[&OTHER, &came[6..]].concat()]);

        let next = GET.len();
        other.send(client.data(next, &ATTACK[..5]));
        other.send(client.data(next + 5, &ATTACK[5..]));
        owner.worker.turn().expect("in-memory rings do not fail");
        let rings = owner.worker.rings_mut();
        assert!(rings.transmitted.is_empty(), "nothing by the owner's interface");
        assert_eq!(rings.forwarded.len(), 2, "the first part, and the reset");
        assert!(rings.forwarded.iter().all(|frame| frame.starts_with(&OTHER)));
        other.turn();
        let page: Vec<_> = other
            .answers
            .iter()
            .flat_map(|answer| {
                assert_eq!(answer.source_mac, NEAR);
                assert_eq!(answer.destination, client.source);
                answer.tcp().expect("a segment").payload.clone()
            })
            .collect();
        assert!(page.starts_with(b"HTTP/1.1 403"), "{page:?}");
        assert_eq!(other.counters().injected, other.answers.len() as u64);
        assert_eq!((owner.counters().injected, owner.counters().not_injected), (1, 0));
    }
}

#[test]
fn a_new_connection_on_the_same_ports_is_of_the_queue_it_comes_in_by() {
    let client = Client::v4(40_000);
    let (_owner, mut other) = loops(&client);
    other.open(&client);
    other.send(client.data(0, GET));
    assert_eq!(other.server(&client).bytes, GET);
    assert_eq!(other.counters().handed_over, 0);
}

#[test]
fn a_queue_that_nobody_reads_any_more_has_no_flows() {
    let client = Client::v4(40_000);
    let (_owner, mut other) = loops(&client);
    let flows = &mut other.worker.maps_mut().flows;
    flows.insert(client.key(), FlowState::inspect(9));
    other.send(client.data(0, b"...the rest of a body of which nobody knows the length"));
    assert_eq!(other.counters().handed_over, 0);
    assert_eq!(other.dropped(EngineDrop::Unsynced), 1);
}

#[test]
fn at_the_bound_packets_are_dropped_and_counted() {
    let client = Client::v4(40_000);
    let (mut owner, mut other) = loops(&client);
    for _ in 0..300 {
        other.send(client.segment(0, flag::ACK, b"").to_bytes());
    }
    assert_eq!(other.counters().handed_over, 256);
    assert_eq!(other.dropped(EngineDrop::HandoverFull), 44);
    // What waited for too long is not replayed.
    owner.advance(2 * SECOND_NS);
    assert!(owner.dropped(EngineDrop::Stale) > 0);
    while owner.dropped(EngineDrop::Stale) < 256 {
        owner.turn();
    }
    // Then there is room again.
    other.advance(2 * SECOND_NS);
    other.send(client.data(0, GET));
    owner.turn();
    assert_eq!(owner.server(&client).bytes, GET);
}
