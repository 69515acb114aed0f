//! HTTP exchanges that never wait, so that one thread has many of them.

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
        socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket},
    },
};

use super::http::Response;

/// The least that is read at once, bytes.
const ROOM: usize = 16 << 10;

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not at its end.
    Underway,
    /// The whole answer is there; its status.
    Answered(u16),
    /// The connection failed or ended before that.
    Broken,
}

/// A request and its answer, on a connection of its own or one that it takes over.
#[derive(Debug)]
pub(super) struct Exchange {
    stream: TcpStream,
    request: &'static [u8],
    sent: usize,
    received: Vec<u8>,
}

impl Exchange {
    /// Begins to connect, in the namespace of the calling thread. `epoll` tells of progress under `number`.
    pub(super) fn open(
        source: Ipv4Addr,
        target: SocketAddrV4,
        request: &'static [u8],
        epoll: &Epoll,
        number: usize,
    ) -> Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(source, 0)),
        )
        .with_context(|| format!("binding to {source}"))?;
        match connect(socket.as_raw_fd(), &SockaddrIn::from(target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("connecting from {source} to {target}")),
        }
        let events =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        epoll.add(&socket, EpollEvent::new(events, number as u64))?;
        Ok(Self {
            stream: TcpStream::from(socket),
            request,
            sent: 0,
            received: Vec::new(),
        })
    }

    /// Another request like the one before, on the same connection.
    pub(super) fn again(&mut self) {
        self.sent = 0;
        self.received.clear();
    }

    /// Sends and receives what is possible now.
    pub(super) fn advance(&mut self) -> Progress {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Underway,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Broken,
            }
        }
        let mut room = [0; ROOM];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Progress::Broken,
                Ok(length) => {
                    self.received.extend_from_slice(&room[..length]);
                    if let Some((response, _)) = Response::parse(&self.received) {
                        return Progress::Answered(response.status);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Underway,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Broken,
            }
        }
    }
}
