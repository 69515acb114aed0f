//! Blocked clients, as the queues know them: the XDP program sees only the proxies in front of them.

use std::{collections::HashMap, net::IpAddr};

use filter_common::block::Block;
use ipnet::IpNet;

use super::number;

/// What the maps hold of blocks and of addresses that always pass, at one moment. Immutable, shared by all queues.
#[derive(Debug, Default)]
pub struct BlockedClients {
    blocked: Prefixes<Block>,
    allowed: Prefixes<()>,
}

impl BlockedClients {
    /// Blocks, of single sources and others, and what passes in spite of them.
    pub fn new(
        blocked: impl IntoIterator<Item = (IpNet, Block)>,
        allowed: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        Self {
            blocked: Prefixes::new(blocked),
            allowed: Prefixes::new(allowed.into_iter().map(|net| (net, ()))),
        }
    }

    /// Whether the XDP program would drop this client's packets.
    #[must_use]
    pub fn contains(&self, client: IpAddr, now_ns: u64) -> bool {
        self.blocked.matching(client).any(|block| block.holds(now_ns))
            && self.allowed.matching(client).next().is_none()
    }
}

/// Values by prefix, for each length that occurs: a look costs a hash for each of those, and there are few.
#[derive(Debug)]
struct Prefixes<V>(Vec<(u128, HashMap<u128, V>)>);

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Prefixes<V> {
    fn new(entries: impl IntoIterator<Item = (IpNet, V)>) -> Self {
        let mut lengths: Vec<(u128, HashMap<u128, V>)> = Vec::new();
        for (net, value) in entries {
            let mapped = if net.addr().is_ipv4() { 96 } else { 0 };
            let host_bits = 128 - mapped - u32::from(net.prefix_len());
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            let key = number(net.network()) & mask;
            match lengths.iter_mut().find(|(length, _)| *length == mask) {
                Some((_, table)) => {
                    table.insert(key, value);
                }
                None => lengths.push((mask, HashMap::from([(key, value)]))),
            }
        }
        Self(lengths)
    }

    /// The values of all prefixes that hold an address.
    fn matching(&self, address: IpAddr) -> impl Iterator<Item = &V> {
        let address = number(address);
        self.0
            .iter()
            .filter_map(move |(mask, table)| table.get(&(address & mask)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_cidr;

    #[test]
    fn blocks_hold_for_their_addresses_and_time() {
        let net = |text: &str| parse_cidr(text).expect("a block");
        let until = |until_ns| Block {
            until_ns,
            ..Block::default()
        };
        let blocked = BlockedClients::new(
            [
                (net("192.0.2.7"), until(100)),
                (net("198.51.100.0/24"), until(0)),
                (net("2001:db8:0:1::/64"), until(0)),
                (net("2001:db8:1::/48"), until(50)),
            ],
            [net("198.51.100.8/31")],
        );
        for (client, now, expected) in [
            ("192.0.2.7", 99, true),
            ("::ffff:192.0.2.7", 99, true),
            ("192.0.2.7", 100, false),
            ("192.0.2.8", 0, false),
            ("198.51.100.7", u64::MAX, true),
            ("198.51.100.9", 0, false),
            ("198.51.101.7", 0, false),
            ("2001:db8:0:1:ffff::1", 0, true),
            ("2001:db8:0:2::1", 0, false),
            ("2001:db8:1:2::1", 49, true),
            ("2001:db8:1:2::1", 50, false),
        ] {
            let client = client.parse().expect("an address");
            assert_eq!(blocked.contains(client, now), expected, "{client} at {now}");
        }
        assert!(!BlockedClients::default().contains([192, 0, 2, 7].into(), 0));
        let all = BlockedClients::new([(net("0.0.0.0/0"), until(0))], []);
        assert!(
            all.contains([192, 0, 2, 7].into(), 0)
                && !all.contains("2001:db8::1".parse().expect("an address"), 0)
        );
    }
}
