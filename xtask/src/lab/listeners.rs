//! Many WebSocket clients of one server on one thread, some of which do not read.

use std::{
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use serde::Deserialize;
use tungstenite::{Message, WebSocket, client::client_with_config, error::Error, protocol::WebSocketConfig};

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at whether all is over.
const LOOK: Duration = Duration::from_millis(20);
/// The library clears as much before each read.
const READ_BYTES: usize = 8 << 10;
/// Nobody has said how many messages there will be.
const NOT_YET: u64 = u64::MAX;

/// Who listens, and where.
#[derive(Clone, Debug)]
pub struct Audience {
    /// The server's Unix socket.
    pub socket: PathBuf,
    /// What is asked for there, as `/v1/events?topics=verdicts`.
    pub path: String,
    /// How many.
    pub count: usize,
    /// How many of them do not read until all is over.
    pub deaf: usize,
}

/// Clients that are connected. Dropping them ends them.
#[derive(Debug)]
pub struct Listeners {
    /// How many messages there were when all was over.
    total: Arc<AtomicU64>,
    /// Messages that have been read.
    read: Arc<AtomicU64>,
    patience: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Vec<Heard>>>>,
}

/// What a client got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether it did not read until all was over.
    pub deaf: bool,
    /// Messages.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Messages that it was told are lost for it.
    pub lost: u64,
}

/// What stands instead of messages that are gone.
#[derive(Deserialize)]
struct Gone {
    lost: Option<u64>,
}

impl Listeners {
    /// Connects them, one after the other.
    ///
    /// # Errors
    /// If the server refuses one.
    pub fn connect(audience: &Audience) -> Result<Self> {
        let mut clients = Vec::with_capacity(audience.count);
        for number in 0..audience.count {
            let socket = connect(audience).with_context(|| format!("connecting listener {number}"))?;
            let heard = Heard {
                deaf: number < audience.deaf,
                ..Heard::default()
            };
            clients.push((socket, heard));
        }
        let (total, read, patience) = (
            Arc::new(AtomicU64::new(NOT_YET)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let thread = thread::Builder::new()
            .name("listeners".to_owned())
            .spawn({
                let (total, read, patience) = (Arc::clone(&total), Arc::clone(&read), Arc::clone(&patience));
                move || listen(clients, &total, &read, &patience)
            })
            .context("starting the listeners' thread")?;
        Ok(Self {
            total,
            read,
            patience,
            thread: Some(thread),
        })
    }

    /// Messages that all of them together have read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// All is over, and there were `total` messages: lets the deaf read, too, and waits until each client has got all of them or was told
    /// that they are lost, or until `patience` is over.
    ///
    /// # Errors
    /// If a connection has failed.
    pub fn finish(mut self, total: u64, patience: Duration) -> Result<Vec<Heard>> {
        self.end(total, patience)
            .unwrap_or_else(|| Err(anyhow!("the listeners have ended")))
    }

    fn end(&mut self, total: u64, patience: Duration) -> Option<Result<Vec<Heard>>> {
        self.patience
            .store(patience.as_millis() as u64, Ordering::Relaxed);
        self.total.store(total, Ordering::Release);
        let joined = self.thread.take()?.join();
        Some(joined.unwrap_or_else(|_| Err(anyhow!("the listeners' thread panicked"))))
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        // What they got is nobody's any more.
        let _ = self.end(0, Duration::ZERO);
    }
}

impl Heard {
    fn take(&mut self, text: &str) -> Result<()> {
        if text.starts_with(r#"{"topic":"lost""#) {
            let gone: Gone = serde_json::from_str(text)?;
            self.lost += gone.lost.context("nobody knows how many messages are lost")?;
        } else {
            self.messages += 1;
            self.bytes += text.len() as u64;
        }
        Ok(())
    }
}

type Client = (WebSocket<UnixStream>, Heard);

fn connect(audience: &Audience) -> Result<WebSocket<UnixStream>> {
    let stream = UnixStream::connect(&audience.socket)
        .with_context(|| format!("connecting to {}", audience.socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
    let url = format!("ws://localhost{}", audience.path);
    let (socket, _) =
        client_with_config(url, stream, Some(config)).map_err(|error| anyhow!("no WebSocket: {error}"))?;
    socket.get_ref().set_nonblocking(true)?;
    Ok(socket)
}

fn listen(
    mut clients: Vec<Client>,
    total: &AtomicU64,
    read: &AtomicU64,
    patience: &AtomicU64,
) -> Result<Vec<Heard>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, (socket, heard)) in clients
        .iter_mut()
        .enumerate()
        .filter(|(_, (_, heard))| !heard.deaf)
    {
        watch(&epoll, socket, number)?;
        // What came with the answer to the handshake makes no event.
        hear(socket, heard, read)?;
    }
    let mut over: Option<(u64, Instant)> = None;
    loop {
        let mut events = [EpollEvent::empty(); 256];
        let count = match epoll.wait(&mut events, EpollTimeout::from(LOOK.as_millis() as u8)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            let (socket, heard) = &mut clients[event.data() as usize];
            hear(socket, heard, read)?;
        }
        if over.is_none() && total.load(Ordering::Acquire) != NOT_YET {
            let patience = Duration::from_millis(patience.load(Ordering::Relaxed));
            over = Some((total.load(Ordering::Acquire), Instant::now() + patience));
            for (number, (socket, heard)) in clients.iter_mut().enumerate() {
                if heard.deaf && !patience.is_zero() {
                    watch(&epoll, socket, number)?;
                    hear(socket, heard, read)?;
                }
            }
        }
        if let Some((total, end)) = over {
            let has_all = |(_, heard): &Client| heard.messages + heard.lost >= total;
            if clients.iter().all(has_all) || Instant::now() >= end {
                return Ok(clients.into_iter().map(|(_, heard)| heard).collect());
            }
        }
    }
}

fn watch(epoll: &Epoll, socket: &WebSocket<UnixStream>, number: usize) -> Result<()> {
    epoll.add(
        socket.get_ref(),
        EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
    )?;
    Ok(())
}

/// Reads what is there.
fn hear(socket: &mut WebSocket<UnixStream>, heard: &mut Heard, read: &AtomicU64) -> Result<()> {
    let before = heard.messages;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.take(&text)?,
            Ok(Message::Close(_)) => bail!("the server has closed"),
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("a listener's connection"),
        }
    }
    read.fetch_add(heard.messages - before, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn those_that_do_not_read_catch_up_at_the_end() {
        let directory = std::env::temp_dir().join(format!("listeners-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = directory.join("socket");
        let listener = UnixListener::bind(&socket).expect("bound");
        let server = thread::spawn(move || {
            let mut clients = [(); 2].map(|()| {
                let (stream, _) = listener.accept().expect("a client");
                tungstenite::accept(stream).expect("a WebSocket")
            });
            for client in &mut clients {
                for text in [r#"{"seq":1}"#, r#"{"topic":"lost","lost":3}"#, r#"{"seq":5}"#] {
                    client.send(Message::Text(text.into())).expect("sent");
                }
            }
            clients
        });
        let listeners = Listeners::connect(&Audience {
            socket,
            path: "/".into(),
            count: 2,
            deaf: 1,
        })
        .expect("connected");
        let _clients = server.join().expect("served");
        let heard = listeners.finish(5, PATIENCE).expect("heard");
        for (heard, deaf) in heard.into_iter().zip([true, false]) {
            let expected = Heard {
                deaf,
                messages: 2,
                bytes: 18,
                lost: 3,
            };
            assert_eq!(heard, expected);
        }
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
