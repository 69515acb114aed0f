//! IP addresses as map keys: 16 octets, IPv4 in its IPv6-mapped form (RFC 4291 §2.5.5.2).

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// An IPv4 (mapped) or IPv6 address in network byte order.
///
/// Aligned to 8 bytes so that the XDP program copies it in two loads instead of sixteen.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Address {
    /// The octets as they are on the wire.
    pub octets: [u8; 16],
}

impl Address {
    /// Builds the mapped form of an IPv4 address from its octets.
    #[inline(always)]
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self::from_halves([0, 0xffff << 32 | u32::from_be_bytes(octets) as u64])
    }

    /// Builds an IPv6 address from its octets.
    #[inline(always)]
    #[must_use]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self { octets }
    }

    /// Whether this is an IPv4 address in mapped form.
    #[inline(always)]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.octets[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    /// The first eight octets and the last eight, as numbers.
    #[inline(always)]
    #[must_use]
    pub const fn halves(&self) -> [u64; 2] {
        match self.octets.as_chunks() {
            ([first, last], []) => [u64::from_be_bytes(*first), u64::from_be_bytes(*last)],
            // Sixteen octets are two chunks of eight.
            _ => unreachable!(),
        }
    }

    /// The address whose first eight octets and last eight are these numbers. So that the XDP program stores it in two words, and not
    /// in pieces.
    #[inline(always)]
    #[must_use]
    const fn from_halves([first, last]: [u64; 2]) -> Self {
        let mut octets = [0; 16];
        let (high, low) = octets.split_at_mut(8);
        high.copy_from_slice(&first.to_be_bytes());
        low.copy_from_slice(&last.to_be_bytes());
        Self { octets }
    }

    /// The bits of the address that are set in `mask`. Half by half, as octets would take the XDP program sixteen steps.
    #[inline(always)]
    #[must_use]
    pub fn masked(&self, mask: &Self) -> Self {
        let ([a, b], [c, d]) = (self.halves(), mask.halves());
        Self::from_halves([a & c, b & d])
    }

    /// The address with all but the first `prefix` bits (counted in IPv6's 128) cleared; IPv4 is unchanged.
    #[must_use]
    pub fn masked_v6(&self, prefix: u8) -> Self {
        if self.is_v4() {
            return *self;
        }
        let bits = u128::from_be_bytes(self.octets);
        let mask = u128::MAX
            .checked_shl(128 - u32::from(prefix.min(128)))
            .unwrap_or(0);
        Self {
            octets: (bits & mask).to_be_bytes(),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.octets).to_canonical()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_ipv6_and_leaves_ipv4() {
        let v6 = Address::from(IpAddr::from([0xfd71, 0, 0, 7, 1, 2, 3, 4]));
        assert_eq!(
            IpAddr::from(v6.masked_v6(64)),
            IpAddr::from([0xfd71, 0, 0, 7, 0, 0, 0, 0])
        );
        assert_eq!(v6.masked_v6(128), v6);
        assert_eq!(v6.masked_v6(0), Address::default());
        let v4 = Address::v4([10, 1, 2, 3]);
        assert_eq!(v4.masked_v6(64), v4);
        assert_eq!(v6.halves(), [0xfd71_0000_0000_0007, 0x0001_0002_0003_0004]);
        let mask = Address::v6([0xff; 16]).masked_v6(64);
        assert_eq!(v6.masked(&mask), v6.masked_v6(64));
        assert_eq!(IpAddr::from(v4), IpAddr::from([10, 1, 2, 3]));
    }
}
