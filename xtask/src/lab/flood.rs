//! Floods of raw frames from forged addresses, as fast as one thread sends them or at a fixed rate.

use std::{
    fmt,
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, sendmmsg},
};

use super::{
    Namespace,
    frame::{Frame, Mac, Tcp, Transport, flag},
    packet_socket,
};

/// Frames of one system call.
const BATCH: usize = 64;
/// Where the IPv4 header begins.
const NETWORK: usize = 14;
/// Where the header behind it begins.
const TRANSPORT: usize = NETWORK + 20;
/// What a datagram of the flood carries: with it the frame has the least length of Ethernet.
const DATAGRAM: [u8; 18] = [0x55; 18];

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// SYNs.
    Syn,
    /// Datagrams.
    Udp,
    /// Bare acknowledgements of connections that do not exist.
    Ack,
}

impl FloodKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Syn, Self::Udp, Self::Ack];

    fn transport(self, port: u16) -> Transport {
        let tcp = |flags| {
            Transport::Tcp(Tcp {
                destination_port: port,
                flags,
                window: 64_240,
                ..Tcp::default()
            })
        };
        match self {
            Self::Syn => tcp(flag::SYN),
            Self::Ack => tcp(flag::ACK),
            Self::Udp => Transport::Udp {
                source_port: 0,
                destination_port: port,
                payload: DATAGRAM.to_vec(),
            },
        }
    }
}

impl fmt::Display for FloodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syn => "syn",
            Self::Udp => "udp",
            Self::Ack => "ack",
        })
    }
}

/// How many frames a flood has sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    /// Frames that the interface took.
    pub frames: u32,
    /// Frames that it refused because the link was full.
    pub refused: u32,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Sent {
    /// Frames a second that the interface took.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.frames) / self.seconds
    }
}

/// A running flood. Dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Sent>>>,
}

impl Flood {
    /// Floods `target` with frames of this kind out of `interface` of `namespace`. `hop` is the hardware address that they are
    /// sent to; `rate` is in frames a second, `None` as fast as one thread is.
    ///
    /// # Errors
    /// If not root, or there is no such interface.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        hop: Mac,
        kind: FloodKind,
        target: SocketAddrV4,
        rate: Option<u32>,
    ) -> Result<Self> {
        let socket = packet_socket::sender(namespace, interface)?;
        let frames = Frames::new(kind, (namespace.mac(interface)?, hop), target);
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new()
            .name(format!("flood-{kind}"))
            .spawn(move || send(&socket, frames, rate, &told))
            .context("starting a flood's thread")?;
        Ok(Self {
            ending,
            thread: Some(thread),
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If sending failed meanwhile.
    pub fn stop(mut self) -> Result<Sent> {
        self.end().unwrap_or_else(|| Err(anyhow!("the flood has ended")))
    }

    fn end(&mut self) -> Option<Result<Sent>> {
        self.ending.store(true, Ordering::Relaxed);
        let joined = self.thread.take()?.join();
        Some(joined.unwrap_or_else(|_| Err(anyhow!("the flood's thread panicked"))))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Its result is nobody's any more.
        let _ = self.end();
    }
}

fn send(socket: &OwnedFd, mut frames: Frames, rate: Option<u32>, ending: &AtomicBool) -> Result<Sent> {
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let start = Instant::now();
    let (mut sent, mut refused) = (0, 0);
    while !ending.load(Ordering::Relaxed) {
        let due = rate.map_or(BATCH, |rate| {
            let due = due(start.elapsed(), rate) as u32;
            due.saturating_sub(sent + refused).min(BATCH as u32) as usize
        });
        if due == 0 {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let batch: Vec<[IoSlice<'_>; 1]> = frames.next(due).map(|frame| [IoSlice::new(frame)]).collect();
        let none = [None; BATCH];
        match sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &batch,
            none,
            [],
            MsgFlags::empty(),
        ) {
            Ok(results) => sent += results.count() as u32,
            Err(Errno::ENOBUFS | Errno::EAGAIN) => refused += 1,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("sending a flood"),
        }
    }
    Ok(Sent {
        frames: sent,
        refused,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// How many of `rate` a second are due after so long.
pub(super) fn due(elapsed: Duration, rate: u32) -> u64 {
    (elapsed.as_nanos() * u128::from(rate) / 1_000_000_000) as u64
}

/// Frames that are each from another address.
struct Frames {
    bytes: Vec<u8>,
    length: usize,
    kind: FloodKind,
    random: Random,
    /// What the two checksums add up to without what changes from frame to frame.
    network_sum: u32,
    transport_sum: u32,
}

impl Frames {
    fn new(kind: FloodKind, macs: (Mac, Mac), target: SocketAddrV4) -> Self {
        // What changes is zero here.
        let frame = Frame::new(
            macs,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(*target.ip()),
            kind.transport(target.port()),
        );
        let bytes = frame.to_bytes();
        let checksum = |at: usize| u32::from(!u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        Self {
            length: bytes.len(),
            kind,
            random: Random(0x9e37_79b9_7f4a_7c15),
            network_sum: checksum(NETWORK + 10),
            transport_sum: checksum(TRANSPORT + kind.checksum_at()),
            bytes: bytes.repeat(BATCH),
        }
    }

    /// The next frames, at most [`BATCH`].
    fn next(&mut self, count: usize) -> impl Iterator<Item = &[u8]> {
        for frame in self.bytes.chunks_exact_mut(self.length).take(count) {
            let source = self.random.source().octets();
            let numbers = self.random.next().to_be_bytes();
            // A client's port.
            let port = [numbers[0] | 0x80, numbers[1]];
            frame[NETWORK + 12..NETWORK + 16].copy_from_slice(&source);
            frame[TRANSPORT..TRANSPORT + 2].copy_from_slice(&port);
            let mut changed = sum(&source) + sum(&port);
            if self.kind != FloodKind::Udp {
                let sequence = &numbers[2..6];
                frame[TRANSPORT + 4..TRANSPORT + 8].copy_from_slice(sequence);
                changed += sum(sequence);
            }
            if self.kind == FloodKind::Ack {
                let acknowledgement = [numbers[6], numbers[7], numbers[0], numbers[1]];
                frame[TRANSPORT + 8..TRANSPORT + 12].copy_from_slice(&acknowledgement);
                changed += sum(&acknowledgement);
            }
            put_checksum(frame, NETWORK + 10, self.network_sum + sum(&source));
            put_checksum(
                frame,
                TRANSPORT + self.kind.checksum_at(),
                self.transport_sum + changed,
            );
        }
        self.bytes.chunks_exact(self.length).take(count)
    }
}

impl FloodKind {
    /// Where the checksum is behind the IP header.
    fn checksum_at(self) -> usize {
        match self {
            Self::Syn | Self::Ack => 16,
            Self::Udp => 6,
        }
    }
}

/// The sum of 16-bit words, of an even number of bytes.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

fn put_checksum(frame: &mut [u8], at: usize, mut sum: u32) {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = match !(sum as u16) {
        // In UDP it means that there is none (RFC 768).
        0 => u16::MAX,
        checksum => checksum,
    };
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): the same sequence on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An address that a packet from the Internet may have: 11.0.0.0 to 126.255.255.255.
    fn source(&mut self) -> Ipv4Addr {
        let number = self.next();
        let first = 11 + (number >> 32) % 116;
        Ipv4Addr::from((first << 24) as u32 | number as u32 & 0x00ff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::lab::frame::Checksum;

    #[test]
    fn frames_are_whole_and_each_from_another_address() {
        let macs = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let target = SocketAddrV4::new(Ipv4Addr::new(10, 72, 0, 2), 80);
        for kind in FloodKind::ALL {
            let mut frames = Frames::new(kind, macs, target);
            let mut sources = HashSet::new();
            for _ in 0..100 {
                for bytes in frames.next(BATCH) {
                    let frame = Frame::parse(bytes).expect("a frame that parses");
                    assert_eq!(frame.checksum, Checksum::Valid, "{kind}: {frame:?}");
                    let header = &bytes[NETWORK..TRANSPORT];
                    let mut folded = sum(header);
                    folded = (folded & 0xffff) + (folded >> 16);
                    assert_eq!(folded, 0xffff, "{kind}: the IP header's checksum");
                    assert_eq!(frame.destination, IpAddr::V4(*target.ip()));
                    let flags = frame.tcp().map(|tcp| (tcp.destination_port, tcp.flags));
                    match kind {
                        FloodKind::Syn => assert_eq!(flags, Some((80, flag::SYN))),
                        FloodKind::Ack => assert_eq!(flags, Some((80, flag::ACK))),
                        FloodKind::Udp => assert_eq!(flags, None),
                    }
                    sources.insert(frame.source);
                }
            }
            assert!(sources.len() > 100 * BATCH - 10, "{kind}: {}", sources.len());
        }
    }
}
