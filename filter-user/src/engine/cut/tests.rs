use std::net::IpAddr;

use proptest::{prelude::*, sample::Index};
use xtask::lab::frame::{Checksum, Frame, TAG_8021Q, Tcp, Transport, flag};

use super::{CWR, Cut, Limits, TCP_HEADER};
use crate::{
    engine::{EngineDrop, inspect::inspect},
    flow::checksum::ipv4_header_is_valid,
};

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const SEQUENCE: u32 = u32::MAX - 5000;
const IDENTIFICATION: u16 = u16::MAX - 3;

fn joined(v6: bool, payload: &[u8]) -> Frame {
    let address = |last| -> IpAddr {
        if v6 {
            [0xfd71, 0, 0, 0, 0, 0, 0, last].into()
        } else {
            [10, 71, 0, last as u8].into()
        }
    };
    let tcp = Tcp {
        source_port: 40_000,
        destination_port: 80,
        sequence: SEQUENCE,
        acknowledgement: 7,
        flags: flag::ACK | flag::PSH | flag::FIN | CWR,
        window: 1024,
        payload: payload.to_vec(),
        ..Tcp::default()
    };
    Frame::new(MACS, address(1), address(2), Transport::Tcp(tcp))
}

fn tcp_mut(frame: &mut Frame) -> &mut Tcp {
    match &mut frame.transport {
        Transport::Tcp(tcp) => tcp,
        other => panic!("made as TCP: {other:?}"),
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Where the IP header lies behind so many tags.
fn network(frame: &Frame) -> usize {
    14 + 4 * frame.tags.len()
}

/// The frame's bytes, with an identification that wraps early.
fn bytes(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.to_bytes();
    if frame.source.is_ipv4() {
        let header = &mut bytes[network(frame)..];
        let length = usize::from(header[0] & 15) * 4;
        header[4..6].copy_from_slice(&IDENTIFICATION.to_be_bytes());
        super::checksum::complete_ipv4_header(&mut header[..length]);
    }
    bytes
}

fn cut(mut bytes: Vec<u8>, limits: &Limits) -> Result<Vec<Vec<u8>>, EngineDrop> {
    let mut cut = Cut::new(&mut bytes, limits)?;
    let mut segments = Vec::new();
    while let Some(segment) = cut.next_segment() {
        segments.push(segment.to_vec());
    }
    assert!(cut.next_segment().is_none(), "the last is the last");
    Ok(segments)
}

/// Every segment is a whole packet, and together they are `frame`.
fn check(frame: &Frame, segments: &[Vec<u8>], limits: &Limits) {
    let whole = frame.tcp().expect("made as TCP");
    let mut payload = Vec::new();
    let network = network(frame);
    for (number, bytes) in segments.iter().enumerate() {
        let segment = Frame::parse(bytes).expect("a whole frame");
        let tcp = segment.tcp().expect("TCP");
        assert_eq!(segment.checksum, Checksum::Valid);
        if frame.source.is_ipv4() {
            let header = &bytes[network..];
            assert!(ipv4_header_is_valid(&header[..usize::from(header[0] & 15) * 4]));
            let expected = IDENTIFICATION.wrapping_add(number as u16);
            assert_eq!(header[4..6], expected.to_be_bytes());
        }
        assert!(bytes.len() - network <= limits.mtu, "segment {number}");
        let options = tcp.options.len().next_multiple_of(4);
        assert!(limits.mss == 0 || tcp.payload.len() + options <= limits.mss.max(64 + options));

        let (is_first, is_last) = (number == 0, number + 1 == segments.len());
        let mut flags = whole.flags;
        if !is_last {
            flags &= !(flag::FIN | flag::PSH);
        }
        if !is_first {
            flags &= !CWR;
        }
        let expected = Frame {
            transport: Transport::Tcp(Tcp {
                sequence: whole.sequence.wrapping_add(payload.len() as u32),
                flags,
                payload: tcp.payload.clone(),
                ..whole.clone()
            }),
            checksum: Checksum::Valid,
            ..frame.clone()
        };
        // The header's own bytes: what was not to be changed is as it was.
        assert_eq!(
            segment,
            Frame::parse(&expected.to_bytes()).expect("a whole frame")
        );
        payload.extend_from_slice(&tcp.payload);
    }
    assert_eq!(payload, whole.payload);
}

#[test]
fn segments_are_as_large_as_the_mtu_and_the_server_allow() {
    // IPv6, TCP options, MTU, the server's segment size, payload; payloads of the segments.
    type Case = (bool, &'static [u8], usize, usize, usize, &'static [usize]);
    let cases: [Case; 9] = [
        (false, &[], 1500, 1460, 3000, &[1460, 1460, 80]),
        (false, &[1; 12], 1500, 1460, 2896, &[1448, 1448]),
        (true, &[1; 12], 1500, 1440, 2857, &[1428, 1428, 1]),
        (true, &[], 1280, 1440, 1221, &[1220, 1]),
        // The server takes less than the MTU, even of what is no larger than that.
        (false, &[], 1500, 1000, 1400, &[1000, 400]),
        (false, &[1; 12], 1500, 1000, 1976, &[988, 988]),
        // Nobody knows what the server takes.
        (false, &[], 1500, 0, 1500, &[536, 536, 428]),
        (true, &[], 1500, 0, 1441, &[1220, 221]),
        // Nothing to cut.
        (false, &[], 1500, 0, 1460, &[1460]),
    ];
    for (v6, options, mtu, mss, length, lengths) in cases {
        let mut frame = joined(v6, &payload(length));
        tcp_mut(&mut frame).options = options.to_vec();
        let limits = Limits { mtu, mss };
        let bytes = bytes(&frame);
        assert_eq!(limits.admit(&bytes), lengths.len() == 1);
        let segments = cut(bytes, &limits).expect("it can be cut");
        check(&frame, &segments, &limits);
        let headers = network(&frame) + if v6 { 40 } else { 20 } + TCP_HEADER + options.len();
        let cut: Vec<_> = segments.iter().map(|segment| segment.len() - headers).collect();
        assert_eq!(cut, lengths);
    }
}

#[test]
fn a_server_that_takes_next_to_nothing_gets_little_more() {
    let limits = Limits { mtu: 1500, mss: 1 };
    let frame = joined(false, &payload(65_000));
    let segments = cut(bytes(&frame), &limits).expect("it can be cut");
    assert_eq!(segments.len(), 65_000_usize.div_ceil(64));
}

#[test]
fn the_largest_packets_are_cut() {
    let limits = Limits { mtu: 1500, mss: 1440 };
    for (v6, length) in [(false, 65_535 - 40), (true, 65_535 - 20)] {
        let mut frame = joined(v6, &payload(length))
            .tagged(TAG_8021Q, 7)
            .tagged(TAG_8021Q, 8);
        for checksum in [Checksum::Valid, Checksum::PseudoHeader] {
            frame.checksum = checksum;
            let segments = cut(bytes(&frame), &limits).expect("it can be cut");
            check(&frame, &segments, &limits);
            assert_eq!(segments.len(), length.div_ceil(1440));
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused_with_a_reason() {
    let limits = Limits { mtu: 1500, mss: 1400 };
    let flagged = |flags| {
        let mut frame = joined(false, &payload(2000));
        tcp_mut(&mut frame).flags = flags;
        frame.to_bytes()
    };
    let mut udp = joined(true, b"");
    udp.transport = Transport::Udp {
        source_port: 1,
        destination_port: 80,
        payload: payload(2000),
    };
    let wrong = Frame {
        checksum: Checksum::Wrong,
        ..joined(true, &payload(2000))
    };
    let mut bad_header = joined(false, &payload(2000)).to_bytes();
    bad_header[14 + 8] ^= 1;
    let mut fragment = joined(false, &payload(2000)).to_bytes();
    fragment[14 + 6] |= 0x20;
    let whole = joined(false, &payload(2000)).to_bytes();
    let cases = [
        (flagged(flag::SYN), EngineDrop::NotCuttable),
        (flagged(flag::RST | flag::ACK), EngineDrop::NotCuttable),
        (flagged(flag::URG | flag::ACK), EngineDrop::NotCuttable),
        (udp.to_bytes(), EngineDrop::NotTcp),
        (fragment, EngineDrop::Fragment),
        (whole[..1999].to_vec(), EngineDrop::NotTcp),
        (Vec::new(), EngineDrop::NotTcp),
        (bad_header, EngineDrop::BadIpChecksum),
        (wrong.to_bytes(), EngineDrop::BadTcpChecksum),
    ];
    for (bytes, reason) in cases {
        assert_eq!(cut(bytes, &limits), Err(reason));
    }
    // Headers leave no room.
    let limits = Limits { mtu: 103, mss: 1400 };
    assert_eq!(cut(whole, &limits), Err(EngineDrop::NotCuttable));
    // What need not be cut may have any flag.
    let mut syn = joined(false, b"");
    tcp_mut(&mut syn).flags = flag::SYN;
    let limits = Limits { mtu: 1500, mss: 0 };
    let segments = cut(bytes(&syn), &limits).expect("it is a segment");
    check(&syn, &segments, &limits);
}

#[test]
fn extension_headers_are_on_every_segment() {
    let mut frame = joined(true, &payload(4000));
    // Destination options, all padding.
    frame.extension_headers = vec![(60, vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
    let limits = Limits { mtu: 1280, mss: 1440 };
    let mut payload = Vec::new();
    for mut bytes in cut(bytes(&frame), &limits).expect("it can be cut") {
        assert!(bytes.len() <= 14 + limits.mtu);
        let inspected = inspect(&mut bytes).expect("a whole packet");
        assert_eq!(
            inspected.segment.seq.0,
            SEQUENCE.wrapping_add(payload.len() as u32)
        );
        payload.extend_from_slice(&bytes[usize::from(inspected.segment.offset)..]);
    }
    assert_eq!(payload, frame.tcp().expect("made as TCP").payload);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let length = prop_oneof![0..200_usize, 0..5000_usize, 60_000..65_300_usize];
    let shape = (any::<bool>(), length, any::<bool>(), 0..2_usize);
    let options = prop::collection::vec(any::<u8>(), 0..=10).prop_map(|words| words.repeat(4));
    let ip_options = prop_oneof![3 => Just(0_usize), 1 => 0..=5_usize];
    (shape, options, ip_options, any::<u8>()).prop_map(
        |((v6, length, partial, tags), options, ip_options, flags)| {
            let mut frame = joined(v6, &payload(length));
            if partial {
                frame.checksum = Checksum::PseudoHeader;
            }
            for _ in 0..tags {
                frame = frame.tagged(TAG_8021Q, 7);
            }
            if !v6 {
                frame.ip_options = vec![1; ip_options * 4];
            }
            let tcp = tcp_mut(&mut frame);
            tcp.options = options;
            tcp.flags = flags & !(flag::SYN | flag::RST | flag::URG) | flag::ACK;
            frame
        },
    )
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let mss = prop_oneof![1 => Just(0_usize), 4 => 300..9000_usize];
    (576..9000_usize, mss).prop_map(|(mtu, mss)| Limits { mtu, mss })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn segments_together_are_the_packet(frame in any_frame(), limits in any_limits(), padding in 0..4_usize) {
        let mut bytes = bytes(&frame);
        bytes.resize(bytes.len() + padding, 0xee);
        let segments = cut(bytes, &limits).expect("it can be cut");
        check(&frame, &segments, &limits);
    }

    #[test]
    fn what_is_admitted_is_one_segment(frame in any_frame(), limits in any_limits()) {
        let bytes = bytes(&frame);
        let admitted = limits.admit(&bytes);
        prop_assert_eq!(admitted, cut(bytes, &limits).expect("it can be cut").len() == 1);
    }

    /// The checksum is that of the whole packet: nothing of one with an error in it goes on.
    #[test]
    fn no_segment_comes_of_a_damaged_packet(
        frame in any_frame(),
        limits in any_limits(),
        at in any::<Index>(),
        bit in 0..8_u32,
    ) {
        prop_assume!(frame.checksum == Checksum::Valid);
        let mut bytes = bytes(&frame);
        let start = bytes.len() - frame.tcp().expect("made as TCP").payload.len();
        prop_assume!(start < bytes.len());
        let at = start + at.index(bytes.len() - start);
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(cut(bytes, &limits), Err(EngineDrop::BadTcpChecksum));
    }

    #[test]
    fn nothing_panics(
        frame in any_frame(),
        limits in any_limits(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        end in any::<Index>(),
    ) {
        let mut bytes = bytes(&frame);
        for (at, value) in changes {
            let at = at.index(bytes.len().min(120));
            bytes[at] = value;
        }
        let _ = cut(bytes.clone(), &limits);
        bytes.truncate(end.index(bytes.len()));
        let _ = cut(bytes, &limits);
    }
}
