//! The lab's links: two veth pairs or three, addresses, routes, offloads.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};

use super::namespace::{Namespace, run};
use super::{Lab, address, lifetime};

/// The most queues a link can have.
pub const MAX_QUEUES: u32 = 4;

/// Whether a device may leave checksums to hardware that a veth pair does not have. When on, a packet on
/// the wire holds only the sum of its pseudo-header, as it does on virtio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// The kernel's default for veth.
    #[default]
    On,
    /// Complete checksums on the wire.
    Off,
}

impl fmt::Display for Offload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What the gateway is to the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    /// A router between the networks of client and server.
    #[default]
    Router,
    /// A bump in the wire: client and server see each other's frames. A bridge of the kernel ([`WIRE`]) joins the two links
    /// until an engine does.
    Bridge,
}

/// The kernel's bridge in the gateway of a bridged lab.
pub const WIRE: &str = "wire";

/// The interfaces of the gateway that the client is behind: the second one in a lab with a second cable.
pub const OUTSIDES: [&str; 2] = ["outside", "outside2"];

/// The client's ends of those links.
pub const CLIENT_ENDS: [&str; 2] = ["eth0", "eth1"];

/// How the links are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the gateway is.
    pub gateway: Gateway,
    /// RX and TX queues of the client's link, on both ends, and of the server's link in a bridged lab: 1 to [`MAX_QUEUES`].
    pub queues: u32,
    /// The client's transmit checksum offload.
    pub client_offload: Offload,
    /// Whether the client's stack leaves cutting segments to the "hardware": they are then larger than the MTU.
    pub client_segmentation: Offload,
    /// The server's transmit checksum offload.
    pub server_offload: Offload,
    /// The gateway's transmit checksum offload, on both links.
    pub gateway_offload: Offload,
    /// The maximum transmission unit of all links, bytes.
    pub mtu: u32,
    /// Whether the client has a second cable to a router, with addresses of its own.
    pub second_cable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gateway: Gateway::Router,
            queues: 1,
            client_offload: Offload::On,
            client_segmentation: Offload::On,
            server_offload: Offload::On,
            gateway_offload: Offload::On,
            mtu: 1500,
            second_cable: false,
        }
    }
}

/// Creates the namespaces of `lab` and everything in them.
pub(super) fn build(lab: &Lab, options: &Options) -> Result<()> {
    let Options { queues, mtu, .. } = *options;
    if !(1..=MAX_QUEUES).contains(&queues) {
        bail!("a link has 1 to {MAX_QUEUES} queues, not {queues}");
    }
    let (client, gateway, server) = (lab.client(), lab.gateway(), lab.server());
    {
        // The first `ip netns add` on a machine prepares a directory, and two at once hide each other's work.
        let _alone = lifetime::creating()?;
        [client, gateway, server]
            .into_iter()
            .try_for_each(Namespace::create)?;
    }
    for namespace in [client, gateway, server] {
        // Addresses are usable at once, and nothing on the wire but what tests send.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.sysctl("net/ipv6/conf/default/dad_transmits", "0")?;
        namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
        namespace.ip("link set lo up\n")?;
    }
    let of_server = match options.gateway {
        Gateway::Router => 1,
        Gateway::Bridge => queues,
    };
    let cable = |device, peer, queues, end: &Namespace| {
        gateway.ip(&format!(
            "link add {device} numtxqueues {queues} numrxqueues {queues} mtu {mtu} type veth \
             peer name {peer} numtxqueues {queues} numrxqueues {queues} mtu {mtu} netns {}\n\
             link set {device} up\n",
            end.name(),
        ))
    };
    cable(OUTSIDES[0], CLIENT_ENDS[0], queues, client)?;
    cable("inside", "eth0", of_server, server)?;
    match options.gateway {
        Gateway::Router => route(client, gateway, server)?,
        Gateway::Bridge => bridge(client, gateway, server)?,
    }

    if options.second_cable {
        if options.gateway == Gateway::Bridge {
            bail!("a bridge has one cable to the client");
        }
        cable(OUTSIDES[1], CLIENT_ENDS[1], queues, client)?;
        join(client, gateway)?;
        offloads(client, CLIENT_ENDS[1], options.client_offload)?;
        segmentation(client, CLIENT_ENDS[1], options.client_segmentation)?;
        offloads(gateway, OUTSIDES[1], options.gateway_offload)?;
    }
    offloads(client, "eth0", options.client_offload)?;
    segmentation(client, "eth0", options.client_segmentation)?;
    offloads(server, "eth0", options.server_offload)?;
    offloads(gateway, "outside", options.gateway_offload)?;
    offloads(gateway, "inside", options.gateway_offload)
}

/// Makes the gateway a router.
fn route(client: &Namespace, gateway: &Namespace, server: &Namespace) -> Result<()> {
    let (v4, v6) = (address::PREFIX_V4, address::PREFIX_V6);
    gateway.ip(&format!(
        "addr add {}/{v4} dev outside\naddr add {}/{v6} dev outside nodad\n\
         addr add {}/{v4} dev inside\naddr add {}/{v6} dev inside nodad\n",
        address::OUTSIDE_V4,
        address::OUTSIDE_V6,
        address::INSIDE_V4,
        address::INSIDE_V6,
    ))?;
    end(
        client,
        address::CLIENT_V4,
        address::CLIENT_V6,
        address::OUTSIDE_V4,
        address::OUTSIDE_V6,
    )?;
    end(
        server,
        address::SERVER_V4,
        address::SERVER_V6,
        address::INSIDE_V4,
        address::INSIDE_V6,
    )?;
    gateway.sysctl("net/ipv4/ip_forward", "1")?;
    gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
}

/// The second cable's addresses. Its default routes are the client's second choice, for sockets that are bound to it.
fn join(client: &Namespace, gateway: &Namespace) -> Result<()> {
    let (v4, v6) = (address::PREFIX_V4, address::PREFIX_V6);
    let [(near_v4, near_v6), (far_v4, far_v6)] = [
        (address::SECOND_OUTSIDE_V4, address::SECOND_OUTSIDE_V6),
        (address::SECOND_CLIENT_V4, address::SECOND_CLIENT_V6),
    ];
    let [near, far] = [OUTSIDES[1], CLIENT_ENDS[1]];
    gateway.ip(&format!(
        "addr add {near_v4}/{v4} dev {near}\naddr add {near_v6}/{v6} dev {near} nodad\n"
    ))?;
    client.ip(&format!(
        "addr add {far_v4}/{v4} dev {far}\naddr add {far_v6}/{v6} dev {far} nodad\nlink set {far} up\n\
         route add default via {near_v4} dev {far} metric 2000\nroute add default via {near_v6} dev {far} metric 2000\n"
    ))
}

/// Joins the links. Both networks are on the same wire.
fn bridge(client: &Namespace, gateway: &Namespace, server: &Namespace) -> Result<()> {
    gateway.ip(&format!(
        "link add {WIRE} type bridge mcast_snooping 0\nlink set outside master {WIRE}\nlink set inside master {WIRE}\n\
         link set {WIRE} up\n"
    ))?;
    let (v4, v6) = (address::PREFIX_V4, address::PREFIX_V6);
    for (end, (own_v4, own_v6), (other_v4, other_v6)) in [
        (
            client,
            (address::CLIENT_V4, address::CLIENT_V6),
            (address::SERVER_V4, address::SERVER_V6),
        ),
        (
            server,
            (address::SERVER_V4, address::SERVER_V6),
            (address::CLIENT_V4, address::CLIENT_V6),
        ),
    ] {
        end.ip(&format!(
            "addr add {own_v4}/{v4} dev eth0\naddr add {own_v6}/{v6} dev eth0 nodad\nlink set eth0 up\n\
             route add {}/{v4} dev eth0\nroute add {}/{v6} dev eth0\n",
            Ipv4Addr::from(u32::from(other_v4) & (u32::MAX << (32 - v4))),
            Ipv6Addr::from(u128::from(other_v6) & (u128::MAX << (128 - v6))),
        ))?;
    }
    Ok(())
}

fn end(
    namespace: &Namespace,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    gateway_v4: Ipv4Addr,
    gateway_v6: Ipv6Addr,
) -> Result<()> {
    namespace.ip(&format!(
        "addr add {v4}/{} dev eth0\naddr add {v6}/{} dev eth0 nodad\nlink set eth0 up\n\
         route add default via {gateway_v4}\nroute add default via {gateway_v6}\n",
        address::PREFIX_V4,
        address::PREFIX_V6,
    ))
}

/// Sets what the lab relies on. GRO makes the receiving end run NAPI, without which frames that XDP sends
/// or redirects to a veth are lost; with `txvlan` on, a tag travels beside the frame where XDP cannot see it.
fn offloads(namespace: &Namespace, device: &str, checksums: Offload) -> Result<()> {
    let checksums = checksums.to_string();
    run(namespace
        .command("ethtool")
        .args(["-K", device, "gro", "on", "txvlan", "off", "tx", &checksums]))
    .with_context(|| format!("setting the offloads of {device} in {}", namespace.name()))
}

fn segmentation(namespace: &Namespace, device: &str, state: Offload) -> Result<()> {
    let state = state.to_string();
    run(namespace
        .command("ethtool")
        .args(["-K", device, "tso", &state, "gso", &state]))
    .with_context(|| format!("setting the segmentation of {device} in {}", namespace.name()))
}
