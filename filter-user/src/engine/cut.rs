//! Cuts a TCP packet that is larger than what may be sent on into segments.
//!
//! A kernel joins segments that it receives, and does not cut at all what it sends to a virtual neighbour. What it
//! has joined it cuts again on the way out, but of the packets that come here it no longer knows how large their
//! segments were. So they are cut to what both ends can take: the MTU, and the segment size that the server has
//! announced.

use filter_common::{
    Packet,
    packet::{MAX_HEADERS, tcp_flag},
};

use super::{
    EngineDrop,
    inspect::{check, pseudo_header},
};
use crate::flow::checksum;

const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
/// Congestion window reduced (RFC 3168 §6.1): said once.
const CWR: u8 = 128;
/// The segment size of a server that has not announced one (RFC 9293 §3.7.1).
const DEFAULT_MSS_V4: usize = 536;
const DEFAULT_MSS_V6: usize = 1220;
/// Least payload of a segment, bytes. It bounds how many frames one packet becomes.
const LEAST_PAYLOAD: usize = 64;
/// Ethernet, IPv4 and TCP without options: no frame has smaller headers.
const LEAST_HEADERS: usize = 14 + 20 + TCP_HEADER;

/// What may be sent on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest IP packet, bytes.
    pub mtu: usize,
    /// What the server has announced as its largest segment, bytes without headers but with TCP options (RFC 6691);
    /// 0 if that is not known.
    pub mss: usize,
}

impl Limits {
    /// Whether a frame need not be cut.
    #[must_use]
    pub fn admit(&self, frame: &[u8]) -> bool {
        let mss = if self.mss == 0 { usize::MAX } else { self.mss };
        // Nearly all need not be parsed for that.
        frame.len() <= LEAST_HEADERS.saturating_add(mss.min(self.mtu.saturating_sub(LEAST_HEADERS - 14)))
            || Packet::parse(frame)
                .ok()
                .flatten()
                .is_none_or(|packet| self.admits(&packet))
    }

    fn admits(&self, packet: &Packet) -> bool {
        let (network, transport) = (usize::from(packet.network), usize::from(packet.transport));
        let end = packet.end as usize;
        end - network <= self.mtu && (self.mss == 0 || end <= transport + TCP_HEADER + self.mss)
    }

    /// Payload bytes of a segment of `packet`.
    fn payload(&self, packet: &Packet) -> Result<usize, EngineDrop> {
        if self.admits(packet) {
            return Ok(packet.payload_length());
        }
        // What no kernel joins, because it means one place in the stream.
        if packet.tcp_flags & (tcp_flag::SYN | tcp_flag::RST | tcp_flag::URG) != 0 {
            return Err(EngineDrop::NotCuttable);
        }
        let headers = usize::from(packet.payload - packet.network);
        let options = usize::from(packet.payload - packet.transport) - TCP_HEADER;
        let mss = match self.mss {
            0 if packet.is_v4 => DEFAULT_MSS_V4,
            0 => DEFAULT_MSS_V6,
            mss => mss,
        };
        let by_mtu = self.mtu.saturating_sub(headers);
        if by_mtu < LEAST_PAYLOAD {
            return Err(EngineDrop::NotCuttable);
        }
        Ok(by_mtu.min(mss.saturating_sub(options).max(LEAST_PAYLOAD)))
    }
}

/// A packet that is being cut. Each segment is made in the packet's own memory: its headers overwrite the end of the
/// one before it, which has gone by then.
#[derive(Debug)]
pub struct Cut<'a> {
    frame: &'a mut [u8],
    packet: Packet,
    /// The packet's headers, as they were.
    headers: [u8; MAX_HEADERS],
    /// Payload bytes of each segment but the last.
    size: usize,
    /// Payload bytes that have gone; `None` if all have.
    done: Option<usize>,
}

impl<'a> Cut<'a> {
    /// Checks the packet, its whole checksum included, and cuts it within `limits`. A packet that they admit becomes one
    /// segment: itself, with its checksum completed and without padding.
    ///
    /// # Errors
    ///
    /// The reason to drop the packet.
    pub fn new(frame: &'a mut [u8], limits: &Limits) -> Result<Self, EngineDrop> {
        let (packet, _) = check(frame)?;
        let size = limits.payload(&packet)?;
        let mut headers = [0; MAX_HEADERS];
        let length = usize::from(packet.payload);
        headers
            .get_mut(..length)
            .ok_or(EngineDrop::NotCuttable)?
            .copy_from_slice(&frame[..length]);
        Ok(Self {
            frame,
            packet,
            headers,
            size,
            done: Some(0),
        })
    }

    /// The packet's headers.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The next segment, a whole frame.
    pub fn next_segment(&mut self) -> Option<&[u8]> {
        let done = self.done?;
        let left = self.packet.payload_length() - done;
        let length = left.min(self.size);
        let is_last = length == left;
        self.done = (!is_last).then_some(done + length);

        let (network, transport) = (
            usize::from(self.packet.network),
            usize::from(self.packet.transport),
        );
        let headers = usize::from(self.packet.payload);
        let segment = &mut self.frame[done..done + headers + length];
        let end = segment.len();
        segment[..headers].copy_from_slice(&self.headers[..headers]);

        let (ip, tcp) = segment.split_at_mut(transport);
        let ip = &mut ip[network..];
        if self.packet.is_v4 {
            let number = (done / self.size.max(1)) as u16;
            let identification = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(number);
            ip[2..4].copy_from_slice(&((end - network) as u16).to_be_bytes());
            ip[4..6].copy_from_slice(&identification.to_be_bytes());
            checksum::complete_ipv4_header(ip);
        } else {
            ip[4..6].copy_from_slice(&((end - network - IPV6_HEADER) as u16).to_be_bytes());
        }

        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(done as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if done > 0 {
            tcp[13] &= !CWR;
        }
        if !is_last {
            tcp[13] &= !(tcp_flag::FIN | tcp_flag::PSH);
        }
        let pseudo = pseudo_header(&self.packet, tcp.len());
        checksum::complete(tcp, pseudo);
        Some(segment)
    }
}

#[cfg(test)]
mod tests;
