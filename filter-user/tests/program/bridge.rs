//! What the programs do on a bridge.

use filter_common::{FlowState, Reason, service::Service, settings::Settings};
use xtask::lab::frame::{TAG_8021AD, TAG_8021Q, flag};

use crate::{
    bed::Bed,
    egress::tcp,
    packets::{Family, SERVER_PORT, reply, request},
};

const XDP_DROP: u32 = 1;
const XDP_REDIRECT: u32 = 4;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;
/// The loopback interface: every network namespace has it, and nothing is sent in a test run.
const LOOPBACK: u32 = 1;

fn bridge(bed: &mut Bed) {
    bed.reset();
    bed.configure(|settings| {
        settings.forward = Settings::FORWARD_BRIDGE;
        settings.vlan = Settings::VLAN_INSPECT;
    });
}

fn join(bed: &mut Bed) {
    bridge(bed);
    bed.configure(|settings| settings.clients = LOOPBACK);
    bed.tables.set_bridge(LOOPBACK, LOOPBACK).expect("there is room");
}

/// A reply without an interface on the other side.
pub(crate) fn lost(bed: &mut Bed) -> Reason {
    bridge(bed);
    let (reason, action) = bed.bring_back(&reply(Family::V4, tcp(1, 2, flag::ACK, b"x")).to_bytes());
    assert_eq!(action, XDP_DROP);
    reason
}

/// A reply with one.
pub(crate) fn brought_back(bed: &mut Bed) -> Reason {
    join(bed);
    let (reason, action) = bed.bring_back(&reply(Family::V4, tcp(1, 2, flag::ACK, b"x")).to_bytes());
    assert_eq!(action, XDP_REDIRECT);
    reason
}

#[test]
fn what_passes_crosses_and_replies_are_observed() {
    let Some(mut bed) = Bed::new() else { return };
    join(&mut bed);
    bed.serve(None, SERVER_PORT, Service::INSPECT_NONE);
    for family in Family::ALL {
        let packet = request(family).to_bytes();
        assert_eq!(bed.cross(&packet), (Reason::ServiceNone, XDP_REDIRECT));
        let flow = family.flow();
        let enter = bed.tables.flows.insert(flow, FlowState::inspect(0), 0);
        enter.expect("there is room");
        bed.bring_back(&reply(family, tcp(7, 9, flag::ACK, b"x")).to_bytes());
        assert_eq!(
            bed.tables.flows.get(&flow, 0).map(|flow| flow.server_ack).ok(),
            Some(9)
        );
    }
    let (flow, packet) = (Family::V4.flow(), reply(Family::V4, tcp(7, 11, flag::ACK, b"x")));
    assert_eq!(
        bed.bring_back_from_ingress(&packet.to_bytes()),
        (Reason::Reply, TC_ACT_REDIRECT)
    );
    assert_eq!(
        bed.tables.flows.get(&flow, 0).map(|flow| flow.server_ack).ok(),
        Some(11)
    );
    // What is no IP crosses both ways.
    assert_eq!(bed.cross(&[0; 60]), (Reason::NotIp, XDP_REDIRECT));
    assert_eq!(bed.bring_back(&[0; 60]), (Reason::Reply, XDP_REDIRECT));
}

#[test]
fn without_the_other_side_nothing_reaches_the_stack() {
    let Some(mut bed) = Bed::new() else { return };
    bridge(&mut bed);
    assert_eq!(bed.cross(&[0; 60]), (Reason::NoBridge, XDP_DROP));
    assert_eq!(
        bed.bring_back_from_ingress(&[0; 60]),
        (Reason::NoBridge, TC_ACT_SHOT)
    );
}

#[test]
fn tagged_packets_are_inspected() {
    let Some(mut bed) = Bed::new() else { return };
    bridge(&mut bed);
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        let one = request(family).tagged(TAG_8021Q, 7);
        let two = request(family).tagged(TAG_8021AD, 5).tagged(TAG_8021Q, 0x2007);
        for (frame, vlan) in [(one, [0, 0, 7]), (two, [0, 0x50, 7])] {
            assert_eq!(bed.receive(&frame.to_bytes()), Reason::ServiceAll);
            let flow = family.flow().in_vlan(vlan);
            assert!(bed.tables.flows.get(&flow, 0).is_ok(), "{flow:?}");
        }
    }
}
