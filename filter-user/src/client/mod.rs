//! Who the client of a request is.
//!
//! ```text
//! source of the packets ─► PROXY header of the connection ─► header of the request ─► client
//!      the peer               if the peer is trusted            if that hop is trusted
//! ```

mod count;
pub mod proxy_protocol;
mod trusted;

pub use count::{ClientCount, ClientCounts};
pub use trusted::TrustedProxies;

use crate::config::{Config, ProxyProtocol, Service};

/// Who is trusted and what services expect. Immutable, shared by all queues.
#[derive(Debug, Default)]
pub struct Clients {
    /// Whose word on the client counts.
    pub trusted: TrustedProxies,
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
            proxy_protocol: services.iter().map(expected).collect(),
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
