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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Checksum, PseudoHeader, complete, complete_ipv4_header, fold, ipv4_header_is_valid, sum, verify,
    };

    /// The example of RFC 1071 §3: the sum of these words is 2ddf0, folded ddf2.
    #[test]
    fn adds_up_the_example_of_rfc_1071() {
        let folded = fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]));
        assert_eq!(folded.to_ne_bytes(), [0xdd, 0xf2]);
    }

    /// A header whose checksum, b861, is worked out in many textbooks.
    #[test]
    fn knows_a_good_ipv4_header() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(ipv4_header_is_valid(&header));
        header[8] -= 1;
        assert!(!ipv4_header_is_valid(&header));
        complete_ipv4_header(&mut header);
        assert!(ipv4_header_is_valid(&header));
        assert_eq!(header[10..12], [0xb9, 0x61]);
        assert!(!ipv4_header_is_valid(&header[..19]));
    }

    /// Captured on Ethernet with offloading off: a SYN and a request with an odd number of bytes, each over IPv4 and IPv6.
    fn captured() -> [(PseudoHeader, &'static [u8]); 4] {
        let address = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        [
            (PseudoHeader::ipv4([10, 9, 0, 1], [10, 9, 0, 2], 40), &b"\xb5\xe6\x1f\x90\xc6\x01\xfe\x84\0\0\0\0\xa0\x02\xfa\xf0\xeeY\0\0\x02\x04\x05\xb4\x04\x02\x08\n\x92P\x1eP\0\0\0\0\x01\x03\x03\n"[..]),
            (PseudoHeader::ipv4([10, 9, 0, 1], [10, 9, 0, 2], 59), &b"\xb5\xe6\x1f\x90\xc6\x01\xfe\x85\xb1\x94\xe9\xee\x80\x18\0?\xbf\x05\0\0\x01\x01\x08\n\x92P\x1eQIG7!GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            (PseudoHeader::ipv6(address(1), address(2), 40), &b"\x86D\x1f\x90+\x13{\x02\0\0\0\0\xa0\x02\xfd \xb0 \0\0\x02\x04\x05\xa0\x04\x02\x08\n\xf10c\xb0\0\0\0\0\x01\x03\x03\n"[..]),
            (PseudoHeader::ipv6(address(1), address(2), 59), &b"\x86D\x1f\x90+\x13{\x03\xc2\x10\xe1<\x80\x18\0@8\xe2\0\0\x01\x01\x08\n\xf10c\xb0\x1e\xce\xa3\xd6GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        ]
    }

    #[test]
    fn real_segments_are_valid_and_any_flipped_bit_is_bad() {
        for (pseudo, segment) in captured() {
            assert_eq!(verify(segment, pseudo), Checksum::Valid);
            for bit in 0..segment.len() * 8 {
                let mut other = segment.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(verify(&other, pseudo), Checksum::Bad, "bit {bit}");
            }
        }
    }

    #[test]
    fn an_offloaded_checksum_is_partial_until_completed() {
        for (pseudo, segment) in captured() {
            let mut offloaded = segment.to_vec();
            offloaded[16..18].copy_from_slice(&fold(pseudo.0).to_ne_bytes());
            assert_eq!(verify(&offloaded, pseudo), Checksum::Partial);
            complete(&mut offloaded, pseudo);
            assert_eq!(offloaded, segment);
        }
    }

    #[test]
    fn what_is_too_short_for_a_header_is_bad() {
        let pseudo = PseudoHeader::ipv4([0; 4], [0; 4], 19);
        for length in 0..20 {
            let mut segment = vec![0; length];
            assert_eq!(verify(&segment, pseudo), Checksum::Bad);
            complete(&mut segment, pseudo);
            assert!(segment.iter().all(|&byte| byte == 0));
        }
    }

    /// RFC 1071 §1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(fold(sum(&bytes)).to_ne_bytes(), naive(&bytes).to_be_bytes());
        }

        /// Every carry that can occur does.
        #[test]
        fn agrees_on_long_runs_of_ones(length in 0_usize..70_000, zeros in 0_usize..5) {
            let mut bytes = vec![0xff; length];
            bytes.iter_mut().take(zeros).for_each(|byte| *byte = 0);
            prop_assert_eq!(fold(sum(&bytes)).to_ne_bytes(), naive(&bytes).to_be_bytes());
        }

        #[test]
        fn what_is_completed_is_valid(
            mut segment in prop::collection::vec(any::<u8>(), 20..2000),
            source in any::<[u8; 16]>(),
            destination in any::<[u8; 16]>(),
        ) {
            let pseudo = PseudoHeader::ipv6(source, destination, segment.len() as u32);
            complete(&mut segment, pseudo);
            prop_assert_eq!(verify(&segment, pseudo), Checksum::Valid);
            let mut header = [0; 4];
            header[2..4].copy_from_slice(&(segment.len() as u16).to_be_bytes());
            header[1] = 6;
            let whole: Vec<u8> = [&source[..], &destination[..], &header[..], &segment[..]].concat();
            prop_assert_eq!(naive(&whole), 0xffff);
        }
    }
}
