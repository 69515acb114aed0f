//! The header parser of both sides: Ethernet, VLAN, IPv4, IPv6 with extension headers, TCP, UDP, ICMP.
//!
//! Generic over [`Bytes`], so that the XDP program runs it on a packet (each read checked against `data_end`,
//! which the verifier wants to see) and userspace and tests on slices.

use crate::{Address, Reason};

/// Read access to a frame. Reads are big-endian; `None` means beyond the end.
///
/// There is no single-byte read: of the check `at + 1 > end` the compiler makes `at >= end`, from which the
/// kernel's verifier learns nothing (`find_good_pkt_pointers`, kernel/bpf/verifier.c).
pub trait Bytes {
    /// Whether the frame has so many bytes.
    fn holds(&self, bytes: usize) -> bool;
    /// Two bytes.
    fn u16(&self, at: usize) -> Option<u16>;
    /// Four bytes.
    fn u32(&self, at: usize) -> Option<u32>;
    /// Several times four bytes: one look whether they are there, for all of them.
    fn words<const N: usize>(&self, at: usize) -> Option<[u32; N]>;
    /// An IPv6 address.
    fn address_v6(&self, at: usize) -> Option<Address>;
}

impl Bytes for [u8] {
    fn holds(&self, bytes: usize) -> bool {
        bytes <= self.len()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.get(at..)?
            .first_chunk()
            .map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.get(at..)?
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn words<const N: usize>(&self, at: usize) -> Option<[u32; N]> {
        let (words, _) = self.get(at..)?.as_chunks();
        let words: &[_; N] = words.first_chunk()?;
        Some(words.map(u32::from_be_bytes))
    }

    fn address_v6(&self, at: usize) -> Option<Address> {
        self.get(at..)?.first_chunk().map(|bytes| Address::v6(*bytes))
    }
}

/// IP protocol numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMP_V6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// TCP flag bits (RFC 9293 §3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 16;
    /// The urgent pointer is valid.
    pub const URG: u8 = 32;
    /// The flags that say what a segment is for; the others are about congestion.
    pub const ROLE: u8 = FIN | SYN | RST | PSH | ACK | URG;
}

const ETHERNET_HEADER: usize = 14;
const ETHERTYPE: usize = 12;
const VLAN_TAG: usize = 4;
/// The identifier in a tag.
const VLAN_ID_BITS: u32 = 12;
const VLAN_ID: u16 = (1 << VLAN_ID_BITS) - 1;
/// Most VLAN tags that are understood: one 802.1Q inside one 802.1ad.
const MAX_VLAN_TAGS: u8 = 2;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Most IPv6 extension headers in one packet. Real ones carry one or two.
const MAX_EXTENSIONS: usize = 6;
/// Furthest transport header, so that the verifier knows a bound. Longer chains of options are an attack.
const MAX_TRANSPORT_OFFSET: usize = 512;
const TCP_HEADER: usize = 20;
/// Largest TCP header (RFC 9293 §3.1): its length is 4 bits, in 4-byte units.
const MAX_TCP_HEADER: usize = 60;
/// Furthest that the headers of a TCP segment reach, in bytes from the start of the frame.
pub const MAX_HEADERS: usize = MAX_TRANSPORT_OFFSET + MAX_TCP_HEADER;
const UDP_HEADER: usize = 8;

mod ethertype {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const VLAN_SERVICE: u16 = 0x88a8;
}

/// A packet that no honest sender makes, with the drop reason it is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub Reason);

/// The headers of a well-formed packet. Offsets count bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Where the IP header starts.
    pub network: u16,
    /// Where the transport header starts.
    pub transport: u16,
    /// Where the transport payload starts; equal to [`Packet::end`] if there is none.
    pub payload: u16,
    /// Where the IP packet ends; what follows is Ethernet padding. Joined segments can end beyond 65,535.
    pub end: u32,
    /// Source port (TCP and UDP, host byte order), else 0.
    pub source_port: u16,
    /// Destination port (TCP and UDP, host byte order), else 0.
    pub destination_port: u16,
    /// Transport protocol number.
    pub protocol: u8,
    /// [`tcp_flag`] bits, 0 for other protocols.
    pub tcp_flags: u8,
    /// VLAN tags in front of the IP header.
    pub vlan_tags: u8,
    /// Whether the packet is IPv4.
    pub is_v4: bool,
    /// Whether the packet is a fragment; ports are then 0 and the transport header is not parsed.
    pub fragment: bool,
    /// Whether there are IPv4 options or IPv6 extension headers.
    pub odd: bool,
}

impl Packet {
    /// Parses a frame. `Ok(None)` is a frame that is neither IPv4 nor IPv6.
    #[inline(always)]
    pub fn parse<B: Bytes + ?Sized>(frame: &B) -> Result<Option<Self>, Malformed> {
        let (network, kind, vlan_tags) = ethernet(frame)?;
        let mut packet = match kind {
            ethertype::IPV4 => ipv4(frame, network)?,
            ethertype::IPV6 => ipv6(frame, network)?,
            _ => return Ok(None),
        };
        packet.vlan_tags = vlan_tags;
        if !packet.fragment {
            transport(frame, &mut packet)?;
        }
        Ok(Some(packet))
    }

    /// The VLANs of its tags, as a [`FlowKey`](crate::FlowKey) has them: twelve bits each (IEEE 802.1Q §9.6). Read from the frame only
    /// when asked for, as hardly any packet has one.
    #[inline(always)]
    #[must_use]
    pub fn vlan<B: Bytes + ?Sized>(&self, frame: &B) -> [u8; 3] {
        self.vlan_behind(None, frame)
    }

    /// The same, of a packet whose outermost tag, with this control field, is not in the frame any more.
    #[inline(always)]
    #[must_use]
    pub fn vlan_behind<B: Bytes + ?Sized>(&self, outer: Option<u16>, frame: &B) -> [u8; 3] {
        let mut vlan = outer.map_or(0, |control| u32::from(control & VLAN_ID));
        for tag in 0..MAX_VLAN_TAGS.min(self.vlan_tags) {
            let control = frame
                .u16(ETHERNET_HEADER + usize::from(tag) * VLAN_TAG)
                .unwrap_or_default();
            vlan = vlan << VLAN_ID_BITS | u32::from(control & VLAN_ID);
        }
        let [_, high, middle, low] = vlan.to_be_bytes();
        [high, middle, low]
    }

    /// Whether TCP is what the packet carries or may carry: of a fragment, the protocol is that of the header behind the
    /// fragment header, which may be one more extension header.
    #[inline(always)]
    #[must_use]
    pub const fn may_hold_tcp(&self) -> bool {
        self.protocol == protocol::TCP || (self.fragment && !self.is_v4 && is_extension(self.protocol))
    }

    /// Bytes of transport payload.
    #[inline(always)]
    #[must_use]
    pub fn payload_length(&self) -> usize {
        self.end as usize - usize::from(self.payload)
    }
}

#[inline(always)]
fn truncated<T>(value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed(Reason::Truncated))
}

#[inline(always)]
fn ensure(condition: bool, reason: Reason) -> Result<(), Malformed> {
    if condition { Ok(()) } else { Err(Malformed(reason)) }
}

/// Returns where the IP header starts, the last ethertype and the number of VLAN tags.
#[inline(always)]
fn ethernet<B: Bytes + ?Sized>(frame: &B) -> Result<(usize, u16, u8), Malformed> {
    let mut offset = ETHERNET_HEADER;
    let mut kind = truncated(frame.u16(ETHERTYPE))?;
    let mut tags = 0;
    while tags < MAX_VLAN_TAGS && is_vlan(kind) {
        kind = truncated(frame.u16(offset + 2))?;
        offset += VLAN_TAG;
        tags += 1;
    }
    ensure(!is_vlan(kind), Reason::VlanDepth)?;
    Ok((offset, kind, tags))
}

#[inline(always)]
fn is_vlan(kind: u16) -> bool {
    kind == ethertype::VLAN || kind == ethertype::VLAN_SERVICE
}

/// RFC 791 §3.1.
#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(frame: &B, network: usize) -> Result<Packet, Malformed> {
    let [first, second, third, source, destination] = truncated(frame.words(network))?;
    let header = (first >> 24 & 0x0f) as usize * 4;
    ensure(first >> 28 == 4 && header >= IPV4_HEADER, Reason::BadIpv4)?;
    let total = (first & 0xffff) as usize;
    ensure(total >= header && frame.holds(network + total), Reason::BadLength)?;
    ensure(source != destination, Reason::SameAddress)?;
    ensure(!is_martian_v4(source), Reason::MartianSource)?;
    Ok(Packet {
        source: Address::v4(source.to_be_bytes()),
        destination: Address::v4(destination.to_be_bytes()),
        network: network as u16,
        transport: (network + header) as u16,
        payload: (network + header) as u16,
        end: (network + total) as u32,
        source_port: 0,
        destination_port: 0,
        protocol: (third >> 16) as u8,
        tcp_flags: 0,
        vlan_tags: 0,
        is_v4: true,
        // More fragments, or an offset.
        fragment: second & 0x3fff != 0,
        odd: header > IPV4_HEADER,
    })
}

/// RFC 8200 §3 and §4.
#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(frame: &B, network: usize) -> Result<Packet, Malformed> {
    let [first, second] = truncated(frame.words(network))?;
    ensure(first >> 28 == 6, Reason::BadIpv6)?;
    let payload_length = (second >> 16) as usize;
    let mut next = (second >> 8) as u8;
    let source = truncated(frame.address_v6(network + 8))?;
    let destination = truncated(frame.address_v6(network + 24))?;
    let end = network + IPV6_HEADER + payload_length;
    ensure(frame.holds(end), Reason::BadLength)?;

    let mut offset = network + IPV6_HEADER;
    let mut fragment = false;
    let mut odd = false;
    let mut finished = false;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            finished = true;
            break;
        }
        let [following, units] = truncated(frame.u16(offset))?.to_be_bytes();
        let length = match next {
            // RFC 4302 §2.2: in 4-byte units, minus 2.
            protocol::AUTHENTICATION => (usize::from(units) + 2) * 4,
            protocol::FRAGMENT => {
                // An "atomic" fragment (RFC 6946: offset 0, no more fragments) is a whole packet.
                fragment |= truncated(frame.u16(offset + 2))? & 0xfff9 != 0;
                8
            }
            _ => (usize::from(units) + 1) * 8,
        };
        odd = true;
        next = following;
        offset += length;
        ensure(offset <= MAX_TRANSPORT_OFFSET, Reason::BadExtension)?;
        if fragment {
            finished = true;
            break;
        }
    }
    ensure(finished || !is_extension(next), Reason::BadExtension)?;
    ensure(offset <= end, Reason::BadExtension)?;
    ensure(source != destination, Reason::SameAddress)?;
    ensure(!is_martian(&source), Reason::MartianSource)?;
    Ok(Packet {
        source,
        destination,
        network: network as u16,
        transport: offset as u16,
        payload: offset as u16,
        end: end as u32,
        source_port: 0,
        destination_port: 0,
        protocol: next,
        tcp_flags: 0,
        vlan_tags: 0,
        is_v4: false,
        fragment,
        odd,
    })
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS
    )
}

/// Sources that cannot arrive from a network: loopback, multicast, limited broadcast (RFC 6890, RFC 4291 §2.7).
#[inline(always)]
fn is_martian(source: &Address) -> bool {
    let [high, low] = source.halves();
    if high == 0 && low >> 32 == 0xffff {
        is_martian_v4(low as u32)
    } else {
        high >> 56 == 0xff || (high == 0 && low == 1)
    }
}

#[inline(always)]
const fn is_martian_v4(source: u32) -> bool {
    let first = source >> 24;
    first == 127 || first >= 224
}

#[inline(always)]
fn transport<B: Bytes + ?Sized>(frame: &B, packet: &mut Packet) -> Result<(), Malformed> {
    let offset = usize::from(packet.transport);
    ensure(offset <= MAX_TRANSPORT_OFFSET, Reason::BadLength)?;
    let end = packet.end as usize;
    match packet.protocol {
        protocol::TCP => {
            ensure(offset + TCP_HEADER <= end, Reason::BadLength)?;
            let [ports, _, _, fourth, _] = truncated(frame.words(offset))?;
            packet.source_port = (ports >> 16) as u16;
            packet.destination_port = ports as u16;
            let header = (fourth >> 28) as usize * 4;
            packet.tcp_flags = (fourth >> 16) as u8 & 0x3f;
            ensure(header >= TCP_HEADER, Reason::BadTcp)?;
            ensure(offset + header <= end, Reason::BadTcp)?;
            packet.payload = (offset + header) as u16;
            flags(packet.tcp_flags)
        }
        protocol::UDP => {
            ensure(offset + UDP_HEADER <= end, Reason::BadLength)?;
            let [ports, second] = truncated(frame.words(offset))?;
            packet.source_port = (ports >> 16) as u16;
            packet.destination_port = ports as u16;
            let length = (second >> 16) as usize;
            ensure(length >= UDP_HEADER && offset + length <= end, Reason::BadLength)?;
            packet.payload = (offset + UDP_HEADER) as u16;
            Ok(())
        }
        protocol::ICMP => ensure(offset + 8 <= end, Reason::BadLength),
        protocol::ICMP_V6 => ensure(offset + 4 <= end, Reason::BadLength),
        _ => Ok(()),
    }
}

/// Combinations that no TCP sends.
#[inline(always)]
fn flags(flags: u8) -> Result<(), Malformed> {
    use tcp_flag::{ACK, FIN, PSH, RST, SYN, URG};
    const ALL: u8 = FIN | SYN | RST | PSH | ACK | URG;
    ensure(flags != 0, Reason::TcpNoFlags)?;
    ensure(flags != ALL, Reason::TcpAllFlags)?;
    ensure(flags & SYN == 0 || flags & (FIN | RST) == 0, Reason::TcpSynFin)
}

#[cfg(test)]
mod tests;
