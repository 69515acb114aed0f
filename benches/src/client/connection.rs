//! One keep-alive connection that never waits.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollEvent, EpollFlags},
        socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt},
    },
};

use super::{
    Request,
    answer::{Answer, Finished},
};

/// What is read at once, bytes.
const ROOM: usize = 64 << 10;

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Underway,
    Answered(Finished),
    /// The connection failed or ended before the answer did.
    Broken,
}

/// A connection and the request that it carries.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    sent: usize,
    answer: Answer,
}

impl Connection {
    /// Begins to connect, in the namespace of the calling thread. `epoll` tells of progress under `number`.
    pub(super) fn open(
        source: Option<Ipv4Addr>,
        target: SocketAddrV4,
        epoll: &Epoll,
        number: usize,
    ) -> Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        if let Some(source) = source {
            // The port is chosen when it connects: one that is free towards this server.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            bind(
                socket.as_raw_fd(),
                &SockaddrIn::from(SocketAddrV4::new(source, 0)),
            )
            .with_context(|| format!("binding to {source}"))?;
        }
        match connect(socket.as_raw_fd(), &SockaddrIn::from(target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("connecting to {target}")),
        }
        let events =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        epoll.add(&socket, EpollEvent::new(events, number as u64))?;
        Ok(Self {
            stream: TcpStream::from(socket),
            sent: 0,
            answer: Answer::default(),
        })
    }

    /// Whether the other side has ended it.
    pub(super) fn is_closed(&self) -> bool {
        let mut byte = [0];
        match self.stream.peek(&mut byte) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected),
        }
    }

    /// For the next request.
    pub(super) fn again(&mut self) {
        self.sent = 0;
        self.answer.clear();
    }

    /// Sends and receives what is possible now.
    pub(super) fn advance(&mut self, request: &Request, room: &mut Room) -> Progress {
        while self.sent < request.bytes.len() {
            match self.stream.write(&request.bytes[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Not yet connected.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Progress::Underway,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The answer may have come before: a refusal does not wait for the whole request.
                Err(_) => break,
            }
        }
        loop {
            match self.stream.read(&mut room.0) {
                Ok(0) => return self.answer.at_end().map_or(Progress::Broken, Progress::Answered),
                Ok(length) => {
                    if let Some(finished) = self.answer.take(&room.0[..length], request.headless) {
                        // What of the request is not sent would be taken for the next one.
                        let closes = finished.closes || self.sent < request.bytes.len();
                        return Progress::Answered(Finished { closes, ..finished });
                    }
                    // Edges come again for what is not read yet, and a short read has emptied the socket.
                    if length < ROOM {
                        return Progress::Underway;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Underway,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Broken,
            }
        }
    }
}

/// Where answers are read to.
pub(super) struct Room(Box<[u8]>);

impl Room {
    pub(super) fn new() -> Self {
        Self(vec![0; ROOM].into_boxed_slice())
    }
}
