//! A bridge: two interfaces that take frames for every address. What XDP does not hand to the engine it sends from one to the
//! other; neither has a part in this host's network.

use std::io;

use rtnetlink::{Handle, LinkUnspec};

use super::Interface;

/// The two sides. Settings made on them go with [`Bridge::remove`].
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
    /// Netlink refused.
    #[error("cannot make {interface} take frames for every address: {reason}")]
    Promiscuous {
        /// The interface.
        interface: String,
        /// What went wrong.
        reason: String,
    },
}

impl Bridge {
    /// Makes a bridge of two interfaces for so many queues.
    ///
    /// # Errors
    ///
    /// See [`BridgeError`].
    pub async fn create(clients: Interface, servers: Interface, queues: u32) -> Result<Self, BridgeError> {
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
        let bridge = Self { clients, servers };
        match bridge.take_all().await {
            Ok(()) => Ok(bridge),
            Err(error) => {
                bridge.remove().await;
                Err(error)
            }
        }
    }

    async fn take_all(&self) -> Result<(), BridgeError> {
        for side in [&self.clients, &self.servers] {
            take_all(side, true)
                .await
                .map_err(|reason| BridgeError::Promiscuous {
                    interface: side.name.clone(),
                    reason,
                })?;
        }
        Ok(())
    }

    /// Takes back what was set.
    pub async fn remove(self) {
        for side in [&self.clients, &self.servers] {
            if let Err(error) = take_all(side, false).await {
                tracing::warn!("{} still takes frames for every address: {error}", side.name);
            }
        }
    }
}

/// Whether an interface takes frames for every address, unless it did so before.
async fn take_all(side: &Interface, on: bool) -> Result<(), String> {
    if side.is_promiscuous {
        return Ok(());
    }
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error: io::Error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let result = set_promiscuous(&handle, side, on).await;
    connection.abort();
    result.map_err(|error| error.to_string())
}

async fn set_promiscuous(handle: &Handle, side: &Interface, on: bool) -> Result<(), rtnetlink::Error> {
    let message = LinkUnspec::new_with_index(side.index).promiscuous(on).build();
    handle.link().set(message).execute().await
}
