//! Frames right and wrong: checksums, other protocols, stale ones, and anything at all.

use filter_common::{FlowState, Reason, metadata::Metadata};
use filter_user::{config::Service, engine::EngineDrop, tuning::ServiceNumbers};
use proptest::{prelude::*, sample::Index};
use xtask::lab::frame::{Checksum, Frame, TAG_8021Q, Transport, flag};

use crate::{
    client::Client,
    requests::{ATTACKS, BENIGN, GET},
    site::{SECOND_NS, Site, TICK_NS},
};

fn clients() -> [Client; 2] {
    [Client::v4(40_000), Client::v6(40_001)]
}

#[test]
fn a_checksum_left_to_hardware_is_completed() {
    for client in clients() {
        let mut site = Site::new();
        for frame in [
            Frame::parse(&client.syn()).expect("a frame"),
            client.segment(0, flag::ACK, GET),
        ] {
            let partial = Frame {
                checksum: Checksum::PseudoHeader,
                ..frame
            };
            // The server accepts valid ones only.
            site.send(partial.to_bytes());
        }
        assert_eq!(site.server(&client).bytes, GET);
    }
}

#[test]
fn a_bad_checksum_is_dropped_not_scored() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let attack = Frame {
            checksum: Checksum::Wrong,
            ..client.segment(0, flag::ACK, ATTACKS[0].1)
        };
        site.send(attack.to_bytes());
        assert_eq!(site.dropped(EngineDrop::BadTcpChecksum), 1);
        assert!(site.decisions().is_empty());
        site.send(client.data(0, GET));
        assert_eq!(site.server(&client).bytes, GET);
    }
    let (mut site, client) = (Site::new(), Client::v4(1));
    let mut bytes = client.data(0, GET);
    bytes[14 + 8] ^= 1;
    site.send(bytes);
    assert_eq!(site.dropped(EngineDrop::BadIpChecksum), 1);
}

#[test]
fn what_is_not_a_tcp_segment_is_dropped() {
    let mut site = Site::new();
    let mut arp = vec![0xff; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut udp = client_frame();
    udp.transport = Transport::Udp {
        source_port: 1,
        destination_port: 80,
        payload: GET.to_vec(),
    };
    let all = [
        arp,
        udp.to_bytes(),
        Vec::new(),
        vec![0; 13],
        client_frame().to_bytes()[..50].to_vec(),
    ];
    let count = all.len() as u64;
    for bytes in all {
        site.send(bytes);
    }
    assert_eq!(site.dropped(EngineDrop::NotTcp), count);
}

fn client_frame() -> Frame {
    Client::v4(1).segment(0, flag::ACK, GET)
}

#[test]
fn tags_and_padding_stay_on_a_frame() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let mut padded = client.segment(0, flag::ACK, GET).tagged(TAG_8021Q, 7).to_bytes();
        padded.extend_from_slice(&[0; 6]);
        site.push(padded.clone(), None);
        site.worker.turn().expect("in-memory rings do not fail");
        let forwarded = site.worker.rings_mut().forwarded.clone();
        assert_eq!(forwarded, [padded]);
        site.turn();
        assert_eq!(site.server(&client).bytes, GET, "padding is no payload");
    }
}

#[test]
fn what_waited_while_the_loop_stood_still_is_not_replayed() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let arrive = |site: &mut Site, age_ns: u64| {
            let metadata = Metadata {
                time_ns: site.now() - age_ns,
                magic: Metadata::MAGIC,
                reason: Reason::FlowInspect as u16,
                server_mss: 0,
            };
            site.push(client.data(0, GET), Some(metadata));
            site.turn();
        };
        arrive(&mut site, SECOND_NS + 1);
        assert_eq!(site.dropped(EngineDrop::Stale), 1);
        assert!(site.server(&client).bytes.is_empty());
        arrive(&mut site, SECOND_NS);
        assert_eq!(site.server(&client).bytes, GET);
        assert_eq!(site.dropped(EngineDrop::Stale), 1);
    }
}

/// A frame of one of a few flows, right or nearly so, or nothing of the kind.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let requests: Vec<&[u8]> = BENIGN
        .into_iter()
        .chain(ATTACKS.map(|(_, request)| request))
        .collect();
    let payload =
        (prop::sample::select(requests), any::<Index>(), any::<Index>()).prop_map(|(request, a, b)| {
            let (a, b) = (a.index(request.len()), b.index(request.len()));
            (a.min(b), request[a.min(b)..=a.max(b)].to_vec())
        });
    let flags = prop_oneof![
        6 => Just(flag::ACK),
        1 => Just(flag::SYN),
        1 => Just(flag::ACK | flag::FIN),
        1 => Just(flag::RST | flag::ACK),
        1 => any::<u8>(),
    ];
    let checksum = prop_oneof![
        8 => Just(Checksum::Valid),
        2 => Just(Checksum::PseudoHeader),
        1 => Just(Checksum::Wrong),
    ];
    let place = prop_oneof![4 => 0_usize..4, 1 => any::<u32>().prop_map(|far| far as usize)];
    let options = prop::collection::vec(any::<u8>(), 0..24);
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..2);
    let shape = (any::<bool>(), 1_u16..4, flags, checksum, place);
    let tcp = (shape, payload, options, changes).prop_map(
        |((v6, port, flags, checksum, place), (offset, payload), options, changes)| {
            let mut client = if v6 { Client::v6(port) } else { Client::v4(port) };
            client.options = options;
            let frame = Frame {
                checksum,
                ..client.segment(offset.wrapping_add(place), flags, &payload)
            };
            let mut bytes = frame.to_bytes();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes
        },
    );
    prop_oneof![8 => tcp, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The audit after every turn is what this is about; what comes out is looked at below only roughly, because
    /// made-up segments need not be a stream.
    #[test]
    fn no_frame_panics_is_lost_or_doubled(
        frames in prop::collection::vec((frame(), 0..4_u64), 1..120),
        capacity in 1_u32..6,
        pass in any::<bool>(),
        free in prop::option::of(0_usize..4),
    ) {
        let mut site = Site::with(|config| {
            config.table.capacity = capacity;
            config.requests = 2;
            config.held_segments = 6;
            config.evidence_bytes = 8192;
            if pass {
                config.on_failure = filter_user::config::FailurePolicy::Pass;
                config.stream.unverifiable = filter_user::flow::FailurePolicy::Pass;
            }
        });
        site.trusts = false;
        site.worker.rings_mut().allocatable = free;
        let count = frames.len() as u64;
        for (bytes, step) in frames {
            site.send(bytes);
            site.advance(step * step * step * SECOND_NS);
        }
        prop_assert_eq!(site.counters().received, count);
        // Left alone, everything is given back.
        for _ in 0..4 {
            site.advance(400 * SECOND_NS + TICK_NS);
        }
        let counters = site.counters();
        prop_assert_eq!((counters.flows, counters.held, counters.held_bytes), (0, 0, 0));
    }
}

#[test]
fn fragments_are_judged_as_one_packet_if_their_service_is_inspected() {
    for client in clients() {
        for (port, inspected) in [(client.key().destination_port, true), (1, false)] {
            let mut site = Site::new();
            let services = [Service {
                port,
                ..Service::http()
            }];
            site.worker = site.worker.serving(ServiceNumbers::new(&services));
            site.open(&client);
            let frame = client.segment(0, flag::ACK, ATTACKS[0].1);
            let parts = frame.fragments(&[24, 40], 7);
            for part in parts.into_iter().rev() {
                site.push_for(Reason::FragmentInspect, part);
                site.turn();
            }
            let expected: &[u8] = if inspected { b"" } else { ATTACKS[0].1 };
            assert_eq!(site.server(&client).bytes, expected);
            let counters = site.counters();
            assert_eq!(
                (counters.fragments, counters.requests[2]),
                (3, u64::from(inspected))
            );
        }
    }
}

#[test]
fn fragments_of_what_the_engine_has_not_seen_have_their_flow_inspected() {
    let mut site = Site::new();
    let client = Client::v4(40_000);
    let services = [Service {
        port: client.key().destination_port,
        ..Service::http()
    }];
    site.worker = site.worker.serving(ServiceNumbers::new(&services));
    let passing = FlowState::on(FlowState::PATH_PASS, 0);
    site.worker.maps_mut().flows.insert(client.key(), passing);
    for part in client.segment(0, flag::ACK, GET).fragments(&[24], 7) {
        site.push_for(Reason::FragmentInspect, part);
        site.turn();
    }
    assert_eq!(
        site.worker.maps_mut().flows[&client.key()].path,
        FlowState::PATH_INSPECT
    );
    // Lost ones are counted when their time is over.
    let part = client
        .segment(GET.len(), flag::ACK, GET)
        .fragments(&[24], 8)
        .swap_remove(0);
    site.push_for(Reason::FragmentInspect, part);
    site.turn();
    site.advance(31 * SECOND_NS);
    assert_eq!(site.dropped(EngineDrop::Fragment), 1);
}
