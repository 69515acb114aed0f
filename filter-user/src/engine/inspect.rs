//! From a frame to a TCP segment that the server would take: headers and checksums.

use std::ops::Range;

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
    let packet = match Packet::parse(&*frame) {
        Ok(Some(packet)) if packet.protocol == protocol::TCP && !packet.fragment => packet,
        _ => return Err(EngineDrop::NotTcp),
    };
    let transport = usize::from(packet.transport)..usize::from(packet.end);
    if packet.is_v4 {
        let header = &frame[usize::from(packet.network)..transport.start];
        if !checksum::ipv4_header_is_valid(header) {
            return Err(EngineDrop::BadIpChecksum);
        }
    }
    let pseudo = pseudo_header(&packet, &transport);
    match checksum::verify(&frame[transport.clone()], pseudo) {
        Checksum::Valid => {}
        Checksum::Partial => checksum::complete(&mut frame[transport.clone()], pseudo),
        Checksum::Bad => return Err(EngineDrop::BadTcpChecksum),
    }
    let read = |offset: usize| (*frame).u32(transport.start + offset).ok_or(EngineDrop::NotTcp);
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
            len: packet.end - packet.payload,
        },
        acknowledgement: Seq(read(8)?),
        packet,
    })
}

/// The pseudo-header sum of the TCP segment at `transport`.
#[must_use]
pub fn pseudo_header(packet: &Packet, transport: &Range<usize>) -> PseudoHeader {
    let (source, destination) = (packet.source.octets, packet.destination.octets);
    let length = transport.len();
    if packet.is_v4 {
        let v4 = |octets: [u8; 16]| [octets[12], octets[13], octets[14], octets[15]];
        PseudoHeader::ipv4(v4(source), v4(destination), length as u16)
    } else {
        PseudoHeader::ipv6(source, destination, length as u32)
    }
}
