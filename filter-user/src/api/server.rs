//! Accepts connections, at most so many, and gives each its time.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// After an error of accepting: out of descriptors or memory, which takes clients some time to give back.
const PAUSE: Duration = Duration::from_millis(100);

/// Bounds of what clients may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Connections at once. Further ones wait in the listener's backlog.
    pub(super) connections: usize,
    /// How long a client may take to send the head of a request, or be silent before it.
    pub(super) timeout: Duration,
}

/// A client that takes nothing of what it has asked for so long is cut off (`TCP_USER_TIMEOUT`, tcp(7)): nobody waits for it in the program.
const STALL: Duration = Duration::from_mins(1);

/// Something that connections come from.
pub(super) trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next one.
    fn connection(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn connection(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn connection(&self) -> io::Result<TcpStream> {
        let stream = self.accept().await?.0;
        SockRef::from(&stream).set_tcp_user_timeout(Some(STALL))?;
        Ok(stream)
    }
}

/// Serves until dropped.
pub(super) async fn serve(listener: impl Listener, router: Router, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.connection().await {
            Ok(stream) => {
                let connection = serve_connection(stream, router.clone(), limits.timeout);
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("API: cannot accept: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    timeout: Duration,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("API: a connection ended: {error}");
    }
}
