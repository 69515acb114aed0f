//! Everything that grows has a bound, and at the bound the failure policy holds.

use filter_common::FlowState;
use filter_score::Policy;
use filter_user::{
    config::FailurePolicy,
    engine::{EngineDrop, counters::Unscored},
    flow::DropReason,
};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, GET, POST},
    site::{SECOND_NS, Site, TICK_NS, config},
};

const ATTACK: &[u8] = ATTACKS[0].1;
const POLICIES: [FailurePolicy; 2] = [FailurePolicy::Pass, FailurePolicy::Drop];

fn site(on_failure: FailurePolicy, change: impl FnOnce(&mut filter_user::engine::WorkerConfig)) -> Site {
    let mut config = config(on_failure);
    change(&mut config);
    Site::configured(config, Policy::default(), 256)
}

#[test]
fn a_full_flow_table_does_as_told_and_heals() {
    for policy in POLICIES {
        let mut site = site(policy, |config| config.table.capacity = 2);
        for port in [1, 2] {
            let client = Client::v4(port);
            site.open(&client);
            site.send(client.data(0, GET));
        }
        let third = Client::v6(3);
        site.send(third.syn());
        site.send(third.segment(0, flag::ACK, b"").to_bytes());
        site.send(third.data(0, ATTACK));
        match policy {
            FailurePolicy::Pass => {
                assert_eq!(site.unscored(Unscored::TableFull), 2);
                assert_eq!(site.server(&third).bytes, ATTACK);
            }
            FailurePolicy::Drop => {
                assert_eq!(site.dropped(EngineDrop::TableFull), 2);
                assert!(site.server(&third).bytes.is_empty());
            }
        }
        assert!(site.answers.is_empty());
        // Those in the table are served as ever.
        let first = Client::v4(1);
        site.send(first.data(GET.len(), POST));
        assert_eq!(site.server(&first).bytes, [GET, POST].concat());
        // The second expires, and the third finds room.
        site.advance(200 * SECOND_NS);
        site.send(first.data(GET.len() + POST.len(), GET));
        site.advance(102 * SECOND_NS);
        assert_eq!(site.counters().flows, 1);
        let offset = site.server(&third).bytes.len();
        site.send(third.data(offset, GET));
        site.send(third.data(offset + GET.len(), ATTACK));
        assert_eq!(site.dropped(EngineDrop::Attack), 1, "{policy:?}");
    }
}

#[test]
fn a_flood_of_syns_evicts_only_its_own() {
    let mut site = Site::with(|config| config.table.capacity = 16);
    let known = Client::v4(1);
    site.open(&known);
    site.send(known.data(0, GET));
    for port in 0..1000 {
        site.observed = false;
        site.worker
            .maps_mut()
            .flows
            .insert(Client::v6(port).key(), FlowState::inspect(3));
        site.open(&Client::v6(port));
    }
    let counters = site.counters();
    assert_eq!(
        (counters.flows, counters.dropped),
        (16, [0; EngineDrop::ALL.len()])
    );
    assert_eq!(
        site.worker.maps_mut().flows.len(),
        16,
        "entries of evicted flows go, too"
    );
    site.send(known.data(GET.len(), ATTACK));
    assert_eq!(site.dropped(EngineDrop::Attack), 1);
}

#[test]
fn without_a_request_buffer_incomplete_requests_do_as_told() {
    for policy in POLICIES {
        let mut site = site(policy, |config| config.requests = 1);
        let [first, second, third] = [1, 2, 3].map(Client::v4);
        for client in [&first, &second, &third] {
            site.open(client);
        }
        site.send(first.data(0, &GET[..20]));
        site.send(second.data(0, &GET[..20]));
        match policy {
            FailurePolicy::Pass => {
                assert_eq!(site.unscored(Unscored::ScorerFull), 1);
                assert_eq!(site.server(&second).bytes, &GET[..20]);
                // The rest of that request is not scored, the next request is.
                site.send(second.data(20, &GET[20..]));
                assert_eq!(site.unscored(Unscored::Unsynced), 1);
                site.send(second.data(GET.len(), ATTACK));
                assert_eq!(site.server(&second).bytes, GET);
            }
            FailurePolicy::Drop => {
                assert_eq!(site.dropped(EngineDrop::ScorerFull), 1);
                assert_eq!(site.server(&second).reset, Some(second.seq(0)));
                let tcp = site.answers[0].tcp().expect("a reset is TCP");
                assert!(tcp.has(flag::RST) && tcp.acknowledgement == second.seq(20));
            }
        }
        // What is complete in its segment needs no buffer of its own.
        site.send(third.data(0, GET));
        site.send(third.data(GET.len(), ATTACK));
        assert_eq!(site.server(&third).bytes, GET);
        // The first has its buffer still, and gives it back at the end of its request.
        site.send(first.data(20, &GET[20..]));
        assert_eq!(site.server(&first).bytes, GET);
        let fourth = Client::v4(4);
        site.open(&fourth);
        site.send(fourth.data(0, &GET[..20]));
        assert_eq!(site.server(&fourth).bytes, &GET[..20]);
    }
}

#[test]
fn a_blocked_or_reset_flow_gives_its_request_buffer_back() {
    let mut site = Site::with(|config| config.requests = 1);
    let attack = ATTACKS[3].1;
    for port in 1..5 {
        let client = Client::v4(port);
        site.open(&client);
        site.send(client.data(0, &attack[..40]));
        site.send(client.data(40, &attack[40..]));
        assert_eq!(site.dropped(EngineDrop::Attack), u64::from(port));
    }
    assert_eq!(site.dropped(EngineDrop::ScorerFull), 0);
}

#[test]
fn a_gap_holds_no_more_than_its_bounds() {
    let mut site = Site::with(|config| {
        config.stream.held_segments = 3;
        config.stream.held_bytes = 100;
        config.held_segments = 4;
        config.held_bytes = 120;
    });
    let [first, second, third] = [1, 2, 3].map(Client::v4);
    for client in [&first, &second, &third] {
        site.open(client);
    }
    for number in 1..6 {
        site.send(first.data(10 * number, &GET[10 * number..][..10]));
    }
    assert_eq!(site.stream_dropped(DropReason::HoldSegments), 2);
    site.send(second.data(200, &[b'x'; 101]));
    assert_eq!(site.stream_dropped(DropReason::HoldBytes), 1);
    site.send(second.data(1, &GET[1..=91]));
    assert_eq!(site.stream_dropped(DropReason::HoldBudget), 1);
    site.send(second.data(1, &GET[1..=90]));
    assert_eq!((site.counters().held, site.counters().held_bytes), (4, 120));
    site.send(third.data(1, &GET[1..2]));
    assert_eq!(site.stream_dropped(DropReason::HoldBudget), 2);
    // The gaps close; what was dropped is sent again; all arrives.
    site.send(second.data(0, &GET[..1]));
    site.send(second.data(91, &GET[91..]));
    site.send(third.data(0, GET));
    site.send(first.data(0, GET));
    for client in [&first, &second, &third] {
        assert_eq!(site.server(client).bytes, GET);
    }
    assert_eq!(site.counters().held, 0);
}

#[test]
fn evidence_of_idle_flows_is_taken_back_when_their_servers_have_it() {
    for policy in POLICIES {
        // A few chunks, for many flows that each leave some bytes behind.
        let mut site = site(policy, |config| config.evidence_bytes = 4096);
        for port in 0..50 {
            let client = Client::v4(port);
            site.open(&client);
            site.send(client.data(0, GET));
            assert_eq!(site.server(&client).bytes, GET, "flow {port}");
        }
        assert_eq!(site.stream_dropped(DropReason::EvidenceFull), 0);
        // They go on, and the evidence that is left is compared.
        for port in 0..50 {
            let client = Client::v4(port);
            site.send(client.data(GET.len(), POST));
            assert_eq!(site.server(&client).bytes, [GET, POST].concat());
        }
        assert_eq!(site.counters().unscored, [0; 4]);
    }
}

#[test]
fn without_acknowledgements_full_evidence_does_as_told() {
    for policy in POLICIES {
        let mut site = site(policy, |config| config.evidence_bytes = 4096);
        site.observed = false;
        let clients: Vec<_> = (0..20).map(Client::v6).collect();
        for client in &clients {
            site.open(client);
            site.send(client.data(0, GET));
        }
        let refused = site.stream_dropped(DropReason::EvidenceFull);
        match policy {
            FailurePolicy::Pass => assert_eq!(refused, 0),
            FailurePolicy::Drop => assert!((1..20).contains(&refused), "{refused} of 20"),
        }
        // A retransmission with other bytes goes on only where told, and attacks nowhere.
        for client in &clients[..2] {
            let mut other = GET.to_vec();
            other[5] ^= 1;
            site.send(client.data(0, &other));
        }
        assert_eq!(site.stream_dropped(DropReason::RetransmissionConflict), 2);
        let last = &clients[19];
        let offset = site.server(last).bytes.len();
        site.send(last.data(offset, ATTACK));
        assert_eq!(site.server(last).bytes.len(), offset);
        site.advance(TICK_NS);
    }
}

#[test]
fn a_server_with_bytes_that_never_came_by_does_as_told() {
    for policy in POLICIES {
        let mut site = site(policy, |config| config.stream.ask_after = 0);
        let client = Client::v4(1);
        site.open(&client);
        site.send(client.data(0, GET));
        // 500 bytes went past while nobody looked.
        site.observed = false;
        let flow = site
            .worker
            .maps_mut()
            .flows
            .get_mut(&client.key())
            .expect("it is observed");
        flow.server_ack = client.seq(GET.len() + 500);
        site.servers.clear();
        site.send(client.data(GET.len() + 500, GET));
        match policy {
            FailurePolicy::Pass => {
                assert_eq!(site.server(&client).bytes, GET);
                assert_eq!(
                    site.counters().requests,
                    [2, 0, 0],
                    "picked up at the request line"
                );
            }
            FailurePolicy::Drop => {
                assert_eq!(site.stream_dropped(DropReason::UnscoredGap), 1);
                assert_eq!(site.counters().requests, [1, 0, 0]);
            }
        }
    }
}
