//! From a frame to a TCP segment that the server would take: headers and checksums.

use filter_common::{
    Bytes, FlowKey, Packet,
    packet::{protocol, tcp_flag},
};

use super::EngineDrop;
use crate::flow::{
    Flags, Segment, Seq,
    checksum::{self, Checksum, PseudoHeader},
};

/// A checked TCP segment inside its frame.
#[derive(Clone, Copy, Debug)]
pub struct Inspected {
    /// The headers.
    pub packet: Packet,
    /// The flow.
    pub key: FlowKey,
    /// What the stream layer needs.
    pub segment: Segment,
    /// Acknowledgement number; meaningful with the ACK flag.
    pub acknowledgement: Seq,
    /// The segment had urgent data.
    pub urgent: bool,
}

/// Where a TCP header has its flags and its urgent pointer.
const FLAGS: usize = 13;
const URGENT_POINTER: usize = 18;

/// Checks a frame as the server's stack will. A checksum that a sender left to its hardware is completed in
/// place, so that what is sent on is a whole packet. A server takes the urgent byte out of the stream (RFC 6093 §3.1; which
/// one it is, stacks disagree about), so that it would read other bytes than are scored: urgent data lose their mark.
///
/// # Errors
///
/// The reason to drop the frame.
pub fn inspect(frame: &mut [u8]) -> Result<Inspected, EngineDrop> {
    let (mut packet, is_partial) = check(frame)?;
    let transport = usize::from(packet.transport);
    let urgent = packet.tcp_flags & tcp_flag::URG != 0;
    if urgent {
        packet.tcp_flags &= !tcp_flag::URG;
        frame[transport + FLAGS] &= !tcp_flag::URG;
        frame[transport + URGENT_POINTER..][..2].fill(0);
    }
    if is_partial || urgent {
        let segment = &mut frame[transport..packet.end as usize];
        let pseudo = pseudo_header(&packet, segment.len());
        checksum::complete(segment, pseudo);
    }
    let read = |offset: usize| (*frame).u32(transport + offset).ok_or(EngineDrop::NotTcp);
    Ok(Inspected {
        key: FlowKey::tcp(
            packet.source,
            packet.source_port,
            packet.destination,
            packet.destination_port,
        )
        .in_vlan(packet.vlan(&*frame)),
        segment: Segment {
            seq: Seq(read(4)?),
            flags: Flags(packet.tcp_flags),
            offset: packet.payload,
            len: packet.payload_length() as u16,
        },
        acknowledgement: Seq(read(8)?),
        packet,
        urgent,
    })
}

/// Checks headers and checksums. Returns whether the TCP checksum is one that its sender has left to be completed, too.
pub(super) fn check(frame: &[u8]) -> Result<(Packet, bool), EngineDrop> {
    let packet = match Packet::parse(frame) {
        Ok(Some(packet)) if packet.protocol == protocol::TCP && !packet.fragment => packet,
        Ok(Some(packet)) if packet.fragment && packet.may_hold_tcp() => return Err(EngineDrop::Fragment),
        _ => return Err(EngineDrop::NotTcp),
    };
    let transport = usize::from(packet.transport);
    if packet.is_v4 && !checksum::ipv4_header_is_valid(&frame[usize::from(packet.network)..transport]) {
        return Err(EngineDrop::BadIpChecksum);
    }
    let segment = &frame[transport..packet.end as usize];
    match checksum::verify(segment, pseudo_header(&packet, segment.len())) {
        Checksum::Valid => Ok((packet, false)),
        Checksum::Partial => Ok((packet, true)),
        Checksum::Bad => Err(EngineDrop::BadTcpChecksum),
    }
}

/// The pseudo-header sum of a TCP segment of `length` bytes, header and payload, with `packet`'s addresses.
#[must_use]
pub fn pseudo_header(packet: &Packet, length: usize) -> PseudoHeader {
    let (source, destination) = (packet.source.octets, packet.destination.octets);
    if packet.is_v4 {
        let v4 = |octets: [u8; 16]| [octets[12], octets[13], octets[14], octets[15]];
        PseudoHeader::ipv4(v4(source), v4(destination), length as u16)
    } else {
        PseudoHeader::ipv6(source, destination, length as u32)
    }
}
