//! From a frame to a TCP segment that the server would take: headers and checksums.

use filter_common::{Bytes, FlowKey, Packet, packet::protocol};

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
}

/// Checks a frame as the server's stack will. A checksum that a sender left to its hardware is completed in
/// place, so that what is sent on is a whole packet.
///
/// # Errors
///
/// The reason to drop the frame.
pub fn inspect(frame: &mut [u8]) -> Result<Inspected, EngineDrop> {
    let (packet, is_partial) = check(frame)?;
    let transport = usize::from(packet.transport);
    if is_partial {
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
        ),
        segment: Segment {
            seq: Seq(read(4)?),
            flags: Flags(packet.tcp_flags),
            offset: packet.payload,
            len: packet.payload_length() as u16,
        },
        acknowledgement: Seq(read(8)?),
        packet,
    })
}

/// Checks headers and checksums. Returns whether the TCP checksum is one that its sender has left to be completed, too.
pub(super) fn check(frame: &[u8]) -> Result<(Packet, bool), EngineDrop> {
    let packet = match Packet::parse(frame) {
        Ok(Some(packet)) if packet.protocol == protocol::TCP && !packet.fragment => packet,
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
