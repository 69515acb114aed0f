//! Segments made by the engine: the page and the FIN to the client, resets to either side.

use filter_common::{Bytes, packet::tcp_flag};

use super::inspect::{Inspected, pseudo_header};
use crate::flow::{Seq, checksum};

const TTL: u8 = 64;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const OPTION_NOP: u8 = 1;
const OPTION_TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LENGTH: u8 = 10;
/// Two NOPs and the option, as every stack lays it out (RFC 7323 appendix A).
const PADDED_TIMESTAMPS: usize = 12;
/// How far a page's timestamp runs ahead of the server's last one that the client has echoed. The client may have seen
/// later ones since, and discards what is older than those (RFC 7323 §5.3); what is ahead by less than 2³¹ it takes.
const AHEAD: u32 = 1 << 20;

/// Payload bytes in one segment: an MTU of 1280 (RFC 8200 §5) less the headers.
pub const SEGMENT_BYTES: usize = 1280 - IPV6_HEADER - TCP_HEADER - PADDED_TIMESTAMPS;

/// Where a segment goes, seen from a packet of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// Back to where the packet came from.
    Client,
    /// On to where it was going.
    Server,
}

/// The TCP part of a segment to make.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Direction.
    pub towards: Towards,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// [`tcp_flag`] bits.
    pub flags: u8,
    /// Payload.
    pub payload: &'a [u8],
}

/// The timestamps of a segment: its own and the echoed one (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timestamps {
    value: u32,
    echo: u32,
}

/// Writes a whole frame that answers, or goes on from, the client's packet in `frame`.
pub fn build(frame: &[u8], from: &Inspected, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let packet = &from.packet;
    // The server accepts the client's own timestamp again, the client one that is no older than the last it saw.
    let timestamps = timestamps(frame, from).map(|seen| match reply.towards {
        Towards::Client => Timestamps {
            value: seen.echo.wrapping_add(AHEAD),
            echo: seen.value,
        },
        Towards::Server => seen,
    });
    let options = if timestamps.is_some() {
        PADDED_TIMESTAMPS
    } else {
        0
    };
    let ip_header = if packet.is_v4 { IPV4_HEADER } else { IPV6_HEADER };
    let segment_length = TCP_HEADER + options + reply.payload.len();

    out.clear();
    link_header(frame, usize::from(packet.network), reply.towards, out);
    let network = out.len();
    let (source, destination) = match reply.towards {
        Towards::Client => (packet.destination, packet.source),
        Towards::Server => (packet.source, packet.destination),
    };
    if packet.is_v4 {
        out.extend_from_slice(&[0x45, 0]);
        out.extend_from_slice(&((ip_header + segment_length) as u16).to_be_bytes());
        // No identification, don't fragment (RFC 6864 §4.1).
        out.extend_from_slice(&[0, 0, 0x40, 0, TTL, 6, 0, 0]);
        out.extend_from_slice(&source.octets[12..]);
        out.extend_from_slice(&destination.octets[12..]);
        checksum::complete_ipv4_header(&mut out[network..]);
    } else {
        out.extend_from_slice(&[0x60, 0, 0, 0]);
        out.extend_from_slice(&(segment_length as u16).to_be_bytes());
        out.extend_from_slice(&[6, TTL]);
        out.extend_from_slice(&source.octets);
        out.extend_from_slice(&destination.octets);
    }

    let transport = out.len();
    let (source_port, destination_port) = match reply.towards {
        Towards::Client => (packet.destination_port, packet.source_port),
        Towards::Server => (packet.source_port, packet.destination_port),
    };
    out.extend_from_slice(&source_port.to_be_bytes());
    out.extend_from_slice(&destination_port.to_be_bytes());
    out.extend_from_slice(&reply.seq.0.to_be_bytes());
    out.extend_from_slice(&reply.ack.0.to_be_bytes());
    out.extend_from_slice(&[(((TCP_HEADER + options) / 4) << 4) as u8, reply.flags]);
    let window: u16 = if reply.flags & tcp_flag::RST == 0 {
        0x2000
    } else {
        0
    };
    out.extend_from_slice(&window.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    if let Some(Timestamps { value, echo }) = timestamps {
        out.extend_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, TIMESTAMPS_LENGTH]);
        out.extend_from_slice(&value.to_be_bytes());
        out.extend_from_slice(&echo.to_be_bytes());
    }
    out.extend_from_slice(reply.payload);
    // The sum does not depend on the direction.
    let pseudo = pseudo_header(packet, out.len() - transport);
    checksum::complete(&mut out[transport..], pseudo);
}

/// Ethernet and VLAN headers of the client's packet, turned round where the segment goes back.
fn link_header(frame: &[u8], length: usize, towards: Towards, out: &mut Vec<u8>) {
    match towards {
        Towards::Client => {
            out.extend_from_slice(&frame[6..12]);
            out.extend_from_slice(&frame[..6]);
            out.extend_from_slice(&frame[12..length]);
        }
        Towards::Server => out.extend_from_slice(&frame[..length]),
    }
}

/// The timestamps option of the client's packet, if it has one.
fn timestamps(frame: &[u8], from: &Inspected) -> Option<Timestamps> {
    let mut options =
        frame.get(usize::from(from.packet.transport) + TCP_HEADER..usize::from(from.packet.payload))?;
    loop {
        match *options {
            [OPTION_NOP, ..] => options = &options[1..],
            [OPTION_TIMESTAMPS, TIMESTAMPS_LENGTH, ..] => {
                return Some(Timestamps {
                    value: options.u32(2)?,
                    echo: options.u32(6)?,
                });
            }
            [kind, length, ..] if kind >= 2 && length >= 2 => options = options.get(usize::from(length)..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use filter_common::Packet;

    use super::*;
    use crate::engine::inspect::inspect;

    /// A GET of a client with timestamps 7 (its own) and 9 (echoed).
    fn request(v6: bool) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
        let payload = b"GET / HTTP/1.1\r\n\r\n";
        let segment = 32 + payload.len();
        if v6 {
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, segment as u8, 6, 64]);
            frame.extend_from_slice(&Ipv6Addr::new(0xfd71, 0, 0, 0, 0, 0, 0, 1).octets());
            frame.extend_from_slice(&Ipv6Addr::new(0xfd72, 0, 0, 0, 0, 0, 0, 2).octets());
        } else {
            frame.extend_from_slice(&[8, 0, 0x45, 0, 0, 20 + segment as u8, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend_from_slice(&[10, 71, 0, 1, 10, 72, 0, 2]);
            checksum::complete_ipv4_header(&mut frame[14..]);
        }
        let transport = frame.len();
        frame.extend_from_slice(&[
            0x9c,
            0x40,
            0,
            80,
            0,
            0,
            1,
            0,
            0,
            0,
            2,
            0,
            8 << 4,
            0x18,
            1,
            0,
            0,
            0,
            0,
            0,
        ]);
        frame.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9]);
        frame.extend_from_slice(payload);
        let packet = Packet::parse(&frame[..]).expect("well-formed").expect("IP");
        let pseudo = pseudo_header(&packet, frame.len() - transport);
        checksum::complete(&mut frame[transport..], pseudo);
        frame
    }

    #[test]
    fn answers_are_valid_packets_in_the_other_direction() {
        for v6 in [false, true] {
            let mut frame = request(v6);
            let from = inspect(&mut frame).expect("valid");
            let reply = Reply {
                towards: Towards::Client,
                seq: from.acknowledgement,
                ack: from.segment.end(),
                flags: tcp_flag::ACK | tcp_flag::FIN,
                payload: b"page",
            };
            let mut out = Vec::new();
            build(&frame, &from, &reply, &mut out);
            let answer = inspect(&mut out).expect("checksums are right");
            assert_eq!(answer.key, from.key.reversed());
            assert_eq!(answer.segment.payload(&out), Some(&b"page"[..]));
            assert_eq!(
                timestamps(&out, &answer),
                Some(Timestamps {
                    value: 9 + AHEAD,
                    echo: 7
                })
            );
            assert_eq!(&out[..6], &frame[6..12]);

            let reset = Reply {
                towards: Towards::Server,
                flags: tcp_flag::RST,
                payload: b"",
                ..reply
            };
            build(&frame, &from, &reset, &mut out);
            let on = inspect(&mut out).expect("checksums are right");
            assert_eq!(on.key, from.key);
            let expected: IpAddr = if v6 {
                Ipv6Addr::new(0xfd72, 0, 0, 0, 0, 0, 0, 2).into()
            } else {
                Ipv4Addr::new(10, 72, 0, 2).into()
            };
            assert_eq!(IpAddr::from(on.packet.destination), expected);
            assert_eq!(out[..14], frame[..14]);
        }
    }

    #[test]
    fn broken_options_carry_no_timestamps() {
        let mut frame = request(false);
        let from = inspect(&mut frame).expect("valid");
        for options in [[8, 10, 0], [8, 0, 0], [2, 1, 0], [0, 8, 10], [3, 60, 0]] {
            frame[54..57].copy_from_slice(&options);
            assert_eq!(
                timestamps(&frame, &from).filter(|_| options[..2] != [8, 10]),
                None,
                "{options:?}"
            );
        }
    }
}
