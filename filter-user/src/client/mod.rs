//! Who the client of a request is.
//!
//! ```text
//! source of the packets ─► PROXY header of the connection ─► header of the request ─► client
//!      the peer               if the peer is trusted            if that hop is trusted
//! ```

mod blocked;
mod count;
pub mod header;
pub mod proxy_protocol;
mod trusted;

pub use blocked::BlockedClients;
pub use count::{ClientCount, ClientCounts};
pub use trusted::TrustedProxies;

use std::net::IpAddr;

use filter_common::Address;

use crate::config::{ClientHeader, Config, ProxyProtocol, Service};
use crate::limit::Limits;

/// Who is trusted, what services expect, and what clients may ask for. Immutable, shared by all queues.
#[derive(Debug, Default)]
pub struct Clients {
    /// Whose word on the client counts.
    pub trusted: TrustedProxies,
    /// Where they name it in a request's head.
    pub header: ClientHeader,
    /// How much they may ask for.
    pub limits: Limits,
    /// The prefix length that stands for one IPv6 client.
    ipv6_prefix: u8,
    /// By the service's number, counted from 1.
    proxy_protocol: Box<[ProxyProtocol]>,
}

impl Clients {
    /// As a configuration has it, for `services`, which may be those of an older one.
    #[must_use]
    pub fn new(config: &Config, services: &[Service]) -> Self {
        let now = config.services();
        let expected = |wanted: &Service| {
            now.iter()
                .find(|service| (service.address, service.port) == (wanted.address, wanted.port))
                .map_or(ProxyProtocol::Off, |service| service.proxy_protocol)
        };
        Self {
            trusted: TrustedProxies::new(&config.clients.trusted_proxies),
            header: config.clients.client_header.clone(),
            limits: Limits::new(&config.limit, services),
            ipv6_prefix: config.reputation.ipv6_prefix,
            proxy_protocol: services.iter().map(expected).collect(),
        }
    }

    /// Whether the heads of requests that `hop` sends say who the client is.
    #[must_use]
    pub fn reads_heads_of(&self, hop: IpAddr) -> bool {
        self.header != ClientHeader::None && self.trusted.contains(hop)
    }

    /// The address that stands for a client where it is counted: itself, or its network's first address for IPv6.
    #[must_use]
    pub fn counted_as(&self, client: IpAddr) -> IpAddr {
        match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(v6) => Address::v6(v6.octets()).masked_v6(self.ipv6_prefix).into(),
        }
    }

    /// What connections to the service with this number begin with.
    #[must_use]
    pub fn proxy_protocol(&self, service: u16) -> ProxyProtocol {
        let index = usize::from(service).checked_sub(1);
        index
            .and_then(|index| self.proxy_protocol.get(index).copied())
            .unwrap_or_default()
    }
}

/// IPv4 addresses are numbered as their IPv6-mapped forms.
fn number(address: IpAddr) -> u128 {
    u128::from_be_bytes(Address::from(address).octets)
}
