use proptest::prelude::*;
use xtask::lab::frame::{Frame, Tcp, Transport, flag};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn packet_of(v6: bool, payload: &[u8]) -> Frame {
    let (source, destination) = if v6 {
        ("fd71::2", "fd72::2")
    } else {
        ("10.71.0.2", "10.72.0.2")
    };
    let address = |text: &str| text.parse().expect("an address");
    let tcp = Tcp {
        source_port: 40_000,
        destination_port: 80,
        flags: flag::ACK,
        payload: payload.to_vec(),
        ..Tcp::default()
    };
    let mut frame = Frame::new(
        ([2; 6], [4; 6]),
        address(source),
        address(destination),
        Transport::Tcp(tcp),
    );
    if v6 {
        // Destination options in front of the fragment header.
        frame.extension_headers = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])];
    }
    frame
}

/// The packet as it is when its fragments had this number.
fn whole_of(frame: &Frame, identification: u16) -> Vec<u8> {
    let mut bytes = frame.to_bytes();
    if frame.source.is_ipv4() {
        bytes[18..20].copy_from_slice(&identification.to_be_bytes());
        bytes[20..22].fill(0);
        resum(&mut bytes);
    }
    bytes
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Takes a fragment in. Returns whether a packet was completed, and that is the one sent.
fn completes(fragments: &mut Fragments, fragment: &[u8], now_ns: u64, whole: &[u8]) -> bool {
    let packet = Packet::parse(fragment).expect("well-formed").expect("IP");
    assert!(packet.fragment && packet.may_hold_tcp());
    match fragments.take(fragment, &packet, now_ns) {
        Some(bytes) => {
            assert_eq!(bytes, whole);
            true
        }
        None => false,
    }
}

#[test]
fn fragments_in_any_order_make_the_packet() {
    for v6 in [false, true] {
        let frame = packet_of(v6, &payload(3_000));
        let whole = whole_of(&frame, 7);
        let parts = frame.fragments(&[1_000, 1_480, 2_000], 7);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut fragments = Fragments::new();
            let done: Vec<_> = order
                .iter()
                .map(|part| completes(&mut fragments, &parts[*part], 0, &whole))
                .collect();
            assert_eq!(done, [false, false, false, true]);
            assert_eq!(fragments.given_up(), 0);
        }
    }
}

#[test]
fn repeated_fragments_change_nothing_and_overlapping_ones_end_the_packet() {
    for v6 in [false, true] {
        let frame = packet_of(v6, &payload(500));
        let whole = whole_of(&frame, 7);
        let [parts, others] = [[104, 200], [96, 200]].map(|cuts| frame.fragments(&cuts, 7));
        let mut fragments = Fragments::new();
        for part in [&parts[0], &parts[0], &parts[1], &parts[0]] {
            assert!(!completes(&mut fragments, part, 0, &whole));
        }
        assert!(completes(&mut fragments, &parts[2], 0, &whole));

        // 0..104 and 96..200 overlap: what was there is gone as well.
        assert!(!completes(&mut fragments, &parts[0], 0, &whole));
        assert!(!completes(&mut fragments, &others[1], 0, &whole));
        assert_eq!(fragments.given_up(), 2);
        for part in &parts[1..] {
            assert!(!completes(&mut fragments, part, 0, &whole));
        }
        assert!(completes(&mut fragments, &parts[0], 0, &whole));
        assert_eq!(fragments.given_up(), 0);
    }
}

#[test]
fn ends_that_contradict_each_other_end_the_packet() {
    let (long, short) = (packet_of(false, &payload(500)), packet_of(false, &payload(300)));
    let whole = long.to_bytes();
    let (long, short) = (long.fragments(&[200, 400], 7), short.fragments(&[200], 7));
    let mut fragments = Fragments::new();
    // One end behind the other, before it, and data behind an end.
    for (first, second) in [
        (&long[2], &short[1]),
        (&short[1], &long[2]),
        (&long[1], &short[1]),
    ] {
        assert!(!completes(&mut fragments, first, 0, &whole));
        assert!(!completes(&mut fragments, second, 0, &whole));
        assert_eq!(fragments.given_up(), 2);
    }
}

#[test]
fn what_can_be_part_of_no_packet_is_given_up() {
    let whole = packet_of(false, &payload(500)).to_bytes();
    let parts = packet_of(false, &payload(500)).fragments(&[104, 200], 7);
    let mut fragments = Fragments::new();
    // A wrong header checksum.
    let mut wrong = parts[0].clone();
    wrong[14 + 8] ^= 1;
    // Not in units of eight bytes.
    let mut uneven = parts[0].clone();
    uneven[14 + 3] -= 1;
    resum(&mut uneven);
    // Beyond the largest packet.
    let mut far = parts[2].clone();
    far[14 + 6..14 + 8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    resum(&mut far);
    for part in [&wrong, &uneven, &far] {
        assert!(!completes(&mut fragments, part, 0, &whole));
        assert_eq!(fragments.given_up(), 1);
    }
}

/// As large as a packet can be, and with its headers larger.
#[test]
fn a_packet_has_a_largest_size() {
    for v6 in [false, true] {
        let headers = if v6 { 8 } else { 20 };
        // TCP's own header is a part of what is cut.
        let largest = LARGEST - headers - 20;
        for (length, fits) in [(largest, true), (largest + 1, false)] {
            let parts = long_fragments(&packet_of(v6, b""), v6, &payload(length));
            let mut fragments = Fragments::new();
            let mut whole = None;
            let count = parts.len() as u64;
            for part in parts {
                let packet = Packet::parse(&part[..]).expect("well-formed").expect("IP");
                whole = fragments.take(&part, &packet, 0).map(|bytes| bytes.len());
            }
            let link = if v6 { 14 + 40 } else { 14 };
            assert_eq!(whole, fits.then_some(link + LARGEST), "{length} bytes of {v6}");
            assert_eq!(fragments.given_up(), if fits { 0 } else { count });
        }
    }
}

/// Fragments of a packet that may be too long for its own length field: those of a shorter one with more payload.
fn long_fragments(frame: &Frame, v6: bool, payload: &[u8]) -> Vec<Vec<u8>> {
    const SIZE: usize = 32_000;
    let part = |bytes: &[u8], offset: usize, more: bool| {
        let mut small = frame.clone();
        small.transport = Transport::Raw {
            protocol: protocol::TCP,
            bytes: [bytes, &[0; 8]].concat(),
        };
        // Of two fragments the first; its place is set afterwards.
        let mut part = small
            .fragments(&[bytes.len().next_multiple_of(8)], 9)
            .swap_remove(0);
        let field = if v6 { 14 + 40 + 8 + 2 } else { 14 + 6 };
        let end = part.len() - (bytes.len().next_multiple_of(8) - bytes.len());
        part.truncate(end);
        let units = (offset / 8) as u16;
        let value = if v6 {
            units << 3 | u16::from(more)
        } else {
            units | u16::from(more) << 13
        };
        part[field..field + 2].copy_from_slice(&value.to_be_bytes());
        if v6 {
            let length = (part.len() - 14 - 40) as u16;
            part[14 + 4..14 + 6].copy_from_slice(&length.to_be_bytes());
        } else {
            let length = (part.len() - 14) as u16;
            part[14 + 2..14 + 4].copy_from_slice(&length.to_be_bytes());
            resum(&mut part);
        }
        part
    };
    let bytes = [&[0; 20][..], payload].concat();
    let count = bytes.len().div_ceil(SIZE);
    bytes
        .chunks(SIZE)
        .enumerate()
        .map(|(at, chunk)| part(chunk, at * SIZE, at + 1 < count))
        .collect()
}

fn resum(frame: &mut [u8]) {
    checksum::complete_ipv4_header(&mut frame[14..34]);
}

#[test]
fn room_and_patience_have_bounds() {
    let frame = packet_of(true, &payload(500));
    let whole = frame.to_bytes();
    let of = |identification| frame.fragments(&[104], identification);
    let mut fragments = Fragments::new();
    for number in 0..PACKETS as u32 {
        assert!(!completes(&mut fragments, &of(number)[0], number.into(), &whole));
    }
    assert_eq!(fragments.given_up(), 0);
    // The oldest makes room.
    assert!(!completes(&mut fragments, &of(1_000)[0], SECOND, &whole));
    assert_eq!(fragments.given_up(), 1);
    assert!(completes(&mut fragments, &of(1)[1], SECOND, &whole));
    assert!(!completes(&mut fragments, &of(0)[1], SECOND, &whole));
    // All but the two of the last second have waited too long.
    fragments.expire(PATIENCE_NS + SECOND / 2);
    assert_eq!(fragments.given_up(), PACKETS as u64 - 2);
    fragments.expire(PATIENCE_NS + 2 * SECOND);
    assert_eq!(fragments.given_up(), 2);
    // Too many gaps.
    let many: Vec<_> = (1..=2 * RUNS + 4).map(|at| at * 8).collect();
    let parts = packet_of(true, &payload(2_000)).fragments(&many, 5);
    for part in parts.iter().step_by(2).take(RUNS + 1) {
        assert!(!completes(&mut fragments, part, 0, &whole));
    }
    assert_eq!(fragments.given_up(), RUNS as u64 + 1);
}

proptest! {
    /// Whatever comes, a packet that is completed consists of bytes that came for its places.
    #[test]
    fn any_pieces_in_any_order(
        v6: bool,
        length in 100..3_000_usize,
        cuts in prop::collection::btree_set(1..360_usize, 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let frame = packet_of(v6, &payload(length));
        let whole = whole_of(&frame, 3);
        let cuts: Vec<_> = cuts.into_iter().map(|unit| unit * 8).filter(|at| *at < length).collect();
        prop_assume!(!cuts.is_empty());
        let parts = frame.fragments(&cuts, 3);
        let mut fragments = Fragments::new();
        let mut missing: std::collections::BTreeSet<_> = (0..parts.len()).collect();
        for part in order {
            let part = part.index(parts.len());
            missing.remove(&part);
            let done = completes(&mut fragments, &parts[part], 0, &whole);
            prop_assert_eq!(done, missing.is_empty());
            if done {
                missing = (0..parts.len()).collect();
            }
        }
        prop_assert_eq!(fragments.given_up(), 0);
    }

    #[test]
    fn no_fragment_makes_it_panic(
        v6: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let parts = packet_of(v6, &payload(500)).fragments(&[104, 200], 7);
        let mut fragments = Fragments::new();
        for part in parts {
            let mut part = part;
            for (at, byte) in &changes {
                let at = at.index(part.len());
                part[at] = *byte;
            }
            if let Ok(Some(packet)) = Packet::parse(&part[..]) && packet.fragment {
                fragments.take(&part, &packet, 0);
            }
        }
    }
}
