//! Captures made by hand, whole and damaged.

use proptest::prelude::*;

use super::capture::*;

const IPV4: [u8; 20] = [
    0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
];

fn all(capture: &[u8]) -> Result<Vec<(u64, Vec<u8>, bool)>, CaptureError> {
    let mut capture = Capture::open(Box::new(std::io::Cursor::new(capture.to_vec())))?;
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame()? {
        frames.push((frame.timestamp_ns, frame.bytes.to_vec(), frame.truncated));
    }
    Ok(frames)
}

fn words(values: &[u32], big: bool) -> Vec<u8> {
    values
        .iter()
        .flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() })
        .collect()
}

fn classic(magic: u32, linktype: u32, big: bool, frames: &[&[u8]]) -> Vec<u8> {
    let mut out = words(&[magic, 0x0004_0002, 0, 0, 65_535, linktype], big);
    for frame in frames {
        let length = frame.len() as u32;
        out.extend(words(&[7, 5, length, length + 1], big));
        out.extend_from_slice(frame);
    }
    out
}

fn block(kind: u32, body: &[u8], big: bool) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = padded as u32 + 12;
    let mut out = words(&[kind, length], big);
    out.extend_from_slice(body);
    out.resize(8 + padded, 0);
    out.extend(words(&[length], big));
    out
}

fn ng(linktype: u16, resolution: Option<u8>, frame: &[u8], big: bool) -> Vec<u8> {
    let half = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let mut section = words(&[0x1a2b_3c4d], big);
    section.extend([half(1), half(0)].concat());
    section.extend([0xff; 8]);
    let mut out = block(0x0a0d_0d0a, &section, big);
    let mut interface = [half(linktype), half(0)].concat();
    interface.extend(words(&[0], big));
    if let Some(resolution) = resolution {
        interface.extend([half(9), half(1)].concat());
        interface.extend([resolution, 0, 0, 0]);
        interface.extend([0; 4]);
    }
    out.extend(block(1, &interface, big));
    // A block that nobody knows.
    out.extend(block(0x0bad, &[1; 40], big));
    let length = frame.len() as u32;
    let mut packet = words(&[0, 0, 3_000, length, length], big);
    packet.extend_from_slice(frame);
    out.extend(block(6, &packet, big));
    let mut simple = words(&[length], big);
    simple.extend_from_slice(frame);
    out.extend(block(3, &simple, big));
    out
}

fn ethernet(ethertype: [u8; 2]) -> Vec<u8> {
    [&[0; 12][..], &ethertype, &IPV4].concat()
}

#[test]
fn classic_in_both_orders_and_resolutions() {
    let frame = ethernet([8, 0]);
    for (magic, ns) in [(0xa1b2_c3d4, 7_000_005_000), (0xa1b2_3c4d, 7_000_000_005)] {
        for big in [true, false] {
            let frames = all(&classic(magic, 1, big, &[&frame, &frame])).expect("frames");
            assert_eq!(frames, vec![(ns, frame.clone(), true); 2]);
        }
    }
}

#[test]
fn every_link_becomes_ethernet() {
    let cooked = [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0][..], &IPV4].concat();
    let cooked2 = [
        &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..],
        &IPV4,
    ]
    .concat();
    let null = [&[2, 0, 0, 0][..], &IPV4].concat();
    for (linktype, frame) in [
        (101, &IPV4[..]),
        (228, &IPV4),
        (113, &cooked),
        (276, &cooked2),
        (0, &null),
    ] {
        let frames = all(&classic(0xa1b2_c3d4, linktype, false, &[frame])).expect("frames");
        assert_eq!(frames[0].1, ethernet([8, 0]), "link type {linktype}");
        let frames = all(&ng(linktype as u16, None, frame, true)).expect("frames");
        assert_eq!(frames.len(), 2, "link type {linktype}");
        assert!(
            frames.iter().all(|(_, bytes, _)| *bytes == ethernet([8, 0])),
            "link type {linktype}"
        );
    }
    let mut ipv6 = IPV4;
    ipv6[0] = 0x60;
    let frames = all(&classic(0xa1b2_c3d4, 101, false, &[&ipv6, &[], &[0x10]])).expect("frames");
    assert_eq!(frames.len(), 1, "what is no IP is left out");
    assert_eq!(frames[0].1[12..14], [0x86, 0xdd]);
}

#[test]
fn pcapng_times() {
    for (resolution, ns) in [
        (None, 3_000_000),
        (Some(9), 3_000),
        (Some(0), 3_000_000_000_000),
        (Some(0x80 | 0x0a), 2_929_687_500),
    ] {
        for big in [true, false] {
            let frames = all(&ng(1, resolution, &ethernet([8, 0]), big)).expect("frames");
            assert_eq!(frames[0].0, ns, "{resolution:?}");
        }
    }
}

#[test]
fn damage_is_named() {
    let whole = classic(0xa1b2_c3d4, 1, false, &[&IPV4]);
    let mut long = whole.clone();
    long[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    for (capture, message) in [
        (&b""[..], "cut off"),
        (b"GET / HTTP/1.1\r\n", "not a packet capture"),
        (&whole[..20], "cut off"),
        (&whole[..30], "cut off"),
        (&whole[..whole.len() - 1], "cut off"),
        (&long, "longer than any frame"),
        (&classic(0xa1b2_c3d4, 147, false, &[]), "link type 147"),
        (&ng(1, Some(64), &IPV4, false), "time resolution"),
        (&ng(1, None, &IPV4, false)[28..], "not a packet capture"),
        (
            &[&ng(1, None, &IPV4, false)[..28], &block(6, &[0; 20], false)].concat(),
            "not described",
        ),
        (
            &[&ng(1, None, &IPV4, false)[..28], &[6, 0, 0, 0, 13, 0, 0, 0]].concat(),
            "impossible length",
        ),
    ] {
        let error = all(capture).expect_err(message).to_string();
        assert!(error.contains(message), "wanted {message}, got {error}");
    }
    // An interface of an unknown link type: its frames are left out.
    assert_eq!(all(&ng(147, None, &IPV4, false)).expect("none"), []);
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(big: bool, at: prop::sample::Index, byte: u8, cut: prop::sample::Index, link in 0u16..300) {
        for mut capture in [ng(link, Some(9), &IPV4, big), classic(0xa1b2_c3d4, 113, big, &[&IPV4, &IPV4])] {
            let i = at.index(capture.len());
            capture[i] = byte;
            capture.truncate(cut.index(capture.len()) + 1);
            let _ = all(&capture);
        }
    }
}
