//! Packets that the kernel has joined, or never cut: in one frame or in several, whole or not.

use filter_user::{
    config::FailurePolicy,
    engine::{EngineDrop, worker::Command},
};
use proptest::{prelude::*, sample::Index};
use xtask::lab::frame::{Checksum, Frame, flag};

use crate::{
    client::Client,
    requests::{ATTACKS, GET},
    site::{SECOND_NS, Site},
};

const ATTACK: &[u8] = ATTACKS[0].1;
/// As many requests as make some segments.
const MANY: usize = 60;

fn clients() -> [Client; 2] {
    [Client::v4(40_000), Client::v6(40_001)]
}

/// A joined packet in frames of so many bytes.
fn parts(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}

#[test]
fn a_joined_packet_goes_on_in_segments() {
    for client in clients() {
        for checksum in [Checksum::Valid, Checksum::PseudoHeader] {
            for size in [100, 1792, 3840, 100_000] {
                let mut site = Site::new();
                site.server_mss = 1400;
                site.open(&client);
                let requests = GET.repeat(MANY);
                let joined = Frame {
                    checksum,
                    ..client.segment(0, flag::ACK | flag::PSH, &requests)
                };
                site.push_parts(&parts(&joined.to_bytes(), size));
                // More parts than come at once.
                for _ in 0..=joined.to_bytes().len() / size / 64 {
                    site.turn();
                }
                assert_eq!(site.server(&client).bytes, requests, "{checksum:?} {size}");
                assert_eq!(site.decisions().len(), MANY);
                let counters = site.counters();
                let segments = requests.len().div_ceil(1400) as u64;
                assert_eq!((counters.joined, counters.received), (1, 1 + segments));
            }
        }
    }
}

#[test]
fn parts_may_come_in_different_rounds() {
    for client in clients() {
        for first in [1, 63, 64, 65, 127] {
            let mut site = Site::new();
            site.open(&client);
            let requests = GET.repeat(MANY);
            let bytes = client.data(0, &requests);
            let parts = parts(&bytes, bytes.len() / 130);
            // Frames of other packets before it shift where a round ends.
            for _ in 0..first {
                site.push_for(filter_common::Reason::FlowInspect, Vec::new());
            }
            site.push_parts(&parts);
            site.push_for(
                filter_common::Reason::FlowInspect,
                client.data(requests.len(), ATTACK),
            );
            for _ in 0..5 {
                site.turn();
            }
            assert_eq!(site.server(&client).bytes, requests);
            assert_eq!(site.dropped(EngineDrop::NotTcp), first);
            assert_eq!(site.dropped(EngineDrop::Attack), 1);
        }
    }
}

#[test]
fn an_attack_in_a_joined_packet_is_blocked_and_what_follows_it_is_dropped() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let (before, after) = (GET.repeat(MANY / 2), GET.repeat(MANY));
        let bytes = client.data(0, &[&before, ATTACK, &after].concat());
        site.push_parts(&parts(&bytes, 1792));
        site.turn();
        assert_eq!(site.dropped(EngineDrop::Attack), 1);
        let got = site.server(&client).bytes.len();
        assert!(got < before.len() + ATTACK.len(), "the server saw {got} bytes");
        assert!(site.server(&client).reset.is_some());
        let answers: Vec<_> = site.answers.iter().filter_map(Frame::tcp).collect();
        assert!(answers.iter().any(|tcp| tcp.payload.starts_with(b"HTTP/1.1 403")));
    }
}

#[test]
fn a_segment_larger_than_the_server_takes_is_cut_even_below_the_mtu() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        site.server_mss = 100;
        let joined = [GET, GET].concat();
        site.send(client.data(0, &joined));
        assert_eq!(site.server(&client).bytes, joined);
        assert_eq!(site.counters().joined, 1);
        site.server_mss = 1460;
        site.send(client.data(joined.len(), &joined));
        assert_eq!(site.counters().joined, 1, "this one goes on as it came");
    }
}

#[test]
fn what_cannot_be_put_together_or_cut_is_counted_and_leaves_nothing() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        // More than any packet.
        site.push_parts(&[&[7; 1792][..]; 40]);
        site.push_parts(&[&[7; 1792][..]; 3]);
        let bad = Frame {
            checksum: Checksum::Wrong,
            ..client.segment(0, flag::ACK, &ATTACK.repeat(20))
        };
        site.push_parts(&parts(&bad.to_bytes(), 1792));
        let syn = client.segment(0, flag::SYN, &ATTACK.repeat(30));
        site.push_parts(&parts(&syn.to_bytes(), 1792));
        // The end of the packet is missing.
        let whole = client.data(0, &ATTACK.repeat(30));
        site.push_parts(&parts(&whole[..2000], 1792));
        site.turn();
        for (reason, count) in [
            (EngineDrop::TooLarge, 1),
            (EngineDrop::NotTcp, 2),
            (EngineDrop::BadTcpChecksum, 1),
            (EngineDrop::NotCuttable, 1),
        ] {
            assert_eq!(site.dropped(reason), count, "{reason:?}");
        }
        assert!(site.decisions().is_empty() && site.server(&client).bytes.is_empty());
        assert_eq!(site.counters().joined, 5);
        site.send(client.data(0, GET));
        assert_eq!(site.server(&client).bytes, GET);
    }
}

#[test]
fn without_free_frames_segments_are_dropped_and_come_again() {
    for client in clients() {
        let mut site = Site::new();
        site.open(&client);
        let requests = GET.repeat(MANY);
        site.worker.rings_mut().allocatable = Some(2);
        site.server_mss = 1000;
        let bytes = client.data(0, &requests);
        site.push_parts(&parts(&bytes, 1792));
        site.turn();
        assert_eq!(site.server(&client).bytes, requests[..2000]);
        let missing = (requests.len() - 2000).div_ceil(1000) as u64;
        assert_eq!(site.dropped(EngineDrop::NoFrame), missing);
        site.worker.rings_mut().allocatable = None;
        site.push_parts(&parts(&client.data(2000, &requests[2000..]), 1792));
        site.turn();
        assert_eq!(site.server(&client).bytes, requests);
    }
}

#[test]
fn a_joined_packet_that_waited_too_long_is_not_replayed() {
    let (mut site, client) = (Site::new(), Client::v6(1));
    site.open(&client);
    let bytes = client.data(0, &GET.repeat(MANY));
    site.push_parts(&parts(&bytes, 1792));
    site.advance(2 * SECOND_NS);
    assert_eq!(site.dropped(EngineDrop::Stale), 1);
    assert!(site.server(&client).bytes.is_empty());
}

#[test]
fn a_loop_that_ends_between_two_parts_keeps_nothing() {
    let (mut site, client) = (Site::new(), Client::v4(1));
    site.open(&client);
    let bytes = client.data(0, &GET.repeat(MANY));
    // Half of it is read, as a round takes 64 frames.
    site.push_parts(&parts(&bytes, bytes.len() / 100));
    site.turn();
    site.commands.send(Command::Stop).expect("the loop listens");
    let counters = site.counters();
    assert_eq!((counters.joined, counters.held), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// However streams are joined and spread over frames, and however few there are: the audit after every turn holds,
    /// and what servers get is what was sent.
    #[test]
    fn no_part_is_lost_or_doubled(
        packets in prop::collection::vec((0..2_usize, any::<Index>(), 20..4000_usize), 1..30),
        mss in prop_oneof![Just(0_u16), 100..2000_u16],
        free in prop::option::of(0..100_usize),
        changed in prop::option::of((any::<Index>(), any::<Index>())),
        pass in any::<bool>(),
    ) {
        let mut site = Site::with(|config| {
            if pass {
                config.on_failure = FailurePolicy::Pass;
            }
        });
        site.server_mss = mss;
        let clients = clients();
        for client in &clients {
            site.open(client);
        }
        site.worker.rings_mut().allocatable = free;
        let requests = GET.repeat(200);
        let mut sent = [0; 2];
        let damaged = changed.map(|(at, _)| at.index(packets.len()));
        for (number, (who, length, size)) in packets.iter().enumerate() {
            let client = &clients[*who];
            let left = &requests[sent[*who]..];
            let length = length.index(left.len() + 1);
            let mut bytes = client.data(sent[*who], &left[..length]);
            if damaged == Some(number) && let Some((_, at)) = changed {
                let at = at.index(bytes.len());
                bytes[at] ^= 1;
            } else if free.is_none() && damaged.is_none() {
                sent[*who] += length;
            }
            site.push_parts(&parts(&bytes, *size));
            site.turn();
        }
        for _ in 0..40 {
            site.turn();
        }
        for (client, sent) in clients.iter().zip(sent) {
            if sent > 0 {
                prop_assert_eq!(&site.server(client).bytes, &requests[..sent]);
            }
        }
    }
}
