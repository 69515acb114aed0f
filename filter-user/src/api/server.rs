//! Accepts connections, at most so many, and gives each its time.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::stall::Stalling;

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
    /// How long a client may take nothing of what is sent to it.
    pub(super) stall: Duration,
}

/// [`Limits::stall`] of an engine.
pub(super) const STALL: Duration = Duration::from_mins(1);

/// Something that clients come from.
pub(super) trait Listener: Send + 'static {
    /// A client that has come.
    type Client: Client;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;
}

/// A client that has come, and has not said anything yet.
pub(super) trait Client: Send + 'static {
    /// Answers it until one of both ends it.
    fn serve(self, router: Router, limits: Limits) -> impl Future<Output = ()> + Send;
}

impl Listener for UnixListener {
    type Client = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Client for UnixStream {
    async fn serve(self, router: Router, limits: Limits) {
        speak(Stalling::new(self, limits.stall), router, limits.timeout).await;
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
        match listener.next().await {
            Ok(client) => {
                let served = client.serve(router.clone(), limits.clone());
                connections.spawn(async move {
                    served.await;
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

/// Speaks HTTP.
pub(super) async fn speak(
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Body, routing::get};
    use futures_util::stream;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_mins(1);

    async fn ask(stream: &mut UnixStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
    }

    #[tokio::test]
    async fn who_does_not_read_loses_its_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        let endless = async || {
            let pieces = stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 64 << 10]));
            Body::from_stream(pieces)
        };
        let router = Router::new()
            .route("/endless", get(endless))
            .route("/", get(async || "here"));
        let limits = Limits {
            connections: 1,
            timeout: LONG,
            stall: Duration::from_millis(300),
        };
        tokio::spawn(serve(listener, router, limits));
        let mut deaf = UnixStream::connect(&path).await.expect("it listens");
        ask(&mut deaf, "/endless").await;
        let mut next = UnixStream::connect(&path).await.expect("it listens");
        ask(&mut next, "/").await;
        let mut answer = String::new();
        timeout(LONG, next.read_to_string(&mut answer))
            .await
            .expect("the place is free")
            .expect("an answer");
        assert!(answer.ends_with("here"), "{answer}");
        // What was on its way comes, and then the end.
        let mut rest = Vec::new();
        let ended = timeout(LONG, deaf.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && !rest.is_empty());
    }
}
