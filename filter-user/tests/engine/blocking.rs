//! What a verdict "block" does: to the packet, the flow's entry, the client and the server.

use std::sync::Arc;

use filter_common::FlowState;
use filter_score::{Exclusion, Mode, Policies, Policy, Tuning};
use filter_user::{
    config::{FailurePolicy, Respond, Service},
    engine::{Command, EngineDrop, page::Page},
    flow::DropReason,
    tuning::ServiceNumbers,
};
use xtask::lab::frame::{Checksum, Frame, Tcp, flag};

use crate::{
    client::{Client, SERVER_ISN, SERVER_PORT},
    requests::{ATTACKS, GET},
    site::{FLOW_BLOCK_NS, Site, TICK_NS, TOLD_FLOW_BLOCK_NS, config, rules},
};

const ATTACK: &[u8] = ATTACKS[0].1;
const SERVER_NEXT: u32 = SERVER_ISN.wrapping_add(1);

fn clients() -> [Client; 2] {
    [Client::v4(40_000), Client::v6(40_001)]
}

/// The TCP part of a frame that the engine sent to `client`.
fn answer<'a>(client: &Client, frame: &'a Frame) -> &'a Tcp {
    assert_eq!(
        (frame.source, frame.destination),
        (client.destination, client.source)
    );
    assert_eq!(frame.checksum, Checksum::Valid);
    let tcp = frame.tcp().expect("answers are TCP");
    assert_eq!(
        (tcp.source_port, tcp.destination_port),
        (SERVER_PORT, client.port)
    );
    tcp
}

/// The page put together from its segments, which must follow each other from `seq` on and all acknowledge `ack`.
fn page(client: &Client, answers: &[Frame], seq: u32, ack: u32) -> String {
    let mut bytes = Vec::new();
    for (number, frame) in answers.iter().enumerate() {
        let tcp = answer(client, frame);
        assert_eq!(tcp.sequence, seq.wrapping_add(bytes.len() as u32));
        assert_eq!(
            tcp.acknowledgement, ack,
            "everything up to the attack's end has arrived"
        );
        assert!(tcp.has(flag::ACK) && !tcp.has(flag::RST));
        assert_eq!(
            tcp.has(flag::FIN),
            number + 1 == answers.len(),
            "the last one ends the connection"
        );
        bytes.extend(&tcp.payload);
    }
    String::from_utf8(bytes).expect("the page is text")
}

#[test]
fn the_completing_packet_dies_the_client_gets_a_page_and_the_server_a_reset() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        site.send(client.data(0, GET));
        site.send(client.data(GET.len(), &ATTACK[..10]));
        site.send(client.data(GET.len() + 10, &ATTACK[10..]));
        let server = site.server(&client);
        assert_eq!(server.bytes, [GET, &ATTACK[..10]].concat());
        assert_eq!(
            server.reset,
            Some(client.seq(GET.len() + 10)),
            "the reset is in order"
        );
        let end = client.seq(GET.len() + ATTACK.len());
        let text = page(&client, &site.answers, SERVER_NEXT, end);
        assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        let event = site.events.try_iter().last().expect("the attack is reported");
        assert!(text.contains(&format!("X-Request-Id: {:016x}\r\n", event.request_id)));
        let now = site.now();
        let state = site.worker.maps_mut().flows[&client.key()];
        assert_eq!(state.path, FlowState::PATH_BLOCK);
        assert_eq!(state.until_ns, now + TOLD_FLOW_BLOCK_NS);
        assert_eq!(site.dropped(EngineDrop::Attack), 1);
        assert_eq!(site.counters().injected, site.answers.len() as u64 + 1);
        // Whatever comes before the map says so everywhere is dropped, without another answer.
        let answers = site.answers.len();
        site.send(client.data(GET.len() + 10, &ATTACK[10..]));
        site.send(client.data(GET.len() + ATTACK.len(), GET));
        site.send(client.segment(0, flag::ACK, b"").to_bytes());
        assert_eq!(site.stream_dropped(DropReason::Blocked), 3);
        assert_eq!(site.answers.len(), answers);
    }
}

#[test]
fn an_attack_completed_by_a_held_segment_is_acknowledged_to_its_end() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let (first, second) = ATTACK.split_at(30);
        site.send(client.data(30, second));
        assert_eq!(site.counters().held, 1);
        site.send(client.data(0, first));
        assert_eq!(site.server(&client).bytes, first);
        assert_eq!(site.server(&client).reset, Some(client.seq(30)));
        page(&client, &site.answers, SERVER_NEXT, client.seq(ATTACK.len()));
    }
}

#[test]
fn a_long_page_comes_in_segments_that_fit() {
    for client in clients() {
        let html = "<p>long</p>".repeat(500);
        let mut site = Site::with(|config| config.page = Page::new(&html));
        site.open(&client);
        site.send(client.data(0, ATTACK));
        assert!(site.answers.len() > 4);
        assert!(
            site.answers
                .iter()
                .all(|frame| frame.to_bytes().len() <= 14 + 1280)
        );
        let text = page(&client, &site.answers, SERVER_NEXT, client.seq(ATTACK.len()));
        assert!(text.ends_with(&html));
    }
}

#[test]
fn respond_says_who_gets_what() {
    for client in clients() {
        let mut site = Site::with(|config| config.respond = Respond::Reset);
        site.open(&client);
        site.send(client.data(0, ATTACK));
        let [frame] = &site.answers[..] else {
            panic!("one reset")
        };
        let tcp = answer(&client, frame);
        assert!(tcp.has(flag::RST) && tcp.payload.is_empty());
        assert_eq!(
            (tcp.sequence, tcp.acknowledgement),
            (SERVER_NEXT, client.seq(ATTACK.len()))
        );
        assert_eq!(site.server(&client).reset, Some(client.seq(0)));

        let mut site = Site::with(|config| config.respond = Respond::Drop);
        site.open(&client);
        site.send(client.data(0, ATTACK));
        assert!(site.answers.is_empty() && site.server(&client).reset.is_none());
        assert_eq!(site.counters().injected, 0);
        let until = site.now() + FLOW_BLOCK_NS;
        let state = site.worker.maps_mut().flows[&client.key()];
        assert_eq!(state.path, FlowState::PATH_BLOCK);
        assert_eq!(state.until_ns, until, "the server's connection lives on");
    }
}

#[test]
fn the_port_of_a_refused_connection_can_be_used_again() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        site.send(client.data(0, ATTACK));
        assert_eq!(site.dropped(EngineDrop::Attack), 1);
        site.advance(TOLD_FLOW_BLOCK_NS);
        assert_eq!(site.counters().flows, 0, "nothing is left of it");
        // The XDP program enters the flow anew, once its block is over.
        let anew = FlowState::inspect(0);
        site.worker.maps_mut().flows.insert(client.key(), anew);
        let again = Client {
            isn: 500_000,
            ..client
        };
        site.open(&again);
        site.turn();
        site.send(again.data(0, GET));
        assert!(site.server(&again).bytes.ends_with(GET));
        site.send(again.data(GET.len(), ATTACK));
        assert_eq!(site.dropped(EngineDrop::Attack), 2);
    }
}

#[test]
fn timestamps_are_echoed() {
    let mut client = Client::v4(40_000);
    // NOP, NOP, timestamps: value 7, echo 9. What answers is no older than anything the client can have seen.
    client.options = vec![1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
    let mut site = Site::new();
    site.open(&client);
    site.send(client.data(0, ATTACK));
    let tcp = answer(&client, &site.answers[0]);
    assert_eq!(tcp.options, [1, 1, 8, 10, 0, 16, 0, 9, 0, 0, 0, 7]);
}

#[test]
fn an_unobserved_server_is_known_by_what_the_client_acknowledges() {
    let mut client = Client::v4(40_000);
    let mut site = Site::with(|config| config.stream.unverifiable = filter_user::flow::FailurePolicy::Pass);
    site.observed = false;
    site.open(&client);
    client.acknowledgement = 777;
    site.send(client.data(0, ATTACK));
    page(&client, &site.answers, 777, client.seq(ATTACK.len()));
}

#[test]
fn without_free_frames_the_flow_is_blocked_all_the_same() {
    let client = Client::v4(40_000);
    let mut site = Site::new();
    site.open(&client);
    site.worker.rings_mut().allocatable = Some(0);
    site.send(client.data(0, ATTACK));
    let counters = site.counters();
    assert!(site.answers.is_empty() && counters.injected == 0 && counters.not_injected >= 2);
    let until = site.now() + FLOW_BLOCK_NS;
    let state = site.worker.maps_mut().flows[&client.key()];
    assert_eq!(state.path, FlowState::PATH_BLOCK);
    assert_eq!(state.until_ns, until, "the server was not told");
}

#[test]
fn detection_alone_drops_nothing() {
    let policy = Policy {
        mode: Mode::Detect,
        ..Policy::default()
    };
    let mut site = Site::configured(config(FailurePolicy::Drop), policy, 256);
    let client = Client::v6(40_000);
    site.open(&client);
    let mut offset = 0;
    for (_, attack) in ATTACKS {
        site.send(client.data(offset, attack));
        offset += attack.len();
    }
    assert_eq!(site.server(&client).bytes.len(), offset);
    assert_eq!(site.counters().requests[2], ATTACKS.len() as u64);
    assert!(site.answers.is_empty());
}

#[test]
fn a_service_and_a_source_have_a_policy_of_their_own() {
    let detecting = Tuning::from(Policy {
        mode: Mode::Detect,
        ..Policy::default()
    });
    let client = Client::v4(40_000);
    let trusting = Tuning {
        policy: Policy::default(),
        exclusions: vec![Exclusion {
            reason: "the office".to_owned(),
            sources: vec![std::net::IpAddr::from(client.key().source).into()],
            ..Exclusion::default()
        }],
        ..Tuning::default()
    };
    let general = Tuning::from(Policy::default());
    for (tuning, blocked, verdicts, excluded) in [
        (Some(detecting), false, [0, 0, 1], 0),
        (Some(trusting), false, [1, 0, 0], 1),
        (None, true, [0, 0, 1], 0),
    ] {
        let mut site = Site::new();
        let services = [Service {
            port: client.key().destination_port,
            ..Service::http()
        }];
        site.worker = site.worker.serving(ServiceNumbers::new(&services));
        let policies = Policies::compile(rules(), &general, &[tuning]).expect("right");
        site.commands
            .send(Command::Policies(Arc::new(policies)))
            .expect("the loop listens");
        site.advance(TICK_NS);
        site.open(&client);
        site.send(client.data(0, ATTACK));
        assert_eq!(site.server(&client).bytes.is_empty(), blocked);
        assert_eq!(site.counters().requests, verdicts);
        assert_eq!(site.counters().excluded, excluded);
        let enforced = site.events.try_iter().last().map(|event| event.enforced);
        assert_eq!(enforced, Some(verdicts != [0, 0, 1] || blocked));
    }
}

#[test]
fn a_full_channel_of_events_is_counted_and_blocks_nothing() {
    let mut site = Site::configured(config(FailurePolicy::Drop), Policy::default(), 2);
    for port in 0..5 {
        let client = Client::v4(40_000 + port);
        site.open(&client);
        site.send(client.data(0, ATTACK));
        assert!(site.server(&client).bytes.is_empty());
        assert!(
            !site.answers.is_empty(),
            "the client gets its page with a number on it"
        );
    }
    assert_eq!(site.counters().events_lost, 3);
    let ids: Vec<_> = site.events.try_iter().map(|event| event.request_id).collect();
    assert_eq!(ids[1], ids[0] + 1);
    // Nobody listens any more.
    let mut site = Site::configured(config(FailurePolicy::Drop), Policy::default(), 2);
    drop(std::mem::replace(&mut site.events, std::sync::mpsc::channel().1));
    let client = Client::v4(40_000);
    site.open(&client);
    site.send(client.data(0, ATTACK));
    assert_eq!(site.counters().events_lost, 1);
}
