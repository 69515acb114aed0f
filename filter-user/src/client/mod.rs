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

use crate::config::{ClientHeader, Config, ProxyProtocol, Service};

/// Who is trusted and what services expect. Immutable, shared by all queues.
#[derive(Debug, Default)]
pub struct Clients {
    /// Whose word on the client counts.
    pub trusted: TrustedProxies,
    /// Where they name it in a request's head.
    pub header: ClientHeader,
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
            proxy_protocol: services.iter().map(expected).collect(),
        }
    }

    /// Whether the heads of requests that `hop` sends say who the client is.
    #[must_use]
    pub fn reads_heads_of(&self, hop: IpAddr) -> bool {
        self.header != ClientHeader::None && self.trusted.contains(hop)
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
