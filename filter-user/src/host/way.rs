//! The way that accepted packets take from the engine.

use super::{Bridge, Reinjection};

/// How accepted packets go on.
#[derive(Debug)]
pub enum Way {
    /// Back into this host's stack.
    Host(Reinjection),
    /// Out of the interface on the other side.
    Bridge(Bridge),
}

impl Way {
    /// The device that the engine of `queue` sends into, and the queue there.
    #[must_use]
    pub fn output(&self, queue: u32) -> Option<(&str, u32)> {
        match self {
            // Each queue has a device of its own.
            Self::Host(reinjection) => reinjection.output(queue).map(|device| (device, 0)),
            Self::Bridge(bridge) => Some((&bridge.servers.name, queue)),
        }
    }

    /// Removes what was made for it.
    pub async fn remove(self) {
        match self {
            Self::Host(reinjection) => reinjection.remove().await,
            // Nothing was.
            Self::Bridge(_) => {}
        }
    }
}
