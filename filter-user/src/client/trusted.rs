//! Whose word on the client counts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::number;

/// Proxies by their addresses, as sorted ranges: a look costs a few comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Box<[(u128, u128)]>);

impl TrustedProxies {
    /// The addresses of all `nets`.
    #[must_use]
    pub fn new(nets: &[IpNet]) -> Self {
        let mut ranges: Vec<_> = nets
            .iter()
            .map(|net| (number(net.network()), number(net.broadcast())))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged.into())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any address of `net` is one of them.
    #[must_use]
    pub fn overlaps(&self, net: &IpNet) -> bool {
        let behind = self
            .0
            .partition_point(|(first, _)| *first <= number(net.broadcast()));
        behind > 0 && number(net.network()) <= self.0[behind - 1].1
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind > 0 && address <= self.0[behind - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_addresses() {
        let nets = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7",
            "192.0.2.8/31",
            "2001:db8::/32",
        ];
        let nets: Vec<_> = nets
            .map(|net| crate::config::parse_cidr(net).expect("a block"))
            .into();
        let trusted = TrustedProxies::new(&nets);
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.6", false),
            ("192.0.2.7", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.2.10", false),
            ("2001:db8::1", true),
            ("2001:db9::", false),
            ("::", false),
        ] {
            assert_eq!(
                trusted.contains(address.parse().expect("an address")),
                expected,
                "{address}"
            );
        }
        for (net, expected) in [
            ("0.0.0.0/0", true),
            ("10.2.3.0/24", true),
            ("192.0.2.0/29", true),
            ("192.0.2.0/30", false),
            ("192.0.2.10/31", false),
            ("2001:db8:7::/64", true),
            ("2001::/16", true),
            ("2001:db9::/64", false),
        ] {
            let net = crate::config::parse_cidr(net).expect("a block");
            assert_eq!(trusted.overlaps(&net), expected, "{net}");
        }
        assert!(TrustedProxies::default().is_empty() && !TrustedProxies::default().contains([0; 4].into()));
    }
}
