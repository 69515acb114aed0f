//! The Internet checksum of IPv4 headers and TCP segments (RFC 1071).

/// Byte offset of the checksum in a TCP header (RFC 9293 §3.1).
const TCP_CHECKSUM: usize = 16;
/// Smallest TCP header, in bytes.
const TCP_HEADER: usize = 20;
/// Byte offset of the checksum in an IPv4 header (RFC 791 §3.1).
const IPV4_CHECKSUM: usize = 10;
const PROTOCOL_TCP: u8 = 6;

/// What the checksum field of a received segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// It is right.
    Valid,
    /// It holds only the sum of the pseudo-header: the sender left the rest to hardware that is not there.
    /// [`complete`] it before it goes on.
    Partial,
    /// It is wrong, or the segment is too short to have one.
    Bad,
}

/// The sum of a TCP pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PseudoHeader(u64);

impl PseudoHeader {
    /// For a segment of `length` bytes, header and payload, over IPv4.
    #[must_use]
    pub fn ipv4(source: [u8; 4], destination: [u8; 4], length: u16) -> Self {
        Self(sum(&source) + sum(&destination) + lower(length.into()))
    }

    /// For a segment of `length` bytes, header and payload, over IPv6.
    #[must_use]
    pub fn ipv6(source: [u8; 16], destination: [u8; 16], length: u32) -> Self {
        Self(sum(&source) + sum(&destination) + lower(length))
    }
}

/// The part of a pseudo-header below the addresses, as a sum in native byte order.
fn lower(length: u32) -> u64 {
    sum(&length.to_be_bytes()) + sum(&[0, PROTOCOL_TCP])
}

/// Tells apart the three states of a received TCP segment's checksum. `segment` is header and payload, without
/// link-layer padding.
#[must_use]
pub fn verify(segment: &[u8], pseudo: PseudoHeader) -> Checksum {
    let Some(field) = segment
        .get(TCP_CHECKSUM..TCP_CHECKSUM + 2)
        .filter(|_| segment.len() >= TCP_HEADER)
    else {
        return Checksum::Bad;
    };
    if fold(sum(segment) + pseudo.0) == 0xffff {
        Checksum::Valid
    } else if field == fold(pseudo.0).to_ne_bytes() {
        Checksum::Partial
    } else {
        Checksum::Bad
    }
}

/// Writes the full checksum into a TCP segment; does nothing when it is too short to have one.
pub fn complete(segment: &mut [u8], pseudo: PseudoHeader) {
    if segment.len() >= TCP_HEADER {
        segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
        let checksum = !fold(sum(segment) + pseudo.0);
        segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&checksum.to_ne_bytes());
    }
}

/// Whether an IPv4 header, options included, has the right checksum.
#[must_use]
pub fn ipv4_header_is_valid(header: &[u8]) -> bool {
    header.len() >= 20 && fold(sum(header)) == 0xffff
}

/// Writes the checksum of an IPv4 header, options included; does nothing when it is too short to have one.
pub fn complete_ipv4_header(header: &mut [u8]) {
    if header.len() >= 20 {
        header[IPV4_CHECKSUM..IPV4_CHECKSUM + 2].fill(0);
        let checksum = !fold(sum(header));
        header[IPV4_CHECKSUM..IPV4_CHECKSUM + 2].copy_from_slice(&checksum.to_ne_bytes());
    }
}

/// One's complement sum of the 16-bit words in native byte order, not folded: the sum does not depend on the byte
/// order (RFC 1071 §2(B)), nor on the word size it is made with (§2(C)). A last odd byte counts as padded with zero.
///
/// Only 32-bit words are added to 64-bit sums, so nothing overflows below 2³² words.
fn sum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut lanes = [0_u64; 8];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let (words, tail) = rest.as_chunks::<4>();
    let mut total: u64 = lanes.iter().sum();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    total + u64::from(u32::from_ne_bytes(last))
}

/// Adds the carries back in until 16 bits are left (RFC 1071 §2(A)).
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}
