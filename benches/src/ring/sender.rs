//! Where the frames come from: a packet socket at the other end of the cable, on a thread of its own.

use std::{
    io::IoSlice,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
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
/// Frames in the ring at most; it holds twice as many.
const IN_FLIGHT: u64 = 1024;
/// Requests of a flow that the server leaves unacknowledged at most.
const UNACKNOWLEDGED: u32 = 32;
const IP: usize = 14;
const TCP: usize = IP + 20;
const SEQUENCE: usize = TCP + 4;
const CLIENT_PORT: u16 = 40_000;
/// The sequence number of every SYN.
const INITIAL: u32 = 1000;

/// A connection's next frame.
struct Flow {
    frame: Vec<u8>,
    key: FlowKey,
    next: u32,
}

/// The running sender.
pub(super) struct Sender {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

/// Where frames go, and how that they were taken is seen.
pub(super) struct Way {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) macs: (Mac, Mac),
    pub(super) queue: QueueHandle,
    pub(super) tables: Tables,
}

impl Sender {
    /// Opens as many connections as [`FLOWS`], others in each round, then sends requests until it is stopped.
    pub(super) fn start(way: Way, round: u16) -> Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new()
            .name("sender".to_owned())
            .spawn(move || way.send(round, &told))
            .context("starting a thread")?;
        Ok(Self { ending, thread })
    }

    /// Ends it. What it has sent may still be in the ring.
    pub(super) fn stop(self) -> Result<()> {
        self.ending.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        joined.unwrap_or_else(|_| Err(anyhow!("the sender panicked")))
    }

    /// Whether it has ended, with an error then.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Way {
    fn send(mut self, round: u16, ending: &AtomicBool) -> Result<()> {
        super::site::pin(1)?;
        let syns: Vec<Vec<u8>> = (0..FLOWS)
            .map(|number| frame(self.macs, round, number, INITIAL, flag::SYN, b"").to_bytes())
            .collect();
        for batch in syns.chunks(BATCH) {
            self.put(batch.iter().map(Vec::as_slice), ending)?;
        }
        let mut flows: Vec<Flow> = (0..FLOWS).map(|number| self.flow(round, number)).collect();
        while self.waiting() > 0 && !ending.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_micros(50));
        }
        let mut since = UNACKNOWLEDGED;
        while !ending.load(Ordering::Relaxed) {
            if since == UNACKNOWLEDGED {
                self.acknowledge(&flows)?;
                since = 0;
            }
            for flows in flows.chunks_mut(BATCH) {
                for flow in &mut *flows {
                    flow.advance();
                }
                self.put(flows.iter().map(|flow| flow.frame.as_slice()), ending)?;
            }
            since += 1;
        }
        Ok(())
    }

    /// Frames in the ring.
    fn waiting(&self) -> u64 {
        self.queue.redirected().saturating_sub(self.queue.consumed())
    }

    /// Sends frames when there is room.
    fn put<'a>(&self, frames: impl Iterator<Item = &'a [u8]>, ending: &AtomicBool) -> Result<()> {
        while self.waiting() > IN_FLIGHT {
            if ending.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        let batch: Vec<[IoSlice<'_>; 1]> = frames.map(|frame| [IoSlice::new(frame)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut sent = 0;
        while sent < batch.len() {
            let none = [None; BATCH];
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
        Ok(())
    }

    /// As if the server had answered: it has everything up to here.
    fn acknowledge(&mut self, flows: &[Flow]) -> Result<()> {
        for flow in flows {
            let mut state = self.tables.flows.get(&flow.key, 0).unwrap_or_default();
            ensure!(
                state.path == FlowState::PATH_INSPECT,
                "the program does not know a flow whose SYN was sent"
            );
            state.server_flags = FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
            state.server_opened = 2;
            state.server_ack = flow.next;
            self.tables
                .flows
                .insert(flow.key, state, 0)
                .context("entering a flow")?;
        }
        Ok(())
    }

    fn flow(&self, round: u16, number: usize) -> Flow {
        let request = request(number);
        let next = INITIAL + 1;
        let frame = frame(self.macs, round, number, next, flag::ACK | flag::PSH, &request);
        Flow {
            key: FlowKey::tcp(
                Address::from(frame.source),
                CLIENT_PORT,
                Address::from(frame.destination),
                address::NGINX_PORT,
            ),
            frame: frame.to_bytes(),
            next,
        }
    }
}

impl Flow {
    /// Makes the next request of the frame.
    fn advance(&mut self) {
        let frame = &mut self.frame;
        frame[SEQUENCE..SEQUENCE + 4].copy_from_slice(&self.next.to_be_bytes());
        let address = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
        let pseudo = PseudoHeader::ipv4(address(IP + 12), address(IP + 16), (frame.len() - TCP) as u16);
        checksum::complete(&mut frame[TCP..], pseudo);
        self.next = self.next.wrapping_add(REQUEST as u32);
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
        let first = frame(macs, 300, 511, INITIAL + 1, flag::ACK, &request(511));
        let mut flow = Flow {
            frame: first.to_bytes(),
            key: FlowKey::tcp(Address::default(), 0, Address::default(), 0),
            next: INITIAL + 1,
        };
        for number in 0..3 {
            flow.advance();
            let sent = Frame::parse(&flow.frame).expect("a frame that parses");
            assert_eq!(sent.checksum, Checksum::Valid);
            let sequence = sent.tcp().expect("it is TCP").sequence;
            assert_eq!(sequence, INITIAL + 1 + number * REQUEST as u32);
        }
    }
}
