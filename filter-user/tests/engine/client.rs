//! One side of one connection: builds frames with right checksums.

use std::net::IpAddr;

use filter_common::{Address, FlowKey};
use xtask::lab::frame::{Frame, Tcp, Transport, flag};

pub(crate) const SERVER_PORT: u16 = 80;
/// The server's initial sequence number.
pub(crate) const SERVER_ISN: u32 = u32::MAX - 5;
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) port: u16,
    pub(crate) isn: u32,
    /// What it acknowledges.
    pub(crate) acknowledgement: u32,
    pub(crate) options: Vec<u8>,
}

impl Client {
    pub(crate) fn v4(port: u16) -> Self {
        Self::new([10, 71, 0, 2].into(), [10, 72, 0, 2].into(), port)
    }

    pub(crate) fn v6(port: u16) -> Self {
        let address = |net| IpAddr::from([net, 0, 0, 0, 0, 0, 0, 2]);
        Self::new(address(0xfd71), address(0xfd72), port)
    }

    fn new(source: IpAddr, destination: IpAddr, port: u16) -> Self {
        Self {
            source,
            destination,
            port,
            isn: 1000,
            acknowledgement: SERVER_ISN.wrapping_add(1),
            options: Vec::new(),
        }
    }

    pub(crate) fn key(&self) -> FlowKey {
        FlowKey::tcp(
            Address::from(self.source),
            self.port,
            Address::from(self.destination),
            SERVER_PORT,
        )
    }

    /// The sequence number of the byte at `offset` of its stream.
    pub(crate) fn seq(&self, offset: usize) -> u32 {
        self.isn.wrapping_add(1).wrapping_add(offset as u32)
    }

    pub(crate) fn syn(&self) -> Vec<u8> {
        let tcp = Tcp {
            sequence: self.isn,
            flags: flag::SYN,
            ..Tcp::default()
        };
        self.frame(tcp).to_bytes()
    }

    /// `payload` at `offset` of the stream.
    pub(crate) fn data(&self, offset: usize, payload: &[u8]) -> Vec<u8> {
        self.segment(offset, flag::ACK | flag::PSH, payload).to_bytes()
    }

    pub(crate) fn segment(&self, offset: usize, flags: u8, payload: &[u8]) -> Frame {
        self.frame(Tcp {
            sequence: self.seq(offset),
            acknowledgement: self.acknowledgement,
            flags,
            payload: payload.to_vec(),
            ..Tcp::default()
        })
    }

    fn frame(&self, tcp: Tcp) -> Frame {
        let tcp = Tcp {
            source_port: self.port,
            destination_port: SERVER_PORT,
            window: 1024,
            options: self.options.clone(),
            ..tcp
        };
        Frame::new(MACS, self.source, self.destination, Transport::Tcp(tcp))
    }
}
