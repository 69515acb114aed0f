//! What the kernel says of a network interface.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkXdp, XdpAttached};

use super::channels::queues;
use crate::bpf::XdpMode;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// MAC address.
    pub address: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// RX queues in use.
    pub queues: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it takes frames for every address.
    pub is_promiscuous: bool,
    /// Whether it is one end of a virtual cable (veth(4)).
    pub is_veth: bool,
    /// How an XDP program is attached to it, if one is.
    pub xdp_mode: Option<XdpMode>,
}

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of that name.
    #[error("there is no interface `{name}`; `ip link` lists those there are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It has no Ethernet address.
    #[error("{name} is not an Ethernet interface")]
    NotEthernet {
        /// The name.
        name: String,
    },
    /// Netlink did not answer.
    #[error("cannot ask the kernel about {name}: {source}")]
    Netlink {
        /// The name.
        name: String,
        /// What went wrong.
        source: std::io::Error,
    },
}

impl Interface {
    /// Asks the kernel about the interface `name` of this network namespace.
    ///
    /// # Errors
    ///
    /// See [`InterfaceError`].
    pub async fn find(name: &str) -> Result<Self, InterfaceError> {
        let failed = |source| InterfaceError::Netlink {
            name: name.to_owned(),
            source,
        };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let connection = tokio::spawn(connection);
        let message = handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute()
            .try_next()
            .await;
        connection.abort();
        let Ok(Some(message)) = message else {
            return Err(InterfaceError::Unknown {
                name: name.to_owned(),
            });
        };
        let mut address = None;
        let mut mtu = 1500;
        let mut is_veth = false;
        let mut xdp_mode = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => address = bytes.as_slice().try_into().ok(),
                LinkAttribute::Mtu(bytes) => mtu = *bytes,
                LinkAttribute::LinkInfo(infos) => {
                    is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                LinkAttribute::Xdp(attributes) => xdp_mode = attached(attributes),
                _ => {}
            }
        }
        Ok(Self {
            name: name.to_owned(),
            index: message.header.index,
            address: address.ok_or_else(|| InterfaceError::NotEthernet {
                name: name.to_owned(),
            })?,
            mtu,
            queues: queues(name).await.unwrap_or(1),
            up: message.header.flags.contains(LinkFlags::Up),
            is_promiscuous: message.header.flags.contains(LinkFlags::Promisc),
            is_veth,
            xdp_mode,
        })
    }
}

fn attached(attributes: &[LinkXdp]) -> Option<XdpMode> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpMode::Generic),
        LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware) => Some(XdpMode::Native),
        _ => None,
    })
}
