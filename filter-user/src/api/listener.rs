//! Where the API is served.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use super::{access::InForce, tcp::Tcp};
use crate::{
    config,
    control::{ControlSocket, SocketError},
};

/// What is bound.
#[derive(Debug)]
pub struct Listeners {
    socket: ControlSocket,
    tcp: Vec<TcpListener>,
    /// How addresses begin.
    scheme: &'static str,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The Unix socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An address.
    #[error(
        "cannot serve the API on {address}: {source}\n  fix: free that address, or take it out of api.listen"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
}

/// The same, for a runtime.
pub(super) struct Listening {
    pub(super) unix: tokio::net::UnixListener,
    pub(super) tcp: Vec<Tcp>,
}

impl Listeners {
    /// Binds the socket beside `control_socket`, or the one that is named, and all addresses.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub fn bind(settings: &config::Api, control_socket: &Path) -> Result<Self, ListenError> {
        let bind = |&address: &SocketAddr| {
            TcpListener::bind(address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .map_err(|source| ListenError::Address { address, source })
        };
        Ok(Self {
            socket: ControlSocket::bind_for("api.socket", &settings.socket_beside(control_socket))?,
            tcp: settings.listen.iter().map(bind).collect::<Result<_, _>>()?,
            scheme: if settings.tls.certificate.is_some() {
                "https"
            } else {
                "http"
            },
        })
    }

    /// Where, as it was at the start.
    #[must_use]
    pub fn places(&self) -> String {
        let socket = self.socket.path().display().to_string();
        let addresses = self.tcp.iter().filter_map(|listener| listener.local_addr().ok());
        let addresses = addresses.map(|address| format!("{}://{address}", self.scheme));
        std::iter::once(socket)
            .chain(addresses)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Handles for the runtime that this is called in. Connections by TCP go by the credentials in force.
    pub(super) fn listen(&self, in_force: &InForce) -> io::Result<Listening> {
        let tcp = self.tcp.iter().map(|listener| {
            let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
            Ok(Tcp::new(listener, in_force.clone()))
        });
        Ok(Listening {
            unix: tokio::net::UnixListener::from_std(self.socket.listener()?)?,
            tcp: tcp.collect::<io::Result<_>>()?,
        })
    }
}
