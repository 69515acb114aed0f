//! Where the frames come from: a packet socket at the other end of the cable.

use std::{
    io::IoSlice,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Address, FlowKey, FlowState};
use filter_user::{
    bpf::Tables,
    flow::checksum::{self, PseudoHeader},
    ring::QueueHandle,
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, sendmmsg},
};
use xtask::lab::{
    address,
    frame::{Frame, Mac, Tcp, Transport, flag},
};

/// Flows of one round.
pub(super) const FLOWS: usize = 512;
/// Bytes of a request.
pub(super) const REQUEST: usize = 250;
/// Frames of one system call.
const BATCH: usize = 64;
/// Frames that are put into the ring at once; it holds twice as many.
pub(super) const FILL: usize = 1024;
/// Requests of a flow that the server leaves unacknowledged at most.
const UNACKNOWLEDGED: usize = 32;
/// How long frames may take into the ring.
const PATIENCE: Duration = Duration::from_secs(2);
const IP: usize = 14;
const TCP: usize = IP + 20;
const SEQUENCE: usize = TCP + 4;
const FLAGS: usize = TCP + 13;
const CLIENT_PORT: u16 = 40_000;
/// The sequence number of every SYN.
const INITIAL: u32 = 1000;

/// A connection's next frame.
struct Flow {
    syn: Vec<u8>,
    frame: Vec<u8>,
    key: FlowKey,
    next: u32,
}

/// Sends the frames of one round's connections.
pub(super) struct Sender<'a> {
    way: &'a Way,
    flows: Vec<Flow>,
    /// The flow that sends next.
    next: usize,
    /// Requests of each flow since the last acknowledgement.
    unacknowledged: usize,
}

/// Where frames go, and how that they have come is seen.
pub(super) struct Way {
    pub(super) socket: OwnedFd,
    pub(super) macs: (Mac, Mac),
    pub(super) queue: QueueHandle,
}

impl<'a> Sender<'a> {
    /// Connections that are others in each round. Nothing is sent yet.
    pub(super) fn new(way: &'a Way, round: u16) -> Self {
        let flow = |number| Flow::new(way.macs, round, number);
        Self {
            way,
            flows: (0..FLOWS).map(flow).collect(),
            next: 0,
            unacknowledged: UNACKNOWLEDGED,
        }
    }

    /// Puts the opening segments of all connections into the ring.
    ///
    /// # Errors
    /// If they do not arrive.
    pub(super) fn open(&self) -> Result<()> {
        let syns: Vec<&[u8]> = self.flows.iter().map(|flow| flow.syn.as_slice()).collect();
        self.way.put(&syns)
    }

    /// Puts [`FILL`] requests into the ring.
    ///
    /// # Errors
    /// If they do not arrive.
    pub(super) fn fill(&mut self, tables: &mut Tables) -> Result<()> {
        if self.unacknowledged >= UNACKNOWLEDGED {
            self.acknowledge(tables)?;
            self.unacknowledged = 0;
        }
        for _ in 0..FILL / BATCH {
            let flows = &mut self.flows[self.next..self.next + BATCH];
            flows.iter_mut().for_each(Flow::advance);
            let frames: Vec<&[u8]> = flows.iter().map(|flow| flow.frame.as_slice()).collect();
            self.way.put(&frames)?;
            self.next = (self.next + BATCH) % FLOWS;
        }
        self.unacknowledged += FILL / FLOWS;
        Ok(())
    }

    /// Puts resets of all connections into the ring: nothing is kept of them any longer.
    ///
    /// # Errors
    /// If they do not arrive.
    pub(super) fn close(&mut self) -> Result<()> {
        for flow in &mut self.flows {
            flow.reset();
        }
        let resets: Vec<&[u8]> = self.flows.iter().map(|flow| flow.frame.as_slice()).collect();
        self.way.put(&resets)
    }

    /// As if the server had answered: it has everything up to here.
    fn acknowledge(&self, tables: &mut Tables) -> Result<()> {
        for flow in &self.flows {
            let mut state = tables.flows.get(&flow.key, 0).unwrap_or_default();
            ensure!(
                state.path == FlowState::PATH_INSPECT,
                "the program does not know a flow whose SYN was sent"
            );
            state.server_flags = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
            state.server_opened = 2;
            state.server_ack = flow.next;
            tables
                .flows
                .insert(flow.key, state, 0)
                .context("entering a flow")?;
        }
        Ok(())
    }
}

impl Way {
    /// Sends frames, and waits until they are in the ring.
    fn put(&self, frames: &[&[u8]]) -> Result<()> {
        let expected = self.queue.redirected() + frames.len() as u64;
        for frames in frames.chunks(BATCH) {
            let batch: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
            let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
            let (none, mut sent) = ([None; BATCH], 0);
            while sent < batch.len() {
                match sendmmsg(
                    self.socket.as_raw_fd(),
                    &mut headers,
                    &batch[sent..],
                    &none[sent..batch.len()],
                    [],
                    MsgFlags::empty(),
                ) {
                    Ok(results) => sent += results.count(),
                    Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => return Err(error).context("sending frames"),
                }
            }
        }
        let end = Instant::now() + PATIENCE;
        while self.queue.redirected() < expected {
            ensure!(
                Instant::now() < end,
                "{} of {} frames did not come into the ring",
                expected - self.queue.redirected(),
                frames.len()
            );
            thread::yield_now();
        }
        Ok(())
    }
}

impl Flow {
    fn new(macs: (Mac, Mac), round: u16, number: usize) -> Self {
        let next = INITIAL + 1;
        let frame = frame(macs, round, number, next, flag::ACK | flag::PSH, &request(number));
        Self {
            key: FlowKey::tcp(
                Address::from(frame.source),
                CLIENT_PORT,
                Address::from(frame.destination),
                address::NGINX_PORT,
            ),
            syn: self::frame(macs, round, number, INITIAL, flag::SYN, b"").to_bytes(),
            frame: frame.to_bytes(),
            next,
        }
    }

    /// Makes the next request of the frame.
    fn advance(&mut self) {
        self.complete();
        self.next = self.next.wrapping_add(REQUEST as u32);
    }

    /// Makes a reset of it.
    fn reset(&mut self) {
        self.frame.truncate(self.syn.len());
        self.frame[IP..].copy_from_slice(&self.syn[IP..]);
        self.frame[FLAGS] = flag::RST;
        self.complete();
    }

    fn complete(&mut self) {
        let frame = &mut self.frame;
        frame[SEQUENCE..SEQUENCE + 4].copy_from_slice(&self.next.to_be_bytes());
        let address = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
        let pseudo = PseudoHeader::ipv4(address(IP + 12), address(IP + 16), (frame.len() - TCP) as u16);
        checksum::complete(&mut frame[TCP..], pseudo);
    }
}

fn frame(macs: (Mac, Mac), round: u16, number: usize, sequence: u32, flags: u8, payload: &[u8]) -> Frame {
    let tcp = Tcp {
        source_port: CLIENT_PORT,
        destination_port: address::NGINX_PORT,
        sequence,
        acknowledgement: u32::from(flags & flag::ACK != 0),
        flags,
        window: 1024,
        urgent: 0,
        options: Vec::new(),
        payload: payload.to_vec(),
    };
    let [high, low] = round.to_be_bytes();
    let source = Ipv4Addr::new(20 + high, low, (number >> 8) as u8, number as u8);
    Frame::new(
        macs,
        IpAddr::V4(source),
        IpAddr::V4(address::SERVER_V4),
        Transport::Tcp(tcp),
    )
}

/// A GET of [`REQUEST`] bytes.
fn request(number: usize) -> Vec<u8> {
    let head = format!(
        "GET /shop/products/{number:06}/chairs?page=2&sort=price HTTP/1.1\r\nHost: www.shop.example\r\nUser-Agent: Mozilla/5.0 (X11; \
         Linux x86_64; rv:128)\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Language: en-GB\r\nReferer: "
    );
    let mut bytes = head.into_bytes();
    bytes.extend(
        b"/shop/products/"
            .iter()
            .copied()
            .cycle()
            .take(REQUEST - 4 - bytes.len()),
    );
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use xtask::lab::frame::Checksum;

    use super::*;

    #[test]
    fn requests_go_on_where_the_last_one_ended() {
        assert_eq!(request(511).len(), REQUEST);
        let macs = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut flow = Flow::new(macs, 300, 511);
        for number in 0..3 {
            flow.advance();
            let sent = Frame::parse(&flow.frame).expect("a frame that parses");
            assert_eq!(sent.checksum, Checksum::Valid);
            let sequence = sent.tcp().expect("it is TCP").sequence;
            assert_eq!(sequence, INITIAL + 1 + number * REQUEST as u32);
        }
        flow.reset();
        let reset = Frame::parse(&flow.frame).expect("a frame that parses");
        assert_eq!(reset.checksum, Checksum::Valid);
        let tcp = reset.tcp().expect("it is TCP");
        assert_eq!(
            (tcp.flags, tcp.sequence),
            (flag::RST, INITIAL + 1 + 3 * REQUEST as u32)
        );
    }
}
