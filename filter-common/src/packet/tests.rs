extern crate std;
use std::{net::IpAddr, vec, vec::Vec};

use super::*;

const CLIENT: [u8; 4] = [10, 71, 0, 1];
const SERVER: [u8; 4] = [10, 72, 0, 2];

fn tcp(flags: u8) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    segment[12] = 5 << 4;
    segment[13] = flags;
    segment.extend_from_slice(b"GET / HTTP/1.1\r\n");
    segment
}

fn v4(protocol: u8, options: usize, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let mut packet = vec![0; header];
    packet[0] = 0x40 | (header / 4) as u8;
    packet[2..4].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&CLIENT);
    packet[16..20].copy_from_slice(&SERVER);
    packet.extend_from_slice(payload);
    packet
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet[6] = next;
    packet[7] = 64;
    packet[8] = 0xfd;
    packet[23] = 1;
    packet[24] = 0xfd;
    packet[39] = 2;
    packet.extend_from_slice(payload);
    packet
}

fn ethernet_frame(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 7]);
    }
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn v4_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet_frame(&[], ethertype::IPV4, &v4(protocol, 0, payload))
}

fn reason(frame: &[u8]) -> Option<Reason> {
    Packet::parse(frame).err().map(|Malformed(reason)| reason)
}

#[test]
fn parses_tcp_under_no_one_and_two_tags() {
    for (tags, count) in [(&[][..], 0), (&[0x8100][..], 1), (&[0x88a8, 0x8100][..], 2)] {
        let mut frame = ethernet_frame(tags, ethertype::IPV4, &v4(6, 0, &tcp(tcp_flag::ACK)));
        let length = frame.len();
        // Ethernet padding is no payload.
        frame.extend_from_slice(&[0; 9]);
        let packet = Packet::parse(&frame[..]).unwrap().unwrap();
        assert_eq!(packet.vlan_tags, count);
        assert_eq!(IpAddr::from(packet.source), IpAddr::from(CLIENT));
        assert_eq!(IpAddr::from(packet.destination), IpAddr::from(SERVER));
        assert_eq!((packet.source_port, packet.destination_port), (40000, 80));
        assert_eq!(packet.payload_length(), 16);
        assert_eq!(packet.end as usize, length);
        assert!(packet.is_v4 && !packet.odd && !packet.fragment);
    }
    let three = ethernet_frame(&[0x88a8, 0x8100, 0x8100], ethertype::IPV4, &v4(6, 0, &tcp(16)));
    assert_eq!(reason(&three), Some(Reason::VlanDepth));
}

#[test]
fn parses_options_and_extension_headers() {
    let frame = ethernet_frame(&[], ethertype::IPV4, &v4(6, 8, &tcp(16)));
    let packet = Packet::parse(&frame[..]).unwrap().unwrap();
    assert!(packet.odd);
    assert_eq!(packet.payload_length(), 16);

    // Hop-by-hop (8 bytes), destination options (16 bytes), authentication (12 bytes), then TCP.
    let mut chain = vec![60, 0, 1, 4, 0, 0, 0, 0];
    chain.extend_from_slice(&[51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend_from_slice(&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend_from_slice(&tcp(16));
    let frame = ethernet_frame(&[], ethertype::IPV6, &v6(0, &chain));
    let packet = Packet::parse(&frame[..]).unwrap().unwrap();
    assert_eq!(
        (packet.protocol, packet.destination_port, packet.odd),
        (6, 80, true)
    );
    assert_eq!(packet.payload_length(), 16);
}

#[test]
fn tells_fragments_from_atomic_ones() {
    for (field, fragment) in [(0x4000_u16, false), (0x2000, true), (0x0001, true)] {
        let mut packet = v4(6, 0, &tcp(16));
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        let frame = ethernet_frame(&[], ethertype::IPV4, &packet);
        assert_eq!(
            Packet::parse(&frame[..]).unwrap().unwrap().fragment,
            fragment,
            "{field:#x}"
        );
    }
    for (field, fragment) in [(0_u16, false), (1, true), (8, true)] {
        let mut chain = vec![6, 0, 0, 0, 0, 0, 0, 1];
        chain[2..4].copy_from_slice(&field.to_be_bytes());
        chain.extend_from_slice(&tcp(16));
        let frame = ethernet_frame(&[], ethertype::IPV6, &v6(44, &chain));
        let packet = Packet::parse(&frame[..]).unwrap().unwrap();
        assert_eq!((packet.fragment, packet.protocol), (fragment, 6), "{field:#x}");
    }
}

#[test]
fn malformed_packets_have_their_reason() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = v4_frame(6, &tcp(16));
        change(&mut frame);
        frame
    };
    let udp = |length: u8| v4_frame(17, &[0, 53, 0, 53, 0, length, 0, 0]);
    let table = [
        ("ethernet cut", vec![0; 13], Reason::Truncated),
        ("ip cut", v4_frame(6, &tcp(16))[..30].to_vec(), Reason::Truncated),
        ("version 5", with(&|f| f[14] = 0x55), Reason::BadIpv4),
        ("header length 4", with(&|f| f[14] = 0x44), Reason::BadIpv4),
        (
            "total length too long",
            with(&|f| f[16] = 0xff),
            Reason::BadLength,
        ),
        (
            "total length below header",
            with(&|f| f[16..18].copy_from_slice(&[0, 19])),
            Reason::BadLength,
        ),
        ("tcp does not fit", v4_frame(6, &tcp(16)[..19]), Reason::BadLength),
        ("data offset 4", with(&|f| f[46] = 0x40), Reason::BadTcp),
        (
            "data offset beyond the packet",
            with(&|f| f[46] = 0xf0),
            Reason::BadTcp,
        ),
        ("no flags", with(&|f| f[47] = 0), Reason::TcpNoFlags),
        ("all flags", with(&|f| f[47] = 0x3f), Reason::TcpAllFlags),
        ("syn fin", with(&|f| f[47] = 3), Reason::TcpSynFin),
        ("syn rst", with(&|f| f[47] = 6), Reason::TcpSynFin),
        (
            "land",
            with(&|f| f[30..34].copy_from_slice(&CLIENT)),
            Reason::SameAddress,
        ),
        ("loopback source", with(&|f| f[26] = 127), Reason::MartianSource),
        ("multicast source", with(&|f| f[26] = 224), Reason::MartianSource),
        ("udp length 7", udp(7), Reason::BadLength),
        ("udp length beyond the packet", udp(9), Reason::BadLength),
        ("icmp too short", v4_frame(1, &[8, 0, 0, 0]), Reason::BadLength),
        (
            "ipv6 version 4",
            ethernet_frame(&[], ethertype::IPV6, &v4(6, 20, &tcp(16))),
            Reason::BadIpv6,
        ),
    ];
    for (name, frame, expected) in table {
        assert_eq!(reason(&frame), Some(expected), "{name}");
    }
    assert_eq!(reason(&udp(8)), None);
}

#[test]
fn endless_or_overrunning_extension_headers_are_malformed() {
    let mut chain = Vec::new();
    for _ in 0..8 {
        chain.extend_from_slice(&[60, 0, 0, 0, 0, 0, 0, 0]);
    }
    chain.extend_from_slice(&tcp(16));
    let frame = ethernet_frame(&[], ethertype::IPV6, &v6(60, &chain));
    assert_eq!(reason(&frame), Some(Reason::BadExtension));

    let frame = ethernet_frame(&[], ethertype::IPV6, &v6(60, &[6, 200, 0, 0, 0, 0, 0, 0]));
    assert_eq!(reason(&frame), Some(Reason::BadExtension));
    let frame = ethernet_frame(&[], ethertype::IPV6, &v6(60, &[6, 3, 0, 0, 0, 0, 0, 0]));
    assert_eq!(reason(&frame), Some(Reason::BadExtension));
}

#[test]
fn other_ethertypes_are_not_ip() {
    let frame = ethernet_frame(&[], 0x0806, &[0; 28]);
    assert_eq!(Packet::parse(&frame[..]), Ok(None));
}

#[test]
fn no_prefix_and_no_flipped_byte_panics() {
    let whole = [
        v4_frame(6, &tcp(16)),
        ethernet_frame(&[0x8100], ethertype::IPV6, &v6(6, &tcp(16))),
        udp_frame(),
    ];
    for frame in whole {
        for end in 0..frame.len() {
            let _ = Packet::parse(&frame[..end]);
        }
        for at in 0..frame.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] = value;
                if let Ok(Some(packet)) = Packet::parse(&changed[..]) {
                    assert!(u32::from(packet.payload) <= packet.end && packet.end as usize <= changed.len());
                }
            }
        }
    }
}

fn udp_frame() -> Vec<u8> {
    v4_frame(17, &[0, 53, 0, 53, 0, 8, 0, 0])
}
