//! A WebSocket server that has nothing to do with the engine: it sends messages of one size at one rate to all who are connected.

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tungstenite::{Error, Message, Utf8Bytes, WebSocket, accept_with_config, protocol::WebSocketConfig};

/// Between two writes to a client, as the engine has it.
const PAUSE: Duration = Duration::from_millis(25);
/// Bytes that may wait for a client; it does not get messages beyond them.
const WRITE_BYTES: usize = 64 << 10;
/// What is read of a client at once.
const READ_BYTES: usize = 512;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Bytes of a message.
    pub(super) bytes: usize,
    /// Messages a second.
    pub(super) rate: u32,
}

/// The running server. Dropping it ends it.
pub(super) struct Unrelated {
    socket: PathBuf,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Unrelated {
    /// Listens on a Unix socket, and sends as soon as `count` clients are there.
    pub(super) fn start(socket: &Path, stream: Stream, count: usize) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| format!("binding {}", socket.display()))?;
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = thread::Builder::new()
            .name("unrelated".to_owned())
            .spawn(move || serve(&listener, stream, count, &told))
            .context("starting the unrelated server")?;
        Ok(Self {
            socket: socket.to_owned(),
            ending,
            thread: Some(thread),
        })
    }

    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.ending.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // It may wait for clients that will not come.
        while !thread.is_finished() {
            let _ = UnixStream::connect(&self.socket);
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(&self.socket).context("removing its socket")?;
        thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))
    }
}

impl Drop for Unrelated {
    fn drop(&mut self) {
        // Nobody is left who would want to know.
        let _ = self.end();
    }
}

fn serve(listener: &UnixListener, stream: Stream, count: usize, ending: &AtomicBool) -> Result<()> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(2 * WRITE_BYTES);
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let (client, _) = listener.accept().context("accepting a client")?;
        if ending.load(Ordering::Relaxed) {
            return Ok(());
        }
        let client =
            accept_with_config(client, Some(config)).map_err(|error| anyhow!("no WebSocket: {error}"))?;
        client.get_ref().set_nonblocking(true)?;
        clients.push(client);
    }
    let text = Utf8Bytes::from("x".repeat(stream.bytes));
    let (start, mut sent) = (Instant::now(), 0);
    while !ending.load(Ordering::Relaxed) {
        let due = start.elapsed().as_millis() as u64 * u64::from(stream.rate) / 1000;
        // Those who have gone are gone.
        clients.retain_mut(|client| send(client, &text, due - sent).is_ok());
        sent = due;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Sends what there is room for. An error if the client has gone.
fn send(client: &mut WebSocket<UnixStream>, text: &Utf8Bytes, count: u64) -> tungstenite::Result<()> {
    for _ in 0..count {
        match client.write(Message::Text(text.clone())) {
            Ok(()) => {}
            Err(error) if is_full(&error) => break,
            Err(error) => return Err(error),
        }
    }
    match client.flush() {
        Err(error) if !is_full(&error) => Err(error),
        _ => Ok(()),
    }
}

fn is_full(error: &Error) -> bool {
    match error {
        Error::WriteBufferFull(_) => true,
        Error::Io(error) => error.kind() == ErrorKind::WouldBlock,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use xtask::lab::{Audience, Listeners, wait::wait_until};

    use super::*;

    #[test]
    fn those_who_read_are_served_whoever_does_not() {
        let socket = std::env::temp_dir().join(format!("unrelated-{}", std::process::id()));
        let stream = Stream {
            bytes: 30_000,
            rate: 400,
        };
        let server = Unrelated::start(&socket, stream, 2).expect("started");
        let listeners = Listeners::connect(&Audience {
            socket,
            path: "/".into(),
            count: 2,
            deaf: 1,
        })
        .expect("connected");
        // More than fits into the buffers of the one that does not read.
        wait_until("messages", Duration::from_mins(1), || listeners.read() > 100).expect("they come");
        let heard = listeners.finish(0, Duration::ZERO).expect("heard");
        assert!(
            heard[1].messages > 100 && heard[1].bytes == heard[1].messages * 30_000,
            "{heard:?}"
        );
        server.stop().expect("stopped");
    }
}
