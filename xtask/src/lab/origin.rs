//! The HTTP server that records every byte it gets, and how each connection ended.
//!
//! It upgrades to any protocol, and sends back what it gets then.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, poll};

use super::Lab;
use super::http::{Parsed, Request, header};
use super::wait::wait_for;

/// How often waiting threads look whether they should stop.
const TICK: Duration = Duration::from_millis(50);
/// The most connections that are recorded; later ones are closed at once.
pub const MOST_CONNECTIONS: usize = 4096;
/// The most bytes that one connection may send; then it is closed.
pub const MOST_BYTES: usize = 64 << 20;

/// How a connection ended, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client sent FIN.
    Fin,
    /// The client sent RST, or something in its name did.
    Reset,
    /// The server closed it: after a request that asked for it, a malformed one, or too many bytes.
    Closed,
}

/// What is known of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// Every byte received, in order.
    pub bytes: Vec<u8>,
    /// The whole requests among them.
    pub requests: Vec<Request>,
    /// How it ended; `None` while it is open.
    pub end: Option<End>,
}

/// A running origin in the server's namespace. Dropping it stops it.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<Vec<Connection>>,
    stop: AtomicBool,
}

impl Shared {
    /// A panicking thread leaves whole records behind.
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, number: usize, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections().get_mut(number) {
            change(connection);
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Origin {
    /// Starts an origin on a port of the lab's server, IPv4 and IPv6.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(lab: &Lab, port: u16) -> Result<Self> {
        let listener = lab
            .server()
            .enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
            .with_context(|| format!("listening on port {port}"))?;
        listener
            .set_nonblocking(true)
            .context("making the listener non-blocking")?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || accept(&listener, &accepting));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// All connections so far, in the order of their arrival.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.shared.connections().clone()
    }

    /// All whole requests so far, by connection.
    #[must_use]
    pub fn complete_requests(&self) -> Vec<Request> {
        self.shared
            .connections()
            .iter()
            .flat_map(|connection| connection.requests.clone())
            .collect()
    }

    /// All bytes received so far, over all connections.
    #[must_use]
    pub fn bytes_received(&self) -> usize {
        self.shared
            .connections()
            .iter()
            .map(|connection| connection.bytes.len())
            .sum()
    }

    /// Waits until the connection from this client has ended, and returns it.
    ///
    /// # Errors
    /// If there is no such connection, or it is still open, when `deadline` has passed.
    pub fn wait_for_end(&self, peer: SocketAddr, deadline: Duration) -> Result<Connection> {
        wait_for(&format!("the connection from {peer} ending"), deadline, || {
            let connections = self.shared.connections();
            connections
                .iter()
                .find(|found| found.peer == peer && found.end.is_some())
                .cloned()
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// FNV-1a, 64 bits: enough to tell bodies apart in an answer.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while !shared.stopping() {
        match listener.accept() {
            Ok((stream, peer)) => {
                let mut connections = shared.connections();
                let number = connections.len();
                if number < MOST_CONNECTIONS {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    connections.push(Connection {
                        peer,
                        bytes: Vec::new(),
                        requests: Vec::new(),
                        end: None,
                    });
                    let shared = Arc::clone(shared);
                    threads.push(thread::spawn(move || {
                        let end = serve(stream, number, &shared);
                        shared.with(number, |connection| connection.end = end);
                    }));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let tick = TICK.as_millis() as u16;
                // Interrupted or not, the loop looks again.
                let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], tick);
            }
            Err(error) => eprintln!("origin: accepting: {error}"),
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Serves one connection to its end; `None` if the origin stopped first.
fn serve(mut stream: TcpStream, number: usize, shared: &Shared) -> Option<End> {
    if let Err(error) = stream
        .set_read_timeout(Some(TICK))
        .and_then(|()| stream.set_nonblocking(false))
    {
        eprintln!("origin: preparing a connection: {error}");
        return Some(End::Closed);
    }
    let mut buffer = vec![0; 64 << 10];
    let mut pending: Vec<u8> = Vec::new();
    let mut received = 0;
    loop {
        let bytes = match receive(&mut stream, &mut buffer, shared) {
            Ok(length) => &buffer[..length],
            Err(end) => return end,
        };
        received += bytes.len();
        pending.extend_from_slice(bytes);
        shared.with(number, |connection| connection.bytes.extend_from_slice(bytes));
        if received > MOST_BYTES {
            return Some(End::Closed);
        }
        loop {
            match Request::parse(&pending) {
                Parsed::Incomplete => break,
                Parsed::Malformed(_) => {
                    // The client may be gone; the record is what counts.
                    let _ = stream.write_all(
                        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    return Some(End::Closed);
                }
                Parsed::Complete(request, length) => {
                    pending.drain(..length);
                    let text = format!("{} {:016x}\n", request.body.len(), digest(&request.body));
                    let alive = request.keeps_alive();
                    let upgrade = header(&request.headers, "upgrade").map(str::to_owned);
                    shared.with(number, |connection| connection.requests.push(request));
                    if let Some(protocol) = upgrade {
                        return tunnel(stream, &protocol, pending, number, shared);
                    }
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return Some(End::Reset);
                    }
                    if !alive {
                        return Some(End::Closed);
                    }
                }
            }
        }
    }
}

/// The next bytes of a client; or how the connection ended, `None` if the origin stopped first.
fn receive(stream: &mut TcpStream, buffer: &mut [u8], shared: &Shared) -> Result<usize, Option<End>> {
    while !shared.stopping() {
        match stream.read(buffer) {
            Ok(0) => return Err(Some(End::Fin)),
            Ok(length) => return Ok(length),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                _ => return Err(Some(End::Reset)),
            },
        }
    }
    Err(None)
}

/// Agrees to an upgrade, and sends back what comes after it; `pending` has come already.
fn tunnel(
    mut stream: TcpStream,
    protocol: &str,
    pending: Vec<u8>,
    number: usize,
    shared: &Shared,
) -> Option<End> {
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
    let mut back = [answer.into_bytes(), pending].concat();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if stream.write_all(&back).is_err() {
            return Some(End::Reset);
        }
        match receive(&mut stream, &mut buffer, shared) {
            Ok(length) => back = buffer[..length].to_vec(),
            Err(end) => return end,
        }
        shared.with(number, |connection| connection.bytes.extend_from_slice(&back));
    }
}
