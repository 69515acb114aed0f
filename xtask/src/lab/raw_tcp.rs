//! A scripted TCP client made of raw frames: segments in any order, of any size, with any flags.
//!
//! It uses an address and a hardware address that no kernel owns, so that no stack answers in its place. The
//! next hop learns where it is by a permanent neighbour entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::frame::{Checksum, Frame, Mac, Tcp, Transport, flag};
use super::http::Response;
use super::packet_socket::PacketSocket;
use super::{Lab, Namespace, Trunk, topology, trunk, wait::Elapsed};

const HANDSHAKE: Duration = Duration::from_secs(5);
/// The segment size that [`RawTcp::send`] splits at and that the handshake announces, bytes.
const SEGMENT: u16 = 1400;
/// The most that is received, bytes.
const MOST_RECEIVED: usize = 64 << 20;
/// The most frames that are kept for [`RawTcp::frames`].
const MOST_FRAMES: usize = 4096;

/// Each client of this process has addresses and a port of its own.
static COUNTER: AtomicU16 = AtomicU16::new(0);

/// How a connection ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side sent all it had, then FIN.
    Fin,
    /// The other side sent RST.
    Reset,
}

/// A client with one connection.
#[derive(Debug)]
pub struct RawTcp {
    socket: PacketSocket,
    macs: (Mac, Mac),
    /// VLAN tags of the frames, outermost first.
    tags: Vec<(u16, u16)>,
    local: SocketAddr,
    remote: SocketAddr,
    /// The sequence number of the first byte sent: offset 0.
    origin: u32,
    /// One behind the highest offset sent, FIN included.
    sent: u32,
    /// The highest offset that the other side acknowledged.
    acknowledged: u32,
    receive_next: u32,
    received: Vec<u8>,
    frames: Vec<Frame>,
    end: Option<End>,
    /// How the checksums of the segments to come are written.
    pub checksum: Checksum,
    /// The window that the segments to come announce, not scaled.
    pub window: u16,
    /// False if received data should not be acknowledged.
    pub acknowledging: bool,
    /// What the timestamp option of the segments to come says (RFC 7323 §3); `None` for no option. The server has one
    /// only if the handshake had one.
    pub timestamp: Option<u32>,
    /// The latest timestamp of the other side.
    echo: u32,
}

impl RawTcp {
    /// Opens a connection from the lab's client side to `remote` by a three-way handshake.
    ///
    /// # Errors
    /// If there is no answer in five seconds, or it is a reset.
    pub fn connect(lab: &Lab, remote: SocketAddr) -> Result<Self> {
        let mut client = Self::new(lab, remote)?;
        client.open()?;
        Ok(client)
    }

    /// Prepares a client without sending anything; for tests that write the handshake themselves, with
    /// [`RawTcp::segment`] and [`RawTcp::send_tcp`].
    ///
    /// # Errors
    /// If the lab is gone.
    pub fn new(lab: &Lab, remote: SocketAddr) -> Result<Self> {
        let (hop, device) = lab.next_hop();
        Self::with_hop(lab, remote, hop, device)
    }

    /// Prepares a client in the VLAN of the server behind `trunk`, in a bridged lab.
    ///
    /// # Errors
    /// If the lab is gone.
    pub fn behind(lab: &Lab, remote: SocketAddr, trunk: &Trunk) -> Result<Self> {
        let mut client = Self::with_hop(lab, remote, lab.server(), trunk::ACCESS)?;
        client.tags = trunk.tags().to_vec();
        let address = client.local.ip();
        lab.server()
            .ip(&format!("route replace {address} dev {}\n", trunk::ACCESS))?;
        Ok(client)
    }

    fn with_hop(lab: &Lab, remote: SocketAddr, hop: &Namespace, device: &str) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed) % 20_000;
        let [high, low] = number.to_be_bytes();
        let mac = [0x02, 0x00, 0x71, 0x00, high, low];
        let address: IpAddr = match remote.ip() {
            IpAddr::V4(_) => Ipv4Addr::new(10, 71, 0, 100 + (number % 150) as u8).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd71, 0, 0, 0, 0, 0, 1, number).into(),
        };
        hop.ip(&neighbour(address, mac, device))?;
        Ok(Self {
            socket: PacketSocket::open(lab.client(), "eth0")?,
            macs: (mac, hop.mac(device)?),
            tags: Vec::new(),
            local: SocketAddr::new(address, 40_000 + number),
            remote,
            // Near the end of the range, so that every connection of some size wraps around.
            origin: 0xffff_f000 + u32::from(number % 0x800),
            sent: 0,
            acknowledged: 0,
            receive_next: 0,
            received: Vec::new(),
            frames: Vec::new(),
            end: None,
            checksum: Checksum::Valid,
            window: u16::MAX,
            acknowledging: true,
            timestamp: None,
            echo: 0,
        })
    }

    /// Goes on by the cable of this number, in a lab with two: from now on it sends by that, and what is for it comes by that.
    ///
    /// # Errors
    /// If there is no such cable.
    pub fn move_to_cable(&mut self, lab: &Lab, number: usize) -> Result<()> {
        let (Some(&outside), Some(end)) = (lab.outsides().get(number), topology::CLIENT_ENDS.get(number))
        else {
            bail!("there is no cable {number}");
        };
        let address = self.local.ip();
        let gateway = lab.gateway();
        gateway.ip(&format!(
            "route replace {address} dev {outside}\n{}",
            neighbour(address, self.macs.0, outside)
        ))?;
        self.socket = PacketSocket::open(lab.client(), end)?;
        self.macs.1 = gateway.mac(outside)?;
        Ok(())
    }

    /// The SYN that opens the connection.
    #[must_use]
    pub fn syn(&self) -> Tcp {
        let [high, low] = SEGMENT.to_be_bytes();
        let mut syn = self.segment(0, b"", flag::SYN);
        syn.sequence = self.origin.wrapping_sub(1);
        syn.acknowledgement = 0;
        syn.flags = flag::SYN;
        syn.options.extend([2, 4, high, low]);
        syn
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// If there is no answer in five seconds, or it is a reset.
    pub fn open(&mut self) -> Result<()> {
        let syn = self.syn();
        let deadline = Instant::now() + HANDSHAKE;
        // A lost SYN is repeated, as by any client.
        let mut repeat = Instant::now();
        loop {
            if Instant::now() >= repeat {
                self.send_tcp(syn.clone())?;
                repeat = Instant::now() + Duration::from_secs(1);
            }
            let Some(frame) = self.next_frame(repeat.min(deadline))? else {
                if Instant::now() >= deadline {
                    bail!(
                        "{} did not answer a SYN within {} s",
                        self.remote,
                        HANDSHAKE.as_secs()
                    );
                }
                continue;
            };
            let Some(tcp) = frame.tcp() else { continue };
            if tcp.has(flag::RST) {
                bail!("{} refused the connection", self.remote);
            }
            if tcp.has(flag::SYN | flag::ACK) && tcp.acknowledgement == self.origin {
                self.echo = tcp.timestamp().unwrap_or_default();
                self.receive_next = tcp.sequence.wrapping_add(1);
                return self.acknowledge();
            }
        }
    }

    /// The client's address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// A segment with `payload` at `offset` of this side's stream, acknowledging what was received. Its fields may be
    /// changed before it is sent.
    #[must_use]
    pub fn segment(&self, offset: u32, payload: &[u8], flags: u8) -> Tcp {
        Tcp {
            source_port: self.local.port(),
            destination_port: self.remote.port(),
            sequence: self.origin.wrapping_add(offset),
            acknowledgement: self.receive_next,
            flags: flags | flag::ACK,
            window: self.window,
            urgent: 0,
            options: self.timestamp_option(),
            payload: payload.to_vec(),
        }
    }

    fn timestamp_option(&self) -> Vec<u8> {
        let Some(value) = self.timestamp else {
            return Vec::new();
        };
        let mut option = vec![1, 1, 8, 10];
        option.extend(value.to_be_bytes());
        option.extend(self.echo.to_be_bytes());
        option
    }

    /// The frame that carries a segment from this client. It may be changed, for example tagged, before it is
    /// sent with [`RawTcp::send_frame`].
    #[must_use]
    pub fn frame(&self, tcp: Tcp) -> Frame {
        let mut frame = Frame::new(self.macs, self.local.ip(), self.remote.ip(), Transport::Tcp(tcp));
        frame.checksum = self.checksum;
        frame.tags.clone_from(&self.tags);
        frame
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn send_frame(&self, frame: &Frame) -> Result<()> {
        self.socket.send(&frame.to_bytes())
    }

    /// Sends the bytes of a frame.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.socket.send(bytes)
    }

    /// Sends a segment as it is.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn send_tcp(&self, tcp: Tcp) -> Result<()> {
        self.send_frame(&self.frame(tcp))
    }

    /// Sends `payload` as one segment at `offset` of this side's stream, whatever was sent before. ACK is always
    /// among the flags.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn send_segment(&mut self, offset: u32, payload: &[u8], flags: u8) -> Result<()> {
        self.send_tcp(self.segment(offset, payload, flags))?;
        let end = offset + payload.len() as u32 + u32::from(flags & flag::FIN != 0);
        self.sent = self.sent.max(end);
        Ok(())
    }

    /// Sends bytes behind what was sent so far, in segments of at most 1400 bytes, without regard to the other
    /// side's window.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(usize::from(SEGMENT)) {
            self.send_segment(self.sent, chunk, flag::PSH)?;
        }
        Ok(())
    }

    /// Sends FIN behind what was sent so far.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn close(&mut self) -> Result<()> {
        self.send_segment(self.sent, b"", flag::FIN)
    }

    /// Sends RST.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn reset(&self) -> Result<()> {
        self.send_tcp(self.segment(self.sent, b"", flag::RST))
    }

    /// Everything received in order so far.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The frames of this connection that came in, the first few thousand.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How the other side ended the connection, if it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many bytes of this side's stream the other side has acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// Receives, and acknowledges, until `done` holds for this client.
    ///
    /// # Errors
    /// If it does not hold within `time`; the text says what was received.
    pub fn receive_until(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + time;
        while !done(self) {
            let Some(frame) = self.next_frame(deadline)? else {
                let what = format!(
                    "{} bytes received, {} of {} acknowledged, end {:?}",
                    self.received.len(),
                    self.acknowledged,
                    self.sent,
                    self.end
                );
                return Err(Elapsed { what, after: time }.into());
            };
            if let Some(tcp) = frame.tcp() {
                self.take(tcp)?;
            }
        }
        Ok(())
    }

    /// Receives for `time` and takes what comes; for tests that nothing more comes.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn receive_for(&mut self, time: Duration) -> Result<()> {
        match self.receive_until(time, |_| false) {
            Err(error) if error.is::<Elapsed>() => Ok(()),
            other => other,
        }
    }

    /// Receives until what came begins with a whole HTTP response, and takes that out.
    ///
    /// # Errors
    /// If there is none within `time`, or the connection ends first.
    pub fn response(&mut self, time: Duration) -> Result<Response> {
        self.receive_until(time, |client| {
            client.end.is_some() || Response::parse(&client.received).is_some()
        })?;
        let Some((response, length)) = Response::parse(&self.received) else {
            bail!(
                "the connection ended ({:?}) after {} bytes",
                self.end,
                self.received.len()
            );
        };
        self.received.drain(..length);
        Ok(response)
    }

    /// Receives until the other side ends the connection.
    ///
    /// # Errors
    /// If it does not within `time`.
    pub fn wait_for_end(&mut self, time: Duration) -> Result<End> {
        self.receive_until(time, |client| client.end.is_some())?;
        // The condition that was waited for.
        Ok(self.end.unwrap_or(End::Reset))
    }

    /// The next frame of this connection.
    fn next_frame(&mut self, deadline: Instant) -> Result<Option<Frame>> {
        while let Some(bytes) = self.socket.receive(deadline)? {
            let Some(frame) = Frame::parse(bytes) else {
                continue;
            };
            let Some(tcp) = frame.tcp() else { continue };
            let from = SocketAddr::new(frame.source, tcp.source_port);
            let to = SocketAddr::new(frame.destination, tcp.destination_port);
            if from == self.remote && to == self.local {
                if self.frames.len() < MOST_FRAMES {
                    self.frames.push(frame.clone());
                }
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn take(&mut self, tcp: &Tcp) -> Result<()> {
        self.echo = tcp.timestamp().unwrap_or(self.echo);
        if tcp.has(flag::RST) {
            self.end = Some(End::Reset);
            return Ok(());
        }
        if tcp.has(flag::ACK) {
            let offset = tcp.acknowledgement.wrapping_sub(self.origin);
            if offset <= self.sent {
                self.acknowledged = self.acknowledged.max(offset);
            }
        }
        // How much of the payload was received before; more than its length if it lies ahead.
        let known = self.receive_next.wrapping_sub(tcp.sequence) as usize;
        if let Some(fresh) = tcp.payload.get(known..) {
            if self.received.len() + fresh.len() > MOST_RECEIVED {
                bail!("more than {MOST_RECEIVED} bytes received");
            }
            self.received.extend_from_slice(fresh);
            self.receive_next = self.receive_next.wrapping_add(fresh.len() as u32);
            if tcp.has(flag::FIN) && self.end.is_none() {
                self.receive_next = self.receive_next.wrapping_add(1);
                self.end = Some(End::Fin);
            }
        }
        if self.acknowledging && (!tcp.payload.is_empty() || tcp.has(flag::FIN) || tcp.has(flag::SYN)) {
            self.acknowledge()?;
        }
        Ok(())
    }

    fn acknowledge(&self) -> Result<()> {
        self.send_tcp(self.segment(self.sent, b"", 0))
    }
}

/// The command for `ip` that says where an address is.
fn neighbour(address: IpAddr, mac: Mac, device: &str) -> String {
    let hexadecimal = mac.map(|byte| format!("{byte:02x}")).join(":");
    format!("neigh replace {address} lladdr {hexadecimal} dev {device} nud permanent\n")
}

impl Drop for RawTcp {
    fn drop(&mut self) {
        if self.end != Some(End::Reset) {
            // The lab may be gone already; then there is nobody to tell.
            let _ = self.reset();
        }
    }
}
