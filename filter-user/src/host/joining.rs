//! Keeps the kernel from joining received segments (GRO) where the XDP program comes after it.
//!
//! In generic mode the program sees what GRO has made of the packets. An `AF_XDP` frame holds one packet of the
//! interface's MTU, so joined ones would be lost. Segments that a virtual sender has never cut (TSO on the other end
//! of a veth) are as large, and only that end can change it.

use futures_util::TryStreamExt;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::link::{LinkAttribute, LinkXdp, XdpAttached},
};

use super::{Interface, InterfaceError};

/// Joined packets must stay below so many bytes: none can be joined.
const NOTHING: u32 = 1;
/// The kernel's default (`GRO_LEGACY_MAX_SIZE`), for what an engine that was killed has left.
const DEFAULT: u32 = 65_536;

/// What was in force before, in bytes. Put it back with [`Joining::restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joining {
    index: u32,
    v6: u32,
    v4: u32,
}

impl Joining {
    /// Stops it, if the program that is attached to the interface runs in generic mode. If not, undoes what an engine
    /// that was killed in generic mode has left.
    ///
    /// # Errors
    ///
    /// See [`InterfaceError`].
    pub async fn stop(interface: &Interface) -> Result<Option<Self>, InterfaceError> {
        let failed = |source| InterfaceError::Netlink {
            name: interface.name.clone(),
            source,
        };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let connection = tokio::spawn(connection);
        let result = async {
            let found = handle.link().get().match_index(interface.index).execute();
            let mut found = std::pin::pin!(found);
            let Some(message) = found.try_next().await? else {
                return Ok(None);
            };
            let mut before = Self {
                index: interface.index,
                v6: DEFAULT,
                v4: DEFAULT,
            };
            let (mut generic, mut stopped) = (false, false);
            for attribute in &message.attributes {
                match attribute {
                    LinkAttribute::GroMaxSize(NOTHING) | LinkAttribute::GroIpv4MaxSize(NOTHING) => {
                        stopped = true;
                    }
                    LinkAttribute::GroMaxSize(bytes) => before.v6 = *bytes,
                    LinkAttribute::GroIpv4MaxSize(bytes) => before.v4 = *bytes,
                    LinkAttribute::Xdp(xdp) => {
                        generic = xdp.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
                    }
                    _ => {}
                }
            }
            if generic || stopped {
                let change = if generic {
                    before.with(NOTHING, NOTHING)
                } else {
                    before.with(before.v6, before.v4)
                };
                handle.link().set(change.build()).execute().await?;
            }
            Ok(generic.then_some(before))
        }
        .await;
        connection.abort();
        result.map_err(|error: rtnetlink::Error| failed(std::io::Error::other(error)))
    }

    /// Lets the kernel do as before.
    pub async fn restore(self) {
        let Ok((connection, handle, _)) = rtnetlink::new_connection() else {
            return;
        };
        let connection = tokio::spawn(connection);
        if let Err(error) = handle
            .link()
            .set(self.with(self.v6, self.v4).build())
            .execute()
            .await
        {
            tracing::warn!("cannot restore gro_max_size: {error}");
        }
        connection.abort();
    }

    /// A change of the interface. The kernel takes the first size for IPv4, too, until it is given the second.
    fn with(&self, v6: u32, v4: u32) -> LinkMessageBuilder<LinkUnspec> {
        LinkUnspec::new_with_index(self.index)
            .append_extra_attribute(LinkAttribute::GroMaxSize(v6))
            .append_extra_attribute(LinkAttribute::GroIpv4MaxSize(v4))
    }
}
