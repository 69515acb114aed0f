//! The packets that the tests send.

use std::net::IpAddr;

use filter_common::{Address, FlowKey};
use xtask::lab::frame::{Frame, Tcp, Transport, flag};

pub(crate) const CLIENT_PORT: u16 = 40_000;
pub(crate) const SERVER_PORT: u16 = 80;
pub(crate) const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n";
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

/// The address family of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn client(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 71, 0, 2]),
            Self::V6 => IpAddr::from([0xfd71, 0, 0, 0, 0, 0, 0, 2]),
        }
    }

    pub(crate) fn server(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 72, 0, 2]),
            Self::V6 => IpAddr::from([0xfd72, 0, 0, 0, 0, 0, 0, 2]),
        }
    }

    /// The flow of [`segment`].
    pub(crate) fn flow(self) -> FlowKey {
        FlowKey::tcp(
            Address::from(self.client()),
            CLIENT_PORT,
            Address::from(self.server()),
            SERVER_PORT,
        )
    }
}

/// A segment from client to server.
pub(crate) fn segment(family: Family, flags: u8, payload: &[u8]) -> Frame {
    let tcp = Tcp {
        source_port: CLIENT_PORT,
        destination_port: SERVER_PORT,
        sequence: 1000,
        acknowledgement: 2000,
        flags,
        window: 1024,
        urgent: 0,
        options: Vec::new(),
        payload: payload.to_vec(),
    };
    Frame::new(MACS, family.client(), family.server(), Transport::Tcp(tcp))
}

/// A plain request.
pub(crate) fn request(family: Family) -> Frame {
    segment(family, flag::ACK | flag::PSH, PLAIN)
}

/// The first segment of a connection.
pub(crate) fn syn(family: Family) -> Frame {
    segment(family, flag::SYN, b"")
}

/// A segment from server to client.
pub(crate) fn reply(family: Family, tcp: Tcp) -> Frame {
    let tcp = Tcp {
        source_port: SERVER_PORT,
        destination_port: CLIENT_PORT,
        ..tcp
    };
    Frame::new(MACS, family.server(), family.client(), Transport::Tcp(tcp))
}

/// A datagram from this port.
pub(crate) fn udp(family: Family, source_port: u16) -> Frame {
    let transport = Transport::Udp {
        source_port,
        destination_port: 40_000,
        payload: b"datagram".to_vec(),
    };
    Frame::new(MACS, family.client(), family.server(), transport)
}

/// An IP packet of another protocol.
pub(crate) fn raw(family: Family, protocol: u8, bytes: &[u8]) -> Frame {
    let transport = Transport::Raw {
        protocol,
        bytes: bytes.to_vec(),
    };
    Frame::new(MACS, family.client(), family.server(), transport)
}

pub(crate) fn tcp_mut(frame: &mut Frame) -> &mut Tcp {
    match &mut frame.transport {
        Transport::Tcp(tcp) => tcp,
        _ => panic!("the frame is TCP"),
    }
}
