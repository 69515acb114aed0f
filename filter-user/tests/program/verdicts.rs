//! Verdicts on flows, and the policy of services.

use std::net::IpAddr;

use filter_common::{FlowState, Reason, metadata::Metadata, service::Service, settings::Settings};
use filter_user::bpf::monotonic_ns;
use xtask::lab::frame::{TAG_8021AD, TAG_8021Q, flag};

use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, raw, request, segment, syn, tcp_mut},
};

const HOUR_NS: u64 = 3_600_000_000_000;

fn on(path: u32, until_ns: u64) -> FlowState {
    FlowState {
        path,
        until_ns,
        ..FlowState::default()
    }
}

#[test]
fn a_verdict_on_the_flow_goes_before_the_service() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    let now = monotonic_ns();
    for family in Family::ALL {
        for (state, data, opening) in [
            (on(FlowState::PATH_BLOCK, 0), Reason::FlowBlock, Reason::FlowBlock),
            (
                on(FlowState::PATH_BLOCK, now + HOUR_NS),
                Reason::FlowBlock,
                Reason::FlowBlock,
            ),
            (
                on(FlowState::PATH_BLOCK, now),
                Reason::ServiceAll,
                Reason::ServiceAll,
            ),
            (
                on(FlowState::PATH_INSPECT, 0),
                Reason::FlowInspect,
                Reason::FlowInspect,
            ),
            (
                on(FlowState::PATH_PASS, 0),
                Reason::NotSuspicious,
                Reason::ServiceAll,
            ),
            (on(77, 0), Reason::ServiceAll, Reason::ServiceAll),
        ] {
            for (packet, reason) in [(request(family), data), (syn(family), opening)] {
                bed.know(family.flow(), state);
                assert_eq!(bed.receive(&packet.to_bytes()), reason, "{family:?} {state:?}");
                let after = bed.tables.flows.get(&family.flow(), 0).expect("the flow stays");
                assert_eq!(after.drops, u64::from(reason == Reason::FlowBlock));
                if reason == Reason::ServiceAll {
                    assert_eq!(after.path, FlowState::PATH_INSPECT);
                }
            }
        }
        // Of another flow, nothing is said.
        bed.know(family.flow(), on(FlowState::PATH_BLOCK, 0));
        let mut other = request(family);
        tcp_mut(&mut other).source_port += 1;
        assert_eq!(bed.receive(&other.to_bytes()), Reason::ServiceAll);
    }
}

#[test]
fn an_inspected_flow_is_entered_once_and_stamped_each_time() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        for (packet, reason) in [
            (syn(family), Reason::ServiceAll),
            (request(family), Reason::FlowInspect),
        ] {
            let redirected = bed.queue.redirected();
            let before = monotonic_ns();
            let (counted, metadata) = bed.receive_with_metadata(&packet.to_bytes());
            let after = monotonic_ns();
            assert_eq!(counted, reason);
            let Metadata {
                time_ns,
                reason: noted,
                ..
            } = metadata.expect("redirected packets are stamped");
            assert!((before..=after).contains(&time_ns));
            assert_eq!(Reason::from_number(noted.into()), Some(reason));
            assert_eq!(bed.queue.redirected(), redirected + 1);
            let state = bed
                .tables
                .flows
                .get(&family.flow(), 0)
                .expect("the flow is entered");
            let client_open = u8::from(reason == Reason::FlowInspect);
            assert_eq!(
                state,
                FlowState {
                    client_open,
                    ..FlowState::inspect(0)
                }
            );
        }
    }
}

#[test]
fn the_segment_size_of_the_server_goes_with_each_packet() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        for server_mss in [0, 1400] {
            let state = FlowState {
                server_mss,
                ..FlowState::inspect(0)
            };
            bed.know(family.flow(), state);
            let (_, metadata) = bed.receive_with_metadata(&request(family).to_bytes());
            let noted = metadata.expect("redirected packets are stamped").server_mss;
            assert_eq!(noted, server_mss);
        }
    }
}

#[test]
fn bare_acknowledgements_pass_by_the_engine_once_the_flow_is_open() {
    const ECE: u8 = 64;
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        let send = |bed: &mut Bed, flags: u8, payload: &[u8]| {
            bed.receive(&segment(family, flags, payload).to_bytes())
        };
        let acknowledged = |bed: &Bed| {
            let state = bed
                .tables
                .flows
                .get(&family.flow(), 0)
                .expect("the flow is known");
            state.acknowledged_ns
        };
        // Twice: a new connection on the same ports starts over.
        for opening in [Reason::ServiceAll, Reason::FlowInspect] {
            assert_eq!(send(&mut bed, flag::SYN, b""), opening);
            // The engine has to see the handshake's end.
            assert_eq!(send(&mut bed, flag::ACK, b""), Reason::FlowInspect);
            for flags in [flag::ACK, flag::ACK | ECE] {
                let before = monotonic_ns();
                assert_eq!(send(&mut bed, flags, b""), Reason::Acknowledgement);
                // The kernel's coarse clock is behind by up to a tick.
                assert!(acknowledged(&bed) + 20_000_000 > before);
            }
            let last = acknowledged(&bed);
            for (flags, payload) in [
                (flag::ACK, &b"x"[..]),
                (flag::ACK | flag::PSH, b"x"),
                (flag::ACK | flag::FIN, b""),
                (flag::ACK | flag::RST, b""),
                (flag::ACK | flag::URG, b""),
                (flag::ACK | flag::PSH, b""),
                (flag::RST, b""),
            ] {
                assert_eq!(send(&mut bed, flags, payload), Reason::FlowInspect, "{flags:#x}");
            }
            assert_eq!(acknowledged(&bed), last);
        }
        let redirected = bed.queue.redirected();
        assert_eq!(send(&mut bed, flag::ACK, b""), Reason::Acknowledgement);
        assert_eq!(bed.queue.redirected(), redirected, "it takes no room in the ring");

        let blocked = on(FlowState::PATH_BLOCK, 0);
        bed.know(family.flow(), blocked);
        assert_eq!(send(&mut bed, flag::ACK, b""), Reason::FlowBlock);
        bed.tables.flows.remove(&family.flow()).expect("it is there");
        assert_eq!(send(&mut bed, flag::ACK, b""), Reason::ServiceAll);
    }
}

#[test]
fn without_an_engine_acknowledgements_follow_the_failure_policy() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    let open = FlowState {
        client_open: 1,
        ..FlowState::inspect(0)
    };
    bed.know(Family::V4.flow(), open);
    let packet = segment(Family::V4, flag::ACK, b"").to_bytes();
    for (policy, absent, hung) in [
        (Settings::FAIL_DROP, Reason::CrashDrop, Reason::HangDrop),
        (Settings::FAIL_PASS, Reason::CrashPass, Reason::HangPass),
    ] {
        bed.configure(|settings| settings.on_failure = policy);
        bed.queue.set_heartbeat(0);
        assert_eq!(bed.receive(&packet), absent);
        // Their clock goes by the kernel's tick, of 10 ms at most.
        bed.queue.set_heartbeat(monotonic_ns() - 1_020_000_000);
        assert_eq!(bed.receive(&packet), hung);
        // A full ring is none of their concern.
        bed.configure(|settings| settings.credits = 0);
        bed.start_engine();
        assert_eq!(bed.receive(&packet), Reason::Acknowledgement);
    }
}

#[test]
fn passed_and_dropped_packets_carry_no_metadata() {
    let Some(mut bed) = Bed::new() else { return };
    let packet = request(Family::V4).to_bytes();
    assert_eq!(bed.receive_with_metadata(&packet), (Reason::NoService, None));
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    // The heart beats, but there is no socket: the stamp is taken back.
    bed.queue.set_heartbeat(u64::MAX / 2);
    assert_eq!(bed.receive_with_metadata(&packet), (Reason::CrashDrop, None));
}

#[test]
fn a_service_is_an_address_and_a_port() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    for family in Family::ALL {
        let to = |server: IpAddr, port: u16| {
            let mut frame = request(family);
            frame.destination = server;
            tcp_mut(&mut frame).destination_port = port;
            frame.to_bytes()
        };
        let server = family.server();
        let other: IpAddr = match family {
            Family::V4 => [10, 72, 0, 3].into(),
            Family::V6 => [0xfd72, 0, 0, 0, 0, 0, 0, 3].into(),
        };
        bed.tables.set_services(&[]).expect("services can be removed");
        assert_eq!(bed.receive(&to(server, 80)), Reason::NoService);
        bed.serve(server, 80, Service::INSPECT_ALL);
        assert_eq!(bed.receive(&to(server, 80)), Reason::ServiceAll);
        assert_eq!(bed.receive(&to(other, 80)), Reason::NoService);
        assert_eq!(bed.receive(&to(server, 81)), Reason::NoService);
        // Any address, and an exception for one.
        bed.serve(None, 8080, Service::INSPECT_ALL);
        bed.serve(server, 8080, Service::INSPECT_NONE);
        assert_eq!(bed.receive(&to(other, 8080)), Reason::ServiceAll);
        assert_eq!(bed.receive(&to(server, 8080)), Reason::ServiceNone);
        // The services go, the flow that is inspected stays.
        bed.tables.set_services(&[]).expect("services can be removed");
        assert_eq!(bed.receive(&to(other, 8080)), Reason::FlowInspect);
        assert_eq!(bed.receive(&to(server, 8080)), Reason::NoService);
    }
}

#[test]
fn what_is_not_tcp_is_of_no_service() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        let udp = [156, 64, 0, 80, 0, 9, 0, 0, 1];
        assert_eq!(bed.receive(&raw(family, 17, &udp).to_bytes()), Reason::NoService);
    }
    let mut arp = vec![0xff; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(bed.receive(&arp), Reason::NotIp);
}

#[test]
fn tagged_packets_follow_their_policy() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.serve(None, 81, Service::INSPECT_NONE);
    for family in Family::ALL {
        for (policy, reason) in [
            (Settings::VLAN_DROP, Reason::Vlan),
            (Settings::VLAN_PASS, Reason::VlanPass),
        ] {
            bed.configure(|settings| settings.vlan = policy);
            let one = request(family).tagged(TAG_8021Q, 7);
            let two = request(family).tagged(TAG_8021AD, 5).tagged(TAG_8021Q, 7);
            let three = two.clone().tagged(TAG_8021Q, 8);
            assert_eq!(bed.receive(&one.to_bytes()), reason);
            assert_eq!(bed.receive(&two.to_bytes()), reason);
            assert_eq!(bed.receive(&three.to_bytes()), Reason::VlanDepth);
            // The policy is for what would have been inspected.
            for (port, reason) in [(81, Reason::ServiceNone), (82, Reason::NoService)] {
                let mut other = two.clone();
                tcp_mut(&mut other).destination_port = port;
                assert_eq!(bed.receive(&other.to_bytes()), reason);
            }
        }
    }
}

/// The packet as its own first fragment: more are to come.
fn fragment(family: Family) -> Vec<u8> {
    match family {
        Family::V4 => {
            let mut bytes = request(family).to_bytes();
            bytes[20] = 0x20;
            bytes
        }
        Family::V6 => {
            let mut frame = request(family);
            frame.extension_headers = vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])];
            frame.to_bytes()
        }
    }
}

#[test]
fn fragments_follow_their_policy_where_a_service_is_inspected() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    for family in Family::ALL {
        let packet = fragment(family);
        assert_eq!(bed.receive(&packet), Reason::NoService);
        bed.serve(family.server(), 0, Service::INSPECT_NONE);
        assert_eq!(bed.receive(&packet), Reason::NoService);
        bed.serve(family.server(), 0, Service::INSPECT_SUSPICIOUS);
        assert_eq!(bed.receive(&packet), Reason::Fragment);
        bed.configure(|settings| settings.fragments = Settings::FRAGMENTS_PASS);
        assert_eq!(bed.receive(&packet), Reason::FragmentPass);
        bed.configure(|settings| settings.fragments = Settings::FRAGMENTS_INSPECT);
        assert_eq!(bed.receive(&packet), Reason::FragmentInspect);
        bed.configure(|settings| settings.fragments = Settings::FRAGMENTS_DROP);
        // TCP may come behind one more extension header, which only the whole packet shows.
        if family == Family::V6 {
            let mut hidden = packet.clone();
            hidden[14 + 40] = 60;
            assert_eq!(bed.receive(&hidden), Reason::Fragment);
            hidden[14 + 40] = 17;
            assert_eq!(bed.receive(&hidden), Reason::NoService);
        }
        // An atomic fragment is a whole packet.
        if family == Family::V6 {
            let mut atomic = request(family);
            atomic.extension_headers = vec![(44, vec![0; 8])];
            assert_eq!(bed.receive(&atomic.to_bytes()), Reason::NoService);
        }
    }
    // With a service on any address, every destination counts.
    bed.tables.set_services(&[]).expect("services can be removed");
    bed.serve(None, 0, Service::INSPECT_ALL);
    assert_eq!(bed.receive(&fragment(Family::V4)), Reason::Fragment);
    // A blocked source is dropped for that, fragment or not.
    bed.tables
        .block(
            crate::bed::prefix("10.71.0.0/24"),
            filter_common::block::Block::default(),
        )
        .expect("there is room");
    assert_eq!(bed.receive(&fragment(Family::V4)), Reason::BlockList);
}

#[test]
fn before_it_is_configured_everything_passes() {
    let Some(mut bed) = Bed::unconfigured() else {
        return;
    };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for family in Family::ALL {
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::NotConfigured);
        assert_eq!(
            bed.receive(&segment(family, flag::SYN | flag::FIN, b"").to_bytes()),
            Reason::NotConfigured
        );
    }
}

#[test]
fn flows_outlive_their_service() {
    let Some(mut bed) = Bed::new() else { return };
    bed.start_engine();
    for family in Family::ALL {
        bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
        let packet = request(family).to_bytes();
        assert_eq!(bed.receive(&packet), Reason::ServiceAll);
        bed.tables.set_services(&[]).expect("services can be removed");
        assert_eq!(bed.receive(&packet), Reason::FlowInspect);
        let mut other = request(family);
        tcp_mut(&mut other).source_port += 1;
        assert_eq!(bed.receive(&other.to_bytes()), Reason::NoService);
    }
}
