//! The parser, compiled for the kernel, says what it says when compiled for userspace.

use filter_common::{Malformed, Packet, Reason};
use proptest::prelude::*;
use xtask::lab::frame::{TAG_8021AD, TAG_8021Q, flag};

use crate::{
    bed::Bed,
    packets::{Family, raw, request, segment},
};

/// The kernel runs no shorter frame, and no longer one in linear memory.
const LENGTHS: std::ops::Range<usize> = 14..1600;
const ETHERNET: usize = 14;

/// What becomes of a packet where no service is configured.
fn expected(packet: &[u8]) -> Reason {
    match Packet::parse(packet) {
        Err(Malformed(reason)) => reason,
        Ok(None) => Reason::NotIp,
        Ok(Some(_)) => Reason::NoService,
    }
}

fn udp(length: u8) -> Vec<u8> {
    vec![0, 53, 0, 53, 0, length, 0, 0]
}

/// A change to a frame whose IP header begins at the given offset.
type Change = fn(&mut Vec<u8>, usize);

const V4: [(&str, Change, Reason); 9] = [
    (
        "cut in the IP header",
        |f, n| f.truncate(n + 10),
        Reason::Truncated,
    ),
    ("version", |f, n| f[n] = 0x55, Reason::BadIpv4),
    ("header length", |f, n| f[n] = 0x44, Reason::BadIpv4),
    (
        "total length beyond the frame",
        |f, n| f[n + 2] = 0xff,
        Reason::BadLength,
    ),
    (
        "total length below the header",
        |f, n| f[n + 2..n + 4].copy_from_slice(&[0, 19]),
        Reason::BadLength,
    ),
    (
        "total length in the TCP header",
        |f, n| f[n + 2..n + 4].copy_from_slice(&[0, 39]),
        Reason::BadLength,
    ),
    ("loopback source", |f, n| f[n + 12] = 127, Reason::MartianSource),
    ("multicast source", |f, n| f[n + 12] = 224, Reason::MartianSource),
    (
        "broadcast source",
        |f, n| f[n + 12..n + 16].fill(255),
        Reason::MartianSource,
    ),
];

const V6: [(&str, Change, Reason); 6] = [
    (
        "cut in the IP header",
        |f, n| f.truncate(n + 30),
        Reason::Truncated,
    ),
    ("version", |f, n| f[n] = 0x40, Reason::BadIpv6),
    (
        "payload beyond the frame",
        |f, n| f[n + 4] = 0xff,
        Reason::BadLength,
    ),
    (
        "payload ends in the TCP header",
        |f, n| f[n + 4..n + 6].copy_from_slice(&[0, 19]),
        Reason::BadLength,
    ),
    (
        "loopback source",
        |f, n| {
            f[n + 8..n + 23].fill(0);
            f[n + 23] = 1;
        },
        Reason::MartianSource,
    ),
    ("multicast source", |f, n| f[n + 8] = 0xff, Reason::MartianSource),
];

/// Changes to a TCP header at the given offset.
const TCP: [(&str, Change, Reason); 7] = [
    ("data offset 4", |f, t| f[t + 12] = 0x40, Reason::BadTcp),
    (
        "data offset beyond",
        |f, t| {
            f[t + 12] = 0xf0;
        },
        Reason::BadTcp,
    ),
    ("no flags", |f, t| f[t + 13] = 0, Reason::TcpNoFlags),
    ("all flags", |f, t| f[t + 13] = 0x3f, Reason::TcpAllFlags),
    (
        "SYN and FIN",
        |f, t| f[t + 13] = flag::SYN | flag::FIN,
        Reason::TcpSynFin,
    ),
    (
        "SYN and RST",
        |f, t| f[t + 13] = flag::SYN | flag::RST,
        Reason::TcpSynFin,
    ),
    ("unknown flags only", |f, t| f[t + 13] = 0xc0, Reason::TcpNoFlags),
];

/// Every malformed kind, on both families, below no, one and two tags.
pub(crate) fn malformed() -> Vec<(String, Vec<u8>, Reason)> {
    let mut cases = Vec::new();
    for family in Family::ALL {
        let (ip, header): (&[(&str, Change, Reason)], _) = match family {
            Family::V4 => (&V4, 20),
            Family::V6 => (&V6, 40),
        };
        for tags in 0..3 {
            let tagged = |mut frame: xtask::lab::frame::Frame| {
                frame.tags = [(TAG_8021AD, 5), (TAG_8021Q, 7)][2 - tags..].to_vec();
                frame.to_bytes()
            };
            let network = ETHERNET + 4 * tags;
            let mut case = |name: &str, bytes, reason| {
                cases.push((format!("{family:?}, {tags} tags: {name}"), bytes, reason));
            };
            for (changes, at) in [(ip, network), (&TCP[..], network + header)] {
                for (name, change, reason) in changes {
                    let mut bytes = tagged(segment(family, flag::ACK, b"GET"));
                    change(&mut bytes, at);
                    case(name, bytes, *reason);
                }
            }
            let mut same = request(family);
            same.source = same.destination;
            case("same address", tagged(same), Reason::SameAddress);
            case(
                "UDP length 7",
                tagged(raw(family, 17, &udp(7))),
                Reason::BadLength,
            );
            case(
                "UDP length 9",
                tagged(raw(family, 17, &udp(9))),
                Reason::BadLength,
            );
            case(
                "short UDP",
                tagged(raw(family, 17, &udp(8)[..7])),
                Reason::BadLength,
            );
            case(
                "short ICMP",
                tagged(raw(family, 1, &[8, 0, 0, 0])),
                Reason::BadLength,
            );
            case(
                "short ICMPv6",
                tagged(raw(family, 58, &[128, 0])),
                Reason::BadLength,
            );
            if family == Family::V6 {
                for (name, headers) in [
                    ("endless extension headers", vec![(60, vec![0; 8]); 7]),
                    (
                        "too long a chain",
                        vec![(60, [&[0, 25][..], &[0; 206]].concat()); 3],
                    ),
                    (
                        "one that overruns the packet",
                        vec![(43, vec![0, 30, 0, 0, 0, 0, 0, 0])],
                    ),
                ] {
                    let mut frame = request(family);
                    frame.extension_headers = headers;
                    case(name, tagged(frame), Reason::BadExtension);
                }
            }
        }
        let mut three = request(family);
        three.tags = vec![(TAG_8021AD, 1), (TAG_8021Q, 2), (TAG_8021Q, 3)];
        cases.push((
            format!("{family:?}: three tags"),
            three.to_bytes(),
            Reason::VlanDepth,
        ));
    }
    let mut cut = request(Family::V4).to_bytes();
    cut[12..14].copy_from_slice(&[0x81, 0]);
    cut.truncate(16);
    cases.push(("cut in a tag".into(), cut, Reason::Truncated));
    cases
}

#[test]
fn malformed_packets_are_dropped_and_counted_by_kind() {
    let Some(mut bed) = Bed::new() else { return };
    // Not even an allow list lets them through.
    for list in ["0.0.0.0/0", "::/0"] {
        bed.tables.allow(crate::bed::prefix(list)).expect("there is room");
    }
    for (name, packet, reason) in malformed() {
        assert_eq!(expected(&packet), reason, "{name}: in userspace");
        assert_eq!(bed.receive(&packet), reason, "{name}: in the kernel");
    }
}

#[test]
fn well_formed_packets_and_their_every_prefix() {
    let Some(mut bed) = Bed::new() else { return };
    let mut extended = request(Family::V6);
    extended.extension_headers = [(0, 0), (60, 1), (51, 2), (43, 0), (44, 0)]
        .map(|(number, units): (u8, u8)| {
            let length = if number == 51 {
                16
            } else {
                8 * (usize::from(units) + 1)
            };
            let mut header = vec![0; length];
            header[1] = units;
            (number, header)
        })
        .to_vec();
    let mut options = request(Family::V4).tagged(TAG_8021Q, 7);
    options.ip_options = vec![1; 40];
    for frame in [
        request(Family::V4),
        request(Family::V6).tagged(TAG_8021AD, 1).tagged(TAG_8021Q, 2),
        options,
        extended,
        raw(Family::V4, 17, &udp(8)),
        raw(Family::V6, 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
        raw(Family::V4, 47, b"gre"),
    ] {
        let packet = frame.to_bytes();
        assert_eq!(bed.receive(&packet), Reason::NoService);
        for length in LENGTHS.start..packet.len() {
            let prefix = &packet[..length];
            assert_eq!(
                bed.receive(prefix),
                expected(prefix),
                "{length} bytes of {packet:02x?}"
            );
        }
    }
}

/// Frames that get past the first checks: well-formed ones with some bytes changed and something cut or added.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let extensions = prop::collection::vec(
        (
            prop::sample::select(vec![0_u8, 43, 44, 51, 60]),
            prop::collection::vec(any::<u8>(), 2..40),
        ),
        0..4,
    );
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let shape = (
        any::<bool>(),
        0_usize..4,
        prop::sample::select(vec![1_u8, 6, 17, 58, 99]),
    );
    (
        shape,
        prop::collection::vec(any::<u8>(), 0..60),
        extensions,
        prop::collection::vec(any::<u8>(), 0..44),
        changes,
        0_usize..20,
        0_usize..20,
    )
        .prop_map(
            |((v6, tags, protocol), payload, extensions, options, changes, cut, padding)| {
                let family = if v6 { Family::V6 } else { Family::V4 };
                let mut frame = if protocol == 6 {
                    segment(family, flag::ACK, &payload)
                } else {
                    raw(family, protocol, &payload)
                };
                frame.extension_headers = extensions
                    .into_iter()
                    .map(|(number, mut header)| {
                        // Mostly lengths that fit.
                        if header[1] & 3 != 0 {
                            header[1] = (header.len() / 8) as u8;
                        }
                        (number, header)
                    })
                    .collect();
                frame.ip_options = options;
                frame.tags = vec![(TAG_8021Q, 3); tags];
                let mut bytes = frame.to_bytes();
                for (at, value) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
                let kept = (bytes.len() - cut.min(bytes.len())).max(LENGTHS.start);
                bytes.truncate(kept);
                bytes.resize(bytes.len() + padding, 0);
                bytes
            },
        )
}

#[test]
fn both_compilations_agree_on_any_bytes() {
    let Some(mut bed) = Bed::new() else { return };
    let soup = prop::collection::vec(any::<u8>(), LENGTHS);
    let ip_soup = (prop::collection::vec(any::<u8>(), LENGTHS), any::<bool>()).prop_map(|(mut bytes, v6)| {
        let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
        bytes[12..14].copy_from_slice(&kind);
        if let Some(first) = bytes.get_mut(14) {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        bytes
    });
    let strategy = prop_oneof![1 => soup, 2 => ip_soup, 8 => mutated()];
    let bed = std::cell::RefCell::new(&mut bed);
    proptest!(ProptestConfig::with_cases(3000), |(packet in strategy)| {
        prop_assert_eq!(bed.borrow_mut().receive(&packet), expected(&packet));
    });
}

#[test]
fn the_verifier_takes_all_programs() {
    let Some(mut bed) = Bed::new() else { return };
    for (name, bytes, verified) in bed.program_sizes() {
        println!("{name}: {bytes:?} bytes translated, {verified:?} instructions verified");
        // The kernel's own limit is a million.
        assert!(
            verified.is_none_or(|count| count < 500_000),
            "{name} is close to the verifier's limit"
        );
    }
}
