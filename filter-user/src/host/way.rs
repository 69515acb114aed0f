//! The way that accepted packets take from the engine.

use super::{Bridge, BridgeError, Interface, InterfaceError, Reinjection, ReinjectionError};

/// Why a way cannot have so many queues.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum WayError {
    /// Devices cannot be made.
    Reinjection(#[from] ReinjectionError),
    /// The sides do not fit.
    Bridge(#[from] BridgeError),
    /// The servers' side has gone.
    Interface(#[from] InterfaceError),
}

/// How accepted packets go on.
#[derive(Debug)]
pub enum Way {
    /// Back into this host's stack, for each interface by devices of its own.
    Host(Vec<Reinjection>),
    /// Out of the interface on the other side.
    Bridge(Bridge),
}

impl Way {
    /// The device that the engine sends into what has come by `queue` of an interface, the first, second and so on, and the queue there.
    #[must_use]
    pub fn output(&self, interface: usize, queue: u32) -> Option<(&str, u32)> {
        match self {
            // Each queue has a device of its own.
            Self::Host(reinjections) => {
                let device = reinjections.get(interface)?.output(queue)?;
                Some((device, 0))
            }
            Self::Bridge(bridge) => Some((&bridge.servers.name, queue)),
        }
    }

    /// Makes it one for so many queues of each interface. What is on its way through it stays.
    ///
    /// # Errors
    ///
    /// When devices cannot be made, or the servers' side of a bridge has too few queues.
    pub async fn set_queues(&mut self, nics: &[Interface], queues: &[u32]) -> Result<(), WayError> {
        match self {
            Self::Host(reinjections) => {
                for ((reinjection, nic), queues) in reinjections.iter_mut().zip(nics).zip(queues) {
                    *reinjection = Reinjection::create(nic, *queues, true).await?;
                }
            }
            Self::Bridge(bridge) => {
                let queues = queues.iter().sum();
                let servers = Interface::find(&bridge.servers.name).await?;
                *bridge = Bridge::new(bridge.clients.clone(), servers, queues)?;
            }
        }
        Ok(())
    }

    /// Removes what was made for it.
    pub async fn remove(self) {
        match self {
            Self::Host(reinjections) => {
                for reinjection in reinjections {
                    reinjection.remove().await;
                }
            }
            // Nothing was.
            Self::Bridge(_) => {}
        }
    }
}
