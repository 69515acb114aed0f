//! Clients that come by TCP: encrypted, if there is a certificate.

use std::{io, sync::Arc};

use axum::Router;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{
    access::InForce,
    server::{Client, Limits, Listener, STALL, speak},
    stall::Stalling,
};

/// What somebody reads who speaks HTTP to an address where TLS is spoken.
const UNENCRYPTED: &str = r#"{"error":"only TLS is spoken here","remedy":"ask with https://, and make a new token if one was sent: it was not encrypted"}"#;
/// The most of such a request that is read before the answer, so that the client gets to see it.
const MAX_UNENCRYPTED_BYTES: usize = 16 << 10;

/// An address that is listened on.
#[derive(Debug)]
pub(super) struct Tcp {
    listener: TcpListener,
    in_force: InForce,
}

/// Who has come, and what with.
pub(super) struct Caller {
    stream: TcpStream,
    /// None: nothing is encrypted.
    encryption: Option<Arc<ServerConfig>>,
}

impl Tcp {
    pub(super) fn new(listener: TcpListener, in_force: InForce) -> Self {
        Self { listener, in_force }
    }
}

impl Listener for Tcp {
    type Client = Caller;

    async fn next(&self) -> io::Result<Caller> {
        let stream = self.listener.accept().await?.0;
        // The kernel ends connections of those who have gone with no word, too (tcp(7)).
        SockRef::from(&stream).set_tcp_user_timeout(Some(STALL))?;
        let encryption = self.in_force.borrow().encryption();
        Ok(Caller { stream, encryption })
    }
}

impl Client for Caller {
    async fn serve(self, router: Router, limits: Limits) {
        let Self { stream, encryption } = self;
        let Some(encryption) = encryption else {
            return speak(Stalling::new(stream, limits.stall), router, limits.timeout).await;
        };
        match timeout(limits.timeout, shake_hands(stream, encryption, &limits)).await {
            Ok(Ok(Some(stream))) => speak(stream, router, limits.timeout).await,
            Ok(Ok(None)) => tracing::debug!("API: a client does not speak TLS"),
            Ok(Err(error)) => tracing::debug!("API: no TLS with a client: {error}"),
            Err(_) => tracing::debug!("API: a client is silent instead of beginning TLS"),
        }
    }
}

/// Begins TLS; none if the client speaks something else, which it is told.
async fn shake_hands(
    mut stream: TcpStream,
    encryption: Arc<ServerConfig>,
    limits: &Limits,
) -> io::Result<Option<TlsStream<Stalling<TcpStream>>>> {
    let mut first = [0];
    let count = stream.peek(&mut first).await?;
    // A method's name; TLS begins with the number of its handshakes, 22 (RFC 8446 §5.1).
    if count == 1 && first[0].is_ascii_alphabetic() {
        refuse(&mut stream).await?;
        return Ok(None);
    }
    let stream = Stalling::new(stream, limits.stall);
    TlsAcceptor::from(encryption).accept(stream).await.map(Some)
}

async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = vec![0; MAX_UNENCRYPTED_BYTES];
    let _ = stream.read(&mut request).await?;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{UNENCRYPTED}",
        UNENCRYPTED.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
