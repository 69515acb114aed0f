//! A bridge: two interfaces. What XDP does not hand to the engine it sends from one to the other; neither has a part in this
//! host's network.

use super::Interface;

/// The two sides.
#[derive(Debug)]
pub struct Bridge {
    /// The interface that clients come in by.
    pub clients: Interface,
    /// The interface that the servers are behind.
    pub servers: Interface,
}

/// Why two interfaces cannot be bridged.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// One is down.
    #[error("{0} is down; bring it up with `ip link set dev {0} up`")]
    Down(String),
    /// The servers' side has too few queues: each queue of the clients' side sends through one of its own.
    #[error(
        "{servers} has {have} queues, the engine needs {need}; add some with `ethtool -L {servers} combined {need}`, or set \
         engine.queues"
    )]
    Queues {
        /// The servers' side.
        servers: String,
        /// Its queues.
        have: u32,
        /// Those wanted.
        need: u32,
    },
    /// Packets of one side would be too large for the other.
    #[error(
        "{clients} has an MTU of {one} and {servers} one of {other}; make them alike with `ip link set dev NAME mtu BYTES`"
    )]
    Mtu {
        /// The clients' side.
        clients: String,
        /// The servers' side.
        servers: String,
        /// MTU of the first.
        one: u32,
        /// MTU of the second.
        other: u32,
    },
}

impl Bridge {
    /// A bridge of two interfaces for so many queues.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub fn new(clients: Interface, servers: Interface, queues: u32) -> Result<Self, BridgeError> {
        if !servers.up {
            return Err(BridgeError::Down(servers.name));
        }
        if servers.queues < queues {
            return Err(BridgeError::Queues {
                servers: servers.name,
                have: servers.queues,
                need: queues,
            });
        }
        if servers.mtu != clients.mtu {
            return Err(BridgeError::Mtu {
                one: clients.mtu,
                other: servers.mtu,
                clients: clients.name,
                servers: servers.name,
            });
        }
        Ok(Self { clients, servers })
    }
}
