//! Tricks with which a client shows a filter another stream than the server reads.
//!
//! Each is one of those of Ptacek and Newsham ("Insertion, Evasion, and Denial of Service: Eluding Network Intrusion
//! Detection", 1998) or of their successors. Every trick is played four times: without the engine an attack and its
//! benign twin must reach nginx, or the trick is none; with the engine the twin must be answered as before and the
//! attack must not arrive.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{
    RawTcp,
    frame::{Checksum, Tcp, flag},
    http::Response,
};

use crate::support::{
    SOON,
    engine::RunningEngine,
    site::{self, Site},
    trick::in_two_runs,
};

const ATTACK: &[u8] =
    b"GET /1k?id=1'+UNION+SELECT+password+FROM+users-- HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
const BENIGN: &[u8] =
    b"GET /1k?id=1.+Onions+salad+with+pepper+and+oil.. HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
/// What the attacker wants the filter to see instead; as long as the others.
const DECOY: &[u8] =
    b"GET /1k?id=1234567890123456789012345678901234567 HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";

/// How long to wait for an answer that should not come.
const NOTHING: Duration = Duration::from_secs(1);

/// A header of IPv6, and one of eight bytes that says nothing: padded by `PadN` (RFC 8200 §4.2, §4.6).
const DESTINATION_OPTIONS: u8 = 60;
const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

/// Sends a request so that the server reads it and somebody in between may read `decoy`, which has the same length.
pub(crate) type Trick = fn(client: &mut RawTcp, request: &[u8], decoy: &[u8]) -> Result<()>;

/// Plays a trick over IPv4 and IPv6, without the engine and with it.
pub(crate) fn play(trick: Trick) -> Result<()> {
    play_on(&site::nginx(), trick)
}

fn play_on(servers: &[SocketAddr], trick: Trick) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let without = || {
        for &server in servers {
            for (request, decoy) in [(ATTACK, DECOY), (BENIGN, BENIGN)] {
                let answer = request_by(trick, &site, server, (request, decoy), SOON)?;
                ensure!(answer.status == 200, "{answer:?}");
            }
        }
        Ok(servers.len())
    };
    let with = |_: &RunningEngine| {
        for &server in servers {
            let answer = request_by(trick, &site, server, (BENIGN, BENIGN), SOON);
            let answer = answer.context("the benign twin")?;
            ensure!(answer.status == 200, "the benign twin: {answer:?}");
            let answer = request_by(trick, &site, server, (ATTACK, DECOY), NOTHING);
            ensure!(
                answer.as_ref().map_or(true, |answer| answer.status != 200),
                "the attack was answered: {answer:?}"
            );
        }
        Ok(())
    };
    in_two_runs(&site, "UNION", &["engine.on_failure=drop"], without, with)
}

fn request_by(
    trick: Trick,
    site: &Site,
    server: SocketAddr,
    (request, decoy): (&[u8], &[u8]),
    patience: Duration,
) -> Result<Response> {
    let mut client = RawTcp::new(&site.lab, server)?;
    trick(&mut client, request, decoy)?;
    client.response(patience)
}

/// Sends the request in two segments.
pub(crate) fn send(client: &mut RawTcp, request: &[u8]) -> Result<()> {
    client.send_segment(0, &request[..20], flag::PSH)?;
    client.send_segment(20, &request[20..], flag::PSH)
}

/// Sends a segment of which the server takes nothing, and remembers nothing of it.
fn send_lost(client: &RawTcp, offset: u32, payload: &[u8], change: impl FnOnce(&mut Tcp)) -> Result<()> {
    let mut tcp = client.segment(offset, payload, flag::PSH);
    change(&mut tcp);
    client.send_tcp(tcp)
}

#[test]
fn requests_are_as_long_as_their_decoy() {
    assert_eq!([ATTACK.len(), BENIGN.len()], [DECOY.len(); 2]);
}

#[test]
fn wrong_tcp_checksum() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        client.checksum = Checksum::Wrong;
        client.send_segment(0, decoy, flag::PSH)?;
        client.checksum = Checksum::Valid;
        send(client, request)
    })
}

#[test]
fn sequence_number_outside_the_window() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        for far in [0x0800_0000, 0x8000_0000, 0xf000_0000] {
            send_lost(client, far, decoy, |_| {})?;
        }
        send(client, request)
    })
}

#[test]
fn no_acknowledgement_flag() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        send_lost(client, 0, decoy, |tcp| tcp.flags &= !flag::ACK)?;
        send(client, request)
    })
}

/// Linux ignores the data of an acknowledgement of what it has not sent (RFC 9293 §3.10.7.4).
#[test]
fn acknowledgement_of_what_was_never_sent() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        send_lost(client, 0, decoy, |tcp| {
            tcp.acknowledgement = tcp.acknowledgement.wrapping_add(0x4000_0000);
        })?;
        send(client, request)
    })
}

#[test]
fn timestamp_from_the_past() -> Result<()> {
    play(|client, request, decoy| {
        client.timestamp = Some(100_000);
        client.open()?;
        client.timestamp = Some(1_000);
        client.send_segment(0, decoy, flag::PSH)?;
        client.timestamp = Some(100_001);
        send(client, request)
    })
}

#[test]
fn reset_outside_the_window() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        for far in [0x0800_0000, 0x8000_0000, 0xf000_0000] {
            send_lost(client, far, b"", |tcp| tcp.flags = flag::RST)?;
        }
        send(client, request)
    })
}

/// The server asks whether it was meant (RFC 5961 §3.2).
#[test]
fn reset_inside_the_window_but_not_at_its_edge() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        client.send_segment(0, &request[..20], flag::PSH)?;
        send_lost(client, 120, b"", |tcp| tcp.flags = flag::RST)?;
        client.send_segment(20, &request[20..], flag::PSH)
    })
}

#[test]
fn reset_with_a_wrong_checksum() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        client.send_segment(0, &request[..20], flag::PSH)?;
        client.checksum = Checksum::Wrong;
        send_lost(client, 20, b"", |tcp| tcp.flags = flag::RST)?;
        client.checksum = Checksum::Valid;
        client.send_segment(20, &request[20..], flag::PSH)
    })
}

#[test]
fn end_outside_the_window() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        for far in [0x0800_0000, 0x8000_0000, 0xf000_0000] {
            send_lost(client, far, b"", |tcp| tcp.flags |= flag::FIN)?;
        }
        send(client, request)
    })
}

/// A server that does not do TCP Fast Open ignores it (RFC 9293 §3.10.7.2: it may wait until the connection is open).
#[test]
fn data_on_the_syn() -> Result<()> {
    play(|client, request, decoy| {
        let mut syn = client.syn();
        syn.payload = decoy.to_vec();
        client.send_tcp(syn)?;
        client.open()?;
        send(client, request)
    })
}

/// The server answers with an acknowledgement (RFC 5961 §4.2).
#[test]
fn another_syn_in_the_middle() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        client.send_segment(0, &request[..20], flag::PSH)?;
        let mut syn = client.syn();
        syn.sequence = syn.sequence.wrapping_add(0x1234_5678);
        client.send_tcp(syn)?;
        client.send_segment(20, &request[20..], flag::PSH)
    })
}

/// The server takes the urgent byte out of the stream.
#[test]
fn urgent_byte_inside_of_a_word() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        let inside = 17;
        let marked = [&request[..inside], b"X"].concat();
        let mut tcp = client.segment(0, &marked, flag::PSH | flag::URG);
        tcp.urgent = marked.len() as u16;
        client.send_tcp(tcp)?;
        // nginx reads up to the mark, and goes on only when something more arrives after that.
        client.receive_for(Duration::from_millis(300))?;
        client.send_segment(marked.len() as u32, &request[inside..], flag::PSH)
    })
}

/// Of two segments behind a gap the server keeps the one that covers the other.
#[test]
fn overlap_that_covers_an_older_segment() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        client.send_segment(14, &decoy[14..40], flag::PSH)?;
        client.send_segment(8, &request[8..], flag::PSH)?;
        client.send_segment(0, &request[..8], flag::PSH)?;
        client.send_segment(8, &request[8..], flag::PSH)
    })
}

/// Of two segments for the same place behind a gap the server keeps the older one.
#[test]
fn overlap_with_a_newer_segment() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        client.send_segment(8, &request[8..], flag::PSH)?;
        client.send_segment(8, &decoy[8..], flag::PSH)?;
        client.send_segment(0, &request[..8], flag::PSH)
    })
}

/// What the server has it does not take again.
#[test]
fn overlap_with_what_has_arrived() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        client.send_segment(0, &request[..40], flag::PSH)?;
        client.send_segment(0, &decoy[..60], flag::PSH)?;
        client.send_segment(40, &request[40..], flag::PSH)
    })
}

#[test]
fn one_byte_a_segment() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        for (at, byte) in request.iter().enumerate() {
            client.send_segment(at as u32, &[*byte], flag::PSH)?;
        }
        Ok(())
    })
}

#[test]
fn one_byte_a_segment_from_the_end() -> Result<()> {
    play(|client, request, _| {
        client.open()?;
        for (at, byte) in request.iter().enumerate().rev() {
            client.send_segment(at as u32, &[*byte], flag::PSH)?;
        }
        // So many are more than the engine holds for one flow: as any client, this one sends again what is not acknowledged.
        for (at, byte) in request.iter().enumerate() {
            client.send_segment(at as u32, &[*byte], flag::PSH)?;
        }
        Ok(())
    })
}

/// A request in a segment that comes in fragments, in this order.
fn in_fragments(client: &mut RawTcp, request: &[u8], order: &[usize]) -> Result<()> {
    client.open()?;
    let frame = client.frame(client.segment(0, request, flag::PSH));
    let parts = frame.fragments(&[24, 40, 64], 0x1234);
    for part in order {
        client.send_bytes(&parts[*part])?;
    }
    // So that it counts as sent.
    client.send_segment(request.len() as u32, b"", 0)
}

#[test]
fn fragments_in_order() -> Result<()> {
    play(|client, request, _| in_fragments(client, request, &[0, 1, 2, 3]))
}

#[test]
fn fragments_from_the_end_and_some_twice() -> Result<()> {
    play(|client, request, _| in_fragments(client, request, &[3, 2, 3, 1, 2, 0]))
}

/// Linux takes none of the packet's fragments then, so the client sends it once more, whole.
#[test]
fn fragments_that_overlap() -> Result<()> {
    play(|client, request, decoy| {
        client.open()?;
        let frame = |bytes: &[u8]| client.frame(client.segment(0, bytes, flag::PSH));
        let parts = frame(request).fragments(&[24, 64], 0x4321);
        let others = frame(decoy).fragments(&[24, 40, 80], 0x4321);
        for part in [&parts[0], &others[2], &parts[1], &parts[2]] {
            client.send_bytes(part)?;
        }
        send(client, request)
    })
}

/// What the fragment header names is not TCP but one more header.
#[test]
fn fragments_with_another_header_in_front_of_tcp() -> Result<()> {
    play_on(&site::nginx()[1..], |client, request, _| {
        client.open()?;
        let tcp = client.segment(0, request, flag::PSH);
        let mut inner = client.frame(tcp);
        // Behind the fragment header come destination options, and TCP behind those.
        inner.extension_headers = vec![(DESTINATION_OPTIONS, PADDING.to_vec())];
        for part in behind_fragment_header(&inner) {
            client.send_bytes(&part)?;
        }
        client.send_segment(request.len() as u32, b"", 0)
    })
}

/// Two fragments, of which the first has all headers: Linux takes no others.
fn behind_fragment_header(frame: &xtask::lab::frame::Frame) -> [Vec<u8>; 2] {
    const IP: usize = 14;
    const HEADERS: usize = IP + 40;
    const FIRST: usize = 32;
    let whole = frame.to_bytes();
    let [first, second] = [
        (HEADERS, HEADERS + FIRST, 1),
        (HEADERS + FIRST, whole.len(), FIRST as u16),
    ];
    [first, second].map(|(from, to, field): (usize, usize, u16)| {
        let mut bytes = whole[..HEADERS].to_vec();
        bytes[IP + 4..IP + 6].copy_from_slice(&((8 + to - from) as u16).to_be_bytes());
        bytes[IP + 6] = 44;
        bytes.extend([DESTINATION_OPTIONS, 0]);
        bytes.extend(field.to_be_bytes());
        bytes.extend(9_u32.to_be_bytes());
        bytes.extend_from_slice(&whole[from..to]);
        bytes
    })
}

#[test]
fn options_of_ipv4() -> Result<()> {
    play_on(&site::nginx()[..1], |client, request, _| {
        client.open()?;
        let mut frame = client.frame(client.segment(0, request, flag::PSH));
        frame.ip_options = vec![1; 40];
        client.send_frame(&frame)?;
        client.send_segment(request.len() as u32, b"", 0)
    })
}

#[test]
fn extension_headers_of_ipv6() -> Result<()> {
    play_on(&site::nginx()[1..], |client, request, _| {
        client.open()?;
        let mut frame = client.frame(client.segment(0, request, flag::PSH));
        frame.extension_headers = vec![(DESTINATION_OPTIONS, PADDING.to_vec()); 2];
        client.send_frame(&frame)?;
        client.send_segment(request.len() as u32, b"", 0)
    })
}
