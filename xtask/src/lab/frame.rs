//! Building and reading Ethernet frames, right or wrong on purpose.
//!
//! Layouts: Ethernet II (IEEE 802.3), 802.1Q and 802.1ad tags, IPv4 (RFC 791), IPv6 (RFC 8200), TCP
//! (RFC 9293), UDP (RFC 768); the checksum is that of RFC 1071. Reading never panics: what is too short or
//! inconsistent is `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

/// 802.1Q, the customer's tag.
pub const TAG_8021Q: u16 = 0x8100;
/// 802.1ad, the provider's tag, outside of a customer's.
pub const TAG_8021AD: u16 = 0x88a8;

/// Ether types.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// IP protocol numbers.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// TCP flags, as in the header's fourteenth byte.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
}

/// What to write into a TCP or UDP checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The right sum.
    #[default]
    Valid,
    /// Only the pseudo-header's sum, as a sender leaves it for hardware to complete.
    PseudoHeader,
    /// A sum that is neither.
    Wrong,
}

/// The layer above IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// The sender's port.
        source_port: u16,
        /// The receiver's port.
        destination_port: u16,
        /// What is carried.
        payload: Vec<u8>,
    },
    /// Any other protocol, its bytes as they are.
    Raw {
        /// The protocol number.
        protocol: u8,
        /// The bytes behind the IP header.
        bytes: Vec<u8>,
    },
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgement: u32,
    /// See [`flag`].
    pub flags: u8,
    /// The advertised window, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Options as they are on the wire; padded with zeros to a multiple of four bytes, cut at forty.
    pub options: Vec<u8>,
    /// What is carried.
    pub payload: Vec<u8>,
}

/// A frame to build, or one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sender's hardware address.
    pub source_mac: Mac,
    /// The receiver's hardware address.
    pub destination_mac: Mac,
    /// Tags from the outside in: type ([`TAG_8021Q`], [`TAG_8021AD`]) and tag control information.
    pub tags: Vec<(u16, u16)>,
    /// The sender's address; of the same family as the receiver's.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 options as they are on the wire; padded to a multiple of four bytes, cut at forty.
    pub ip_options: Vec<u8>,
    /// IPv6 extension headers in order: each one's number and its bytes, of which the first (the next header) is
    /// filled in. The length byte is the caller's.
    pub extension_headers: Vec<(u8, Vec<u8>)>,
    /// The layer above.
    pub transport: Transport,
    /// How the layer above is summed.
    pub checksum: Checksum,
}

impl Frame {
    /// A frame without tags, options and extension headers, with a valid checksum.
    #[must_use]
    pub fn new(macs: (Mac, Mac), source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self {
            source_mac: macs.0,
            destination_mac: macs.1,
            tags: Vec::new(),
            source,
            destination,
            ttl: 64,
            ip_options: Vec::new(),
            extension_headers: Vec::new(),
            transport,
            checksum: Checksum::Valid,
        }
    }

    /// Adds a tag inside of those that are there.
    #[must_use]
    pub fn tagged(mut self, kind: u16, control: u16) -> Self {
        self.tags.push((kind, control));
        self
    }

    /// The bytes on the wire, without the frame check sequence.
    ///
    /// # Panics
    /// If the two addresses are of different families.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.destination_mac);
        bytes.extend_from_slice(&self.source_mac);
        for (kind, control) in &self.tags {
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&control.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.put_ipv4(&mut bytes, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.put_ipv6(&mut bytes, source, destination),
            _ => panic!(
                "a frame's addresses are of one family: {} → {}",
                self.source, self.destination
            ),
        }
        bytes
    }

    /// The frame's packet in fragments (RFC 791 §3.2, RFC 8200 §4.5) that begin at 0 and at these offsets of what is behind the
    /// IP header and its extension headers; offsets are in bytes and multiples of eight, in order.
    #[must_use]
    pub fn fragments(&self, cuts: &[usize], identification: u32) -> Vec<Vec<u8>> {
        const FRAGMENT: u8 = 44;
        let whole = self.to_bytes();
        let network = 14 + 4 * self.tags.len();
        let is_v4 = self.source.is_ipv4();
        let start = network
            + if is_v4 {
                20 + padded(&self.ip_options).len()
            } else {
                40 + self
                    .extension_headers
                    .iter()
                    .map(|(_, header)| header.len())
                    .sum::<usize>()
            };
        let (headers, payload) = whole.split_at(start);
        let ends = cuts.iter().copied().chain([payload.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts
            .zip(ends)
            .map(|(from, to)| {
                let mut bytes = headers.to_vec();
                let more = u16::from(to < payload.len());
                let offset = from as u16;
                if is_v4 {
                    let field = offset >> 3 | more << 13;
                    bytes[network + 2..network + 4]
                        .copy_from_slice(&((start - network + to - from) as u16).to_be_bytes());
                    bytes[network + 4..network + 6].copy_from_slice(&(identification as u16).to_be_bytes());
                    bytes[network + 6..network + 8].copy_from_slice(&field.to_be_bytes());
                    bytes[network + 10..network + 12].fill(0);
                    let sum = !fold(sum(&bytes[network..]));
                    bytes[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
                } else {
                    let length = start - network - 40 + 8 + to - from;
                    bytes[network + 4..network + 6].copy_from_slice(&(length as u16).to_be_bytes());
                    // The header before says that this one follows, and this one what the packet carries.
                    let last = self
                        .extension_headers
                        .last()
                        .map_or(0, |(_, header)| header.len());
                    let names = if last == 0 { network + 6 } else { start - last };
                    bytes[names] = FRAGMENT;
                    bytes.extend([self.protocol(), 0]);
                    bytes.extend((offset | more).to_be_bytes());
                    bytes.extend(identification.to_be_bytes());
                }
                bytes.extend_from_slice(&payload[from..to]);
                bytes
            })
            .collect()
    }

    fn put_ipv4(&self, bytes: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) {
        bytes.extend_from_slice(&ether_type::IPV4.to_be_bytes());
        let options = padded(&self.ip_options);
        let pseudo_header = [source.octets(), destination.octets()].concat();
        let transport = self.transport_bytes(&pseudo_header);
        let header_length = 20 + options.len();
        let header = bytes.len();
        bytes.extend_from_slice(&[0x40 | (header_length / 4) as u8, 0]);
        bytes.extend_from_slice(&((header_length + transport.len()) as u16).to_be_bytes());
        // Identification 0 with "don't fragment" (RFC 6864 §4.1).
        bytes.extend_from_slice(&[0, 0, 0x40, 0, self.ttl, self.protocol(), 0, 0]);
        bytes.extend_from_slice(&pseudo_header);
        bytes.extend_from_slice(&options);
        let sum = !fold(sum(&bytes[header..]));
        bytes[header + 10..header + 12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend_from_slice(&transport);
    }

    fn put_ipv6(&self, bytes: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) {
        bytes.extend_from_slice(&ether_type::IPV6.to_be_bytes());
        let pseudo_header = [source.octets(), destination.octets()].concat();
        let transport = self.transport_bytes(&pseudo_header);
        let extensions: usize = self
            .extension_headers
            .iter()
            .map(|(_, header)| header.len())
            .sum();
        // The number that each header must carry: the next one's.
        let mut numbers = self
            .extension_headers
            .iter()
            .map(|(number, _)| *number)
            .chain([self.protocol()]);
        bytes.extend_from_slice(&[0x60, 0, 0, 0]);
        bytes.extend_from_slice(&((extensions + transport.len()) as u16).to_be_bytes());
        bytes.extend_from_slice(&[numbers.next().unwrap_or_default(), self.ttl]);
        bytes.extend_from_slice(&pseudo_header);
        for ((_, header), next) in self.extension_headers.iter().zip(numbers) {
            let start = bytes.len();
            bytes.extend_from_slice(header);
            if let Some(first) = bytes.get_mut(start) {
                *first = next;
            }
        }
        bytes.extend_from_slice(&transport);
    }

    fn protocol(&self) -> u8 {
        match &self.transport {
            Transport::Tcp(_) => protocol::TCP,
            Transport::Udp { .. } => protocol::UDP,
            Transport::Raw { protocol, .. } => *protocol,
        }
    }

    fn transport_bytes(&self, addresses: &[u8]) -> Vec<u8> {
        let (mut bytes, checksum_at) = match &self.transport {
            Transport::Tcp(tcp) => (tcp.to_bytes(), 16),
            Transport::Udp {
                source_port,
                destination_port,
                payload,
            } => {
                let mut bytes = Vec::with_capacity(8 + payload.len());
                for field in [*source_port, *destination_port, 8 + payload.len() as u16, 0] {
                    bytes.extend_from_slice(&field.to_be_bytes());
                }
                bytes.extend_from_slice(payload);
                (bytes, 6)
            }
            Transport::Raw { bytes, .. } => return bytes.clone(),
        };
        let pseudo_header = sum(addresses) + u64::from(self.protocol()) + bytes.len() as u64;
        let valid = !fold(pseudo_header + sum(&bytes));
        let written = match self.checksum {
            Checksum::Valid => valid,
            Checksum::PseudoHeader => fold(pseudo_header),
            Checksum::Wrong => {
                let is_right = |candidate: u16| candidate == valid || candidate == fold(pseudo_header);
                (1..=3)
                    .map(|step| valid.wrapping_add(step))
                    .find(|sum| !is_right(*sum))
                    .unwrap_or_default()
            }
        };
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&written.to_be_bytes());
        bytes
    }

    /// Reads a frame of IPv4 or IPv6 without extension headers. `checksum` tells what the frame carries.
    /// `None` for any other frame, and for fragments.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let destination_mac = array(bytes, 0)?;
        let source_mac = array(bytes, 6)?;
        let mut at = 12;
        let mut tags = Vec::new();
        let mut kind = u16::from_be_bytes(array(bytes, at)?);
        while kind == TAG_8021Q || kind == TAG_8021AD {
            tags.push((kind, u16::from_be_bytes(array(bytes, at + 2)?)));
            at += 4;
            kind = u16::from_be_bytes(array(bytes, at)?);
        }
        let packet = bytes.get(at + 2..)?;
        let ip = match kind {
            ether_type::IPV4 => Ip::parse_v4(packet)?,
            ether_type::IPV6 => Ip::parse_v6(packet)?,
            _ => return None,
        };
        let (transport, checksum) = parse_transport(&ip)?;
        Some(Self {
            source_mac,
            destination_mac,
            tags,
            source: ip.source,
            destination: ip.destination,
            ttl: ip.ttl,
            ip_options: ip.options.to_vec(),
            extension_headers: Vec::new(),
            transport,
            checksum,
        })
    }

    /// The TCP segment, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }
}

impl Tcp {
    fn to_bytes(&self) -> Vec<u8> {
        let options = padded(&self.options);
        let mut bytes = Vec::with_capacity(20 + options.len() + self.payload.len());
        bytes.extend_from_slice(&self.source_port.to_be_bytes());
        bytes.extend_from_slice(&self.destination_port.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.acknowledgement.to_be_bytes());
        bytes.extend_from_slice(&[((20 + options.len()) / 4) as u8 * 16, self.flags]);
        bytes.extend_from_slice(&self.window.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.urgent.to_be_bytes());
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The sender's clock in the timestamp option (RFC 7323 §3.2), if there is one.
    #[must_use]
    pub fn timestamp(&self) -> Option<u32> {
        const TIMESTAMP: u8 = 8;
        let mut rest = &self.options[..];
        loop {
            rest = match rest {
                [TIMESTAMP, 10, value @ ..] => return array(value, 0).map(u32::from_be_bytes),
                [1, rest @ ..] => rest,
                [kind, length, ..] if *kind > 1 && *length > 1 => rest.get(usize::from(*length)..)?,
                _ => return None,
            };
        }
    }

    /// True if all of these flags are set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// The parts of an IP packet.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    protocol: u8,
    options: &'a [u8],
    /// The two addresses as the pseudo-header has them.
    addresses: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn parse_v4(packet: &'a [u8]) -> Option<Self> {
        let header_length = usize::from(packet.first()? & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes(array(packet, 2)?));
        let fragment = u16::from_be_bytes(array(packet, 6)?) & 0x3fff;
        if header_length < 20 || fragment != 0 {
            return None;
        }
        Some(Self {
            source: IpAddr::from(array::<4>(packet, 12)?),
            destination: IpAddr::from(array::<4>(packet, 16)?),
            ttl: *packet.get(8)?,
            protocol: *packet.get(9)?,
            options: packet.get(20..header_length)?,
            addresses: packet.get(12..20)?,
            payload: packet.get(header_length..total)?,
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(array(packet, 4)?));
        Some(Self {
            source: IpAddr::from(array::<16>(packet, 8)?),
            destination: IpAddr::from(array::<16>(packet, 24)?),
            ttl: *packet.get(7)?,
            protocol: *packet.get(6)?,
            options: &[],
            addresses: packet.get(8..40)?,
            payload: packet.get(40..40 + length)?,
        })
    }
}

fn parse_transport(ip: &Ip<'_>) -> Option<(Transport, Checksum)> {
    let bytes = ip.payload;
    let checksum = |at: usize| {
        let pseudo_header = sum(ip.addresses) + u64::from(ip.protocol) + bytes.len() as u64;
        if fold(pseudo_header + sum(bytes)) == 0xffff {
            Checksum::Valid
        } else if array(bytes, at).map(u16::from_be_bytes) == Some(fold(pseudo_header)) {
            Checksum::PseudoHeader
        } else {
            Checksum::Wrong
        }
    };
    let port = |at: usize| array(bytes, at).map(u16::from_be_bytes);
    Some(match ip.protocol {
        protocol::TCP => {
            let header_length = usize::from(bytes.get(12)? >> 4) * 4;
            let tcp = Tcp {
                source_port: port(0)?,
                destination_port: port(2)?,
                sequence: u32::from_be_bytes(array(bytes, 4)?),
                acknowledgement: u32::from_be_bytes(array(bytes, 8)?),
                flags: *bytes.get(13)?,
                window: port(14)?,
                urgent: port(18)?,
                options: bytes.get(20..header_length)?.to_vec(),
                payload: bytes.get(header_length..)?.to_vec(),
            };
            (Transport::Tcp(tcp), checksum(16))
        }
        protocol::UDP => {
            let payload = bytes.get(8..)?.to_vec();
            (
                Transport::Udp {
                    source_port: port(0)?,
                    destination_port: port(2)?,
                    payload,
                },
                checksum(6),
            )
        }
        protocol => (
            Transport::Raw {
                protocol,
                bytes: bytes.to_vec(),
            },
            Checksum::Valid,
        ),
    })
}

/// `N` bytes from `at`, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn padded(options: &[u8]) -> Vec<u8> {
    let mut padded = options[..options.len().min(40)].to_vec();
    padded.resize(padded.len().next_multiple_of(4), 0);
    padded
}

/// The sum of 16-bit words, not folded; an odd last byte counts as the high one.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    words.sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: (Mac, Mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    const ADDRESSES: [[&str; 2]; 2] = [["10.71.0.2", "10.72.0.2"], ["fd71::2", "fd72::2"]];

    fn frames() -> Vec<Frame> {
        let tcp = Tcp {
            source_port: 40_000,
            destination_port: 80,
            sequence: 0xffff_fff0,
            acknowledgement: 7,
            flags: flag::PSH | flag::ACK,
            window: 1024,
            urgent: 7,
            options: vec![2, 4, 5, 0xb4],
            payload: b"GET / HTTP/1.1".to_vec(),
        };
        let udp = Transport::Udp {
            source_port: 53,
            destination_port: 5353,
            payload: b"odd".to_vec(),
        };
        let transports = [Transport::Tcp(tcp), udp];
        let address = |text: &str| {
            text.parse::<IpAddr>()
                .expect("the addresses above are well-formed")
        };
        ADDRESSES
            .iter()
            .flat_map(|[from, to]| {
                transports
                    .iter()
                    .map(|transport| Frame::new(MACS, address(from), address(to), transport.clone()))
            })
            .collect()
    }

    #[test]
    fn what_is_built_is_read_back() {
        for frame in frames() {
            for checksum in [Checksum::Valid, Checksum::PseudoHeader, Checksum::Wrong] {
                let frame = Frame {
                    checksum,
                    ..frame.clone()
                }
                .tagged(TAG_8021AD, 100)
                .tagged(TAG_8021Q, 7);
                assert_eq!(Frame::parse(&frame.to_bytes()), Some(frame));
            }
        }
    }

    #[test]
    fn a_known_ipv4_header_has_its_known_checksum() {
        let frame = frames().into_iter().nth(1).expect("there are four frames");
        let bytes = frame.to_bytes();
        assert_eq!(&bytes[12..14], &[0x08, 0x00]);
        assert_eq!(bytes.len(), 14 + 20 + 8 + 3);
        assert_eq!(fold(sum(&bytes[14..34])), 0xffff);
        // Words of this header, added by hand: 4500 001f 0000 4000 4011 0a47 0002 0a48 0002.
        let by_hand: u32 = 0x4500 + 0x1f + 0x4000 + 0x4011 + 0x0a47 + 2 + 0x0a48 + 2;
        let folded = (by_hand & 0xffff) + (by_hand >> 16);
        assert_eq!(
            u32::from(u16::from_be_bytes([bytes[24], bytes[25]])),
            0xffff - folded
        );
    }

    #[test]
    fn extension_headers_are_chained() {
        let mut frame = frames().into_iter().nth(2).expect("there are four frames");
        // Hop-by-hop options and destination options, each with one PadN option of four zeros.
        frame.extension_headers = [0, 60]
            .map(|number| (number, vec![0, 0, 1, 4, 0, 0, 0, 0]))
            .to_vec();
        let bytes = frame.to_bytes();
        assert_eq!((bytes[14 + 6], bytes[54], bytes[62]), (0, 60, protocol::TCP));
        assert_eq!(u16::from_be_bytes([bytes[18], bytes[19]]), 16 + 24 + 14);
    }

    #[test]
    fn any_cut_of_a_frame_is_refused_not_a_panic() {
        for frame in frames() {
            let bytes = frame.to_bytes();
            for length in 0..bytes.len() {
                assert_eq!(
                    Frame::parse(&bytes[..length]),
                    None,
                    "{length} of {}",
                    bytes.len()
                );
            }
        }
    }
}
