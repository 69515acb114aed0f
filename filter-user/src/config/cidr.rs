//! Addresses and CIDR blocks as people write them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Parses `192.0.2.7`, `192.0.2.0/24`, `2001:db8::1` or `2001:db8::/32`.
///
/// A bare address becomes a `/32` or `/128`. An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) becomes the
/// IPv4 address it stands for, since that is how its packets look on the wire. Bits set to the right
/// of the prefix are an error: what is meant would be a guess.
pub fn parse(text: &str) -> Result<IpNet, CidrError> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| CidrError::Syntax {
            text: text.to_owned(),
        })?),
    };
    if net.trunc() != net {
        return Err(CidrError::HostBits {
            text: text.to_owned(),
            meant: net.trunc(),
        });
    }
    Ok(unmap(net))
}

/// Turns IPv4-mapped IPv6 blocks of at least 96 bits into IPv4 ones.
fn unmap(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return IpNet::V4(v4);
    }
    net
}

/// Whether two blocks share at least one address.
#[must_use]
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The block as people write it: a single address without its prefix length.
#[must_use]
pub fn short(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// What is wrong with an address or a CIDR block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor a block.
    #[error(
        "`{text}` is not an IP address or CIDR block; write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
    )]
    Syntax {
        /// What was written.
        text: String,
    },
    /// Host bits are set, so that either the address or the prefix length is wrong.
    #[error(
        "`{text}` has bits set beyond its prefix; write {meant} for the block, or leave the prefix length away for the address"
    )]
    HostBits {
        /// What was written.
        text: String,
        /// The block that the prefix length means.
        meant: IpNet,
    },
}

/// Serde for lists of CIDR blocks that accepts bare addresses.
pub(super) mod list {
    use std::fmt;

    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// A block that is read within the deserializer, so that its error carries its own place.
    struct Entry(IpNet);

    impl<'de> Deserialize<'de> for Entry {
        fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl de::Visitor<'_> for Visitor {
                type Value = Entry;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an IP address or CIDR block in quotes")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                    super::parse(text).map(Entry).map_err(E::custom)
                }
            }
            de.deserialize_str(Visitor)
        }
    }

    pub(in crate::config) fn serialize<S: Serializer>(nets: &[IpNet], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(nets.iter().map(super::short))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<IpNet>, D::Error> {
        Ok(Vec::<Entry>::deserialize(de)?
            .into_iter()
            .map(|entry| entry.0)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_blocks() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ] {
            assert_eq!(
                parse(text).map(|net| net.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_with_a_remedy() {
        for (text, remedy) in [
            ("192.0.2.7/24", "write 192.0.2.0/24"),
            ("192.0.2.0/33", "write it like"),
            ("localhost", "write it like"),
            ("", "write it like"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn overlap_is_symmetric() {
        let net = |text| parse(text).expect("a block");
        assert!(overlap(&net("10.0.0.0/8"), &net("10.1.0.0/16")));
        assert!(overlap(&net("10.1.0.0/16"), &net("10.0.0.0/8")));
        assert!(!overlap(&net("10.1.0.0/16"), &net("10.2.0.0/16")));
        assert!(!overlap(&net("::/0"), &net("10.2.0.0/16")));
    }
}
