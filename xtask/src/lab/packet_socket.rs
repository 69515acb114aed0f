//! Sending and receiving raw Ethernet frames: packet(7).

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};

use super::Namespace;

/// The largest frame that is received: receive offload joins segments beyond the MTU.
const LARGEST: usize = 65_536 + 64;
/// Room for frames that wait to be read, bytes.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A socket for all frames of one interface. Frames that the interface itself sends are seen as well.
///
/// The kernel takes the outermost VLAN tag out of a received frame; tags are seen where XDP runs, not here.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket on an interface of a namespace.
    ///
    /// # Errors
    /// If not root, or there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace
            .enter(|| bound_socket(interface))?
            .with_context(|| format!("opening a packet socket on {interface} in {}", namespace.name()))?;
        Ok(Self {
            socket,
            buffer: vec![0; LARGEST],
        })
    }

    /// Sends one frame as it is.
    ///
    /// # Errors
    /// If the interface is down, or the frame longer than its MTU allows.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .with_context(|| format!("sending a frame of {} bytes", frame.len()))?;
        if sent != frame.len() {
            bail!("only {sent} of {} bytes of a frame were sent", frame.len());
        }
        Ok(())
    }

    /// The next frame, or `None` if none comes before the deadline.
    ///
    /// # Errors
    /// If the socket fails, for example because the interface went away.
    pub fn receive(&mut self, deadline: Instant) -> Result<Option<&[u8]>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last wait does not spin.
            let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let ready = match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], left) {
                Err(Errno::EINTR) => continue,
                other => other.context("waiting for a frame")?,
            };
            if ready == 0 {
                return Ok(None);
            }
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("receiving a frame"),
            }
        }
    }
}

/// A socket that only sends: frames of the interface are not copied for it.
///
/// # Errors
/// If not root, or there is no such interface.
pub fn sender(namespace: &Namespace, interface: &str) -> Result<OwnedFd> {
    namespace
        .enter(|| bound(interface, None))?
        .with_context(|| format!("opening a packet socket on {interface} in {}", namespace.name()))
}

fn bound_socket(interface: &str) -> Result<OwnedFd> {
    let socket = bound(interface, Some(SockProtocol::EthAll))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("setting the receive buffer")?;
    Ok(socket)
}

fn bound(interface: &str, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    let address = link_address(interface)?.context("no such interface")?;
    // The address has protocol 0, with which bind keeps the socket's own.
    bind(socket.as_raw_fd(), &address).context("binding")?;
    Ok(socket)
}

/// The interface's address for packet sockets, by the listing of all addresses.
fn link_address(interface: &str) -> Result<Option<LinkAddr>> {
    let mut addresses = nix::ifaddrs::getifaddrs().context("listing interfaces")?;
    Ok(addresses.find_map(|entry| {
        let address = entry.address.filter(|_| entry.interface_name == interface)?;
        address.as_link_addr().copied()
    }))
}
