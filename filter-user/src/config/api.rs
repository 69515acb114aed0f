//! `[api]`: what programs ask the engine over HTTP.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::keyword;

/// What programs ask the engine over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Whether there is one.
    pub enabled: bool,
    /// Its Unix socket, with mode 0600; see [`Api::socket_beside`] where none is named.
    pub socket: Option<PathBuf>,
    /// Addresses that it is also served on, to those who have a token.
    pub listen: Vec<SocketAddr>,
    /// Who may ask there.
    pub tokens: Vec<Token>,
    /// How they are served there.
    pub tls: Tls,
    /// Connections at once, on the socket and on each address; more wait to be accepted.
    pub connections: u32,
    /// Seconds that a client may take to begin TLS and to send the head of a request, and the engine to answer one.
    pub timeout_s: u32,
    /// Requests that programs have judged.
    pub check: CheckApi,
}

/// What encrypts connections by TCP; without it they are not. Both files are in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The file of the server's certificate, and of its issuers' behind it.
    pub certificate: Option<PathBuf>,
    /// The file of the certificate's private key, which nobody else may read.
    pub key: Option<PathBuf>,
}

/// Requests that programs have judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckApi {
    /// Threads that judge.
    pub workers: u32,
    /// Requests that may wait or be judged; further ones are refused.
    pub queue: u32,
    /// Milliseconds until an answer that has not come is given up.
    pub deadline_ms: u32,
    /// Requests a second of one client; 0: no limit.
    pub client_rate: u32,
    /// Requests a second of all together; 0: no limit.
    pub total_rate: u32,
}

impl Default for CheckApi {
    fn default() -> Self {
        Self {
            workers: 1,
            queue: 4096,
            deadline_ms: 1000,
            client_rate: 10_000,
            total_rate: 20_000,
        }
    }
}

/// Who may ask over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is called in the log.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// The file that holds it, on one line.
    pub file: PathBuf,
}

keyword! {
    /// What the bearer of a token may do.
    #[derive(PartialOrd, Ord)]
    Role {
        /// Read.
        Viewer = "viewer",
        /// Read, and change what is blocked, allowed and in force.
        Operator = "operator",
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            enabled: true,
            socket: None,
            listen: Vec::new(),
            tokens: Vec::new(),
            tls: Tls::default(),
            connections: 64,
            timeout_s: 10,
            check: CheckApi::default(),
        }
    }
}

impl Api {
    /// The files of all that is secret, or shown to be known by.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tokens = self.tokens.iter().map(|token| token.file.as_path());
        tokens
            .chain(self.tls.certificate.as_deref())
            .chain(self.tls.key.as_deref())
    }

    /// The socket: the one that is named, or one beside the engine's control socket, `control.http.sock` beside `control.sock`, so that
    /// engines with control sockets of their own do not meet.
    #[must_use]
    pub fn socket_beside(&self, control_socket: &Path) -> PathBuf {
        let beside = || control_socket.with_extension("http.sock");
        self.socket.clone().unwrap_or_else(beside)
    }
}
