//! Addresses that must not be blocked: blocking them would cut the host, its network or its operator off.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;

use super::{Refusal, RefusalCode};
use crate::config::{overlap, short_cidr};

/// The never-block list. Whatever shares an address with an entry is refused, wider blocks too: what lies
/// around an entry can be blocked in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    entries: Vec<(IpNet, Why)>,
}

/// Why an address is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `lists.never_block` names it.
    Configured,
    /// It is a default gateway.
    Gateway,
    /// It is the host's own.
    Own,
    /// The shell that started the engine was reached from it.
    Management,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Configured => "which lists.never_block names",
            Self::Gateway => "a default gateway",
            Self::Own => "an address of this host",
            Self::Management => "where the management connection comes from",
        })
    }
}

impl Protected {
    /// The configured blocks alone.
    #[must_use]
    pub fn configured(never_block: &[IpNet]) -> Self {
        Self {
            entries: never_block.iter().map(|net| (*net, Why::Configured)).collect(),
        }
    }

    /// The configured blocks, and what this host's state protects: its addresses, default gateways, and
    /// the client of the ssh connection that the engine was started from. What cannot be read is left out.
    #[must_use]
    pub fn of_this_host(never_block: &[IpNet]) -> Self {
        let mut protected = Self::configured(never_block);
        for addr in own_addresses() {
            protected.add(addr, Why::Own);
        }
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        for gateway in ipv4_gateways(&routes) {
            protected.add(IpAddr::V4(gateway), Why::Gateway);
        }
        let routes = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        for gateway in ipv6_gateways(&routes) {
            protected.add(IpAddr::V6(gateway), Why::Gateway);
        }
        if let Some(client) = std::env::var("SSH_CONNECTION")
            .ok()
            .as_deref()
            .and_then(ssh_client)
        {
            protected.add(client, Why::Management);
        }
        protected
    }

    fn add(&mut self, addr: IpAddr, why: Why) {
        let net = IpNet::from(addr.to_canonical());
        if !addr.is_unspecified() && !self.entries.iter().any(|(entry, _)| *entry == net) {
            self.entries.push((net, why));
        }
    }

    /// The protected address or block that `target` shares an address with.
    #[must_use]
    pub fn conflict(&self, target: &IpNet) -> Option<&(IpNet, Why)> {
        self.entries.iter().find(|(entry, _)| overlap(entry, target))
    }

    /// Refuses a block that would hit a protected address, and says which.
    pub fn check(&self, target: &IpNet) -> Result<(), Refusal> {
        let Some((entry, why)) = self.conflict(target) else {
            return Ok(());
        };
        let (shown, entry) = (short_cidr(target), short_cidr(entry));
        let message = match why {
            Why::Configured if shown == entry => {
                format!("{shown} is not blocked: lists.never_block names it")
            }
            _ if shown == entry => format!("{shown} is not blocked: it is {why}"),
            _ => format!("{shown} is not blocked: it overlaps {entry}, {why}"),
        };
        let remedy = match why {
            Why::Configured => format!("block the parts around it, or take {entry} off lists.never_block"),
            _ => format!("block the parts around {entry}"),
        };
        Err(Refusal::new(RefusalCode::Protected, message, remedy))
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &(IpNet, Why)> {
        self.entries.iter()
    }
}

/// The addresses of all interfaces.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// Gateways of default routes in `/proc/net/route`: fields Iface, Destination, Gateway, Flags, …, Mask (8th),
/// addresses as the host's own order prints a big-endian word.
fn ipv4_gateways(routes: &str) -> Vec<Ipv4Addr> {
    let parse = |field: &str| {
        u32::from_str_radix(field, 16)
            .ok()
            .map(|word| Ipv4Addr::from(word.to_ne_bytes()))
    };
    let gateway = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_default = parse(fields.get(1)?)?.is_unspecified() && parse(fields.get(7)?)?.is_unspecified();
        parse(fields[2]).filter(|gateway| is_default && !gateway.is_unspecified())
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// Gateways of default routes in `/proc/net/ipv6_route`: fields destination, its prefix length, source, its
/// prefix length, next hop, …, all in hexadecimal.
fn ipv6_gateways(routes: &str) -> Vec<Ipv6Addr> {
    let parse = |field: &str| u128::from_str_radix(field, 16).ok().map(Ipv6Addr::from);
    let gateway = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_default = parse(fields.first()?)?.is_unspecified() && *fields.get(1)? == "00";
        parse(fields.get(4)?).filter(|gateway| is_default && !gateway.is_unspecified())
    };
    routes.lines().filter_map(gateway).collect()
}

/// The client's address in sshd's `SSH_CONNECTION`: client address and port, server address and port.
fn ssh_client(connection: &str) -> Option<IpAddr> {
    let client = connection.split_whitespace().next()?;
    // A link-local client comes with its interface: fe80::1%eth0.
    let client = client.split('%').next()?;
    client
        .parse()
        .or_else(|_| client.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_cidr;

    fn net(text: &str) -> IpNet {
        parse_cidr(text).expect("a block")
    }

    #[test]
    fn refuses_what_overlaps_and_says_why() {
        let mut protected = Protected::configured(&[net("10.9.0.0/16")]);
        protected.add("192.0.2.1".parse().expect("an address"), Why::Gateway);
        protected.add("::ffff:192.0.2.9".parse().expect("an address"), Why::Management);
        for (target, explanation) in [
            ("192.0.2.1", "192.0.2.1 is not blocked: it is a default gateway"),
            (
                "192.0.2.0/29",
                "192.0.2.0/29 is not blocked: it overlaps 192.0.2.1, a default gateway",
            ),
            ("0.0.0.0/0", "overlaps 10.9.0.0/16, which lists.never_block names"),
            ("10.9.0.0/16", "is not blocked: lists.never_block names it"),
            ("10.9.1.2", "overlaps 10.9.0.0/16"),
            ("192.0.2.9", "where the management connection comes from"),
        ] {
            let refusal = protected.check(&net(target)).expect_err(target);
            assert_eq!(refusal.code, RefusalCode::Protected);
            assert!(refusal.message.contains(explanation), "{}", refusal.message);
            assert!(refusal.remedy.contains("around"), "{}", refusal.remedy);
        }
        for target in ["192.0.2.2", "10.8.0.0/16", "::/0"] {
            assert_eq!(protected.check(&net(target)), Ok(()), "{target}");
        }
    }

    #[test]
    fn reads_the_kernels_route_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0002000A\t020200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  eth0\tshort\n";
        if cfg!(target_endian = "little") {
            assert_eq!(ipv4_gateways(v4), [Ipv4Addr::new(192, 0, 2, 1)]);
        }
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                  20010db8000000000000000000000000 20 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000400 00000001 00000000 00000003     eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n\
                  bad\n";
        assert_eq!(
            ipv6_gateways(v6),
            ["fe80::1".parse::<Ipv6Addr>().expect("an address")]
        );
    }

    #[test]
    fn reads_sshs_variable() {
        for (text, client) in [
            ("198.51.100.7 50000 192.0.2.1 22", Some("198.51.100.7")),
            ("2001:db8::7 50000 2001:db8::1 22", Some("2001:db8::7")),
            ("fe80::7%eth0 50000 fe80::1%eth0 22", Some("fe80::7")),
            ("UNKNOWN", None),
            ("", None),
        ] {
            assert_eq!(
                ssh_client(text),
                client.map(|c| c.parse().expect("an address")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_host_protects_itself() {
        let protected = Protected::of_this_host(&[]);
        assert!(protected.check(&net("127.0.0.1")).is_err());
    }
}
