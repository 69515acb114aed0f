//! Flows first seen in mid-stream.

use filter_common::{FlowState, Reason};
use filter_user::{
    config::FailurePolicy,
    engine::{EngineDrop, counters::Unscored},
};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, GET},
    site::{Site, config},
};

const ATTACK: &[u8] = ATTACKS[0].1;
/// The rest of a body of which the beginning was not seen.
const REST: &[u8] = b"...and so on, a body of which nobody knows the length";

fn passing() -> Site {
    Site::configured(config(FailurePolicy::Pass), filter_score::Policy::default(), 256)
}

#[test]
fn a_passed_flow_is_scored_from_the_next_request_line_on() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        let mut site = passing();
        site.send(client.data(0, REST));
        site.send(client.data(REST.len(), REST));
        assert_eq!(site.unscored(Unscored::Unsynced), 2);
        let mut offset = 2 * REST.len();
        site.send(client.data(offset, GET));
        offset += GET.len();
        assert_eq!(site.unscored(Unscored::Unsynced), 2);
        site.send(client.data(offset, ATTACK));
        assert_eq!(site.server(&client).bytes, [REST, REST, GET].concat());
        let decisions = site.decisions();
        assert_eq!(decisions.len(), 2, "{decisions:?}");
        assert!(decisions[0].starts_with("Allow") && decisions[1].starts_with("Block"));
        assert_eq!(site.server(&client).reset, Some(client.seq(offset)));
    }
}

#[test]
fn a_dropped_flow_is_cut_in_both_directions_at_once() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        for observed in [false, true] {
            let mut site = Site::new();
            let mut seq = client.acknowledgement;
            if observed {
                // The server is ahead of what the client has acknowledged.
                seq = seq.wrapping_add(5000);
                let state = FlowState {
                    server_flags: FlowState::SERVER_SEEN,
                    server_ack: client.seq(0),
                    server_next: seq,
                    ..FlowState::inspect(3)
                };
                site.worker.maps_mut().flows.insert(client.key(), state);
            }
            site.send(client.data(0, REST));
            assert_eq!(site.dropped(EngineDrop::Unsynced), 1);
            let [answer] = &site.answers[..] else {
                panic!("one reset to the client")
            };
            let tcp = answer.tcp().expect("a reset is TCP");
            assert!(tcp.has(flag::RST));
            assert_eq!((tcp.sequence, tcp.acknowledgement), (seq, client.seq(REST.len())));
            assert_eq!(site.server(&client).reset, Some(client.seq(0)));
            assert_eq!(
                site.worker.maps_mut().flows[&client.key()].path,
                FlowState::PATH_BLOCK
            );
            // The client comes back on other ports and is served.
            let again = Client {
                port: 40_001,
                ..client.clone()
            };
            site.open(&again);
            site.send(again.data(0, GET));
            assert_eq!(site.server(&again).bytes, GET);
        }
    }
}

#[test]
fn a_request_line_is_where_a_flow_can_be_picked_up() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        let mut site = Site::new();
        site.send(client.data(0, &GET[..40]));
        site.send(client.data(40, &GET[40..]));
        assert_eq!(site.server(&client).bytes, GET);
        site.send(client.data(GET.len(), ATTACK));
        assert_eq!(site.server(&client).bytes, GET);
        assert_eq!(site.counters().requests, [1, 0, 1]);
    }
}

#[test]
fn a_flow_that_changes_over_on_suspicion_begins_a_request() {
    // No usual method, and too short to tell: only the pre-screen's word says that a request begins here.
    let request = [&b"PURGE /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"[..], b"PU"];
    for (reason, accepted) in [(Reason::SuspectPrescreen, true), (Reason::FlowInspect, false)] {
        for payload in request {
            let (mut site, client) = (Site::new(), Client::v4(40_000));
            site.push_for(reason, client.data(0, payload));
            site.turn();
            assert_eq!(site.server(&client).bytes == payload, accepted, "{reason:?}");
            assert_eq!(site.dropped(EngineDrop::Unsynced), u64::from(!accepted));
        }
    }
    // The word holds for the first segment, not for what follows a gap.
    let (mut site, client) = (passing(), Client::v4(40_000));
    site.push_for(Reason::SuspectPrescreen, client.data(0, GET));
    site.turn();
    site.observed = false;
    let missed = 100;
    let flow = site
        .worker
        .maps_mut()
        .flows
        .get_mut(&client.key())
        .expect("it is observed");
    flow.server_ack = client.seq(GET.len() + missed);
    site.servers.clear();
    site.push_for(Reason::SuspectPrescreen, client.data(GET.len() + missed, REST));
    site.turn();
    assert_eq!(site.unscored(Unscored::Unsynced), 1);
}

#[test]
fn what_carries_nothing_makes_no_flow() {
    for client in [Client::v4(40_000), Client::v6(40_000)] {
        let mut site = Site::new();
        site.send(client.segment(0, flag::ACK, b"").to_bytes());
        site.send(client.segment(0, flag::RST, b"").to_bytes());
        site.send(client.segment(0, flag::RST | flag::ACK, b"").to_bytes());
        let counters = site.counters();
        assert_eq!((counters.forwarded, counters.flows), (3, 0));
        assert_eq!(counters.unscored, [0; 4]);
    }
}

#[test]
fn unconfirmed_flows_make_room_first() {
    let mut site = Site::with(|config| config.table.capacity = 8);
    site.observed = false;
    let known = Client::v4(39_999);
    site.open(&known);
    site.send(known.data(0, GET));
    // Made-up segments in the middle of connections that do not exist.
    for port in 0..100 {
        site.send(Client::v4(40_000 + port).data(0, GET));
    }
    assert_eq!(site.counters().flows, 8);
    assert_eq!(site.dropped(EngineDrop::TableFull), 0);
    site.send(known.data(GET.len(), ATTACK));
    assert_eq!(site.dropped(EngineDrop::Attack), 1, "the real one is still known");
}

#[test]
fn ports_used_again_begin_a_new_stream() {
    let (mut site, client) = (Site::new(), Client::v4(40_000));
    site.open(&client);
    site.send(client.data(0, &GET[..30]));
    // The client gives up in the middle of a request, and opens the connection anew.
    let again = Client {
        isn: 500_000,
        ..client
    };
    site.open(&again);
    site.turn();
    site.send(again.data(0, ATTACK));
    assert_eq!(site.dropped(EngineDrop::Attack), 1);
    let decisions = site.decisions();
    assert!(
        decisions.len() == 1 && decisions[0].starts_with("Block"),
        "{decisions:?}"
    );
}
