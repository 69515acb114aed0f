//! The asking end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{MAX_RESPONSE_BYTES, Refusal, Request, Response, VERSION, Versioned};

/// How long the engine has for each part of an answer: it may have to read a million blocks first.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a running engine.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the engine that listens on `path`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
                path: path.to_owned(),
            },
            io::ErrorKind::PermissionDenied => ClientError::Permission {
                path: path.to_owned(),
            },
            _ => ClientError::Io {
                path: path.to_owned(),
                error,
            },
        })?;
        let client = Self {
            stream: BufReader::new(stream),
            path: path.to_owned(),
        };
        client
            .stream
            .get_ref()
            .set_read_timeout(Some(TIMEOUT))
            .map_err(|error| client.io(error))?;
        client
            .stream
            .get_ref()
            .set_write_timeout(Some(TIMEOUT))
            .map_err(|error| client.io(error))?;
        Ok(client)
    }

    /// Asks one thing. [`Response::Error`] becomes [`ClientError::Refused`].
    pub fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut line = serde_json::to_vec(&Versioned::new(request))
            .map_err(|error| self.protocol(format!("the request has no JSON form: {error}")))?;
        line.push(b'\n');
        // An engine that has no place for us answers before it reads, and closes: read even if this fails.
        let sent = self.stream.get_mut().write_all(&line);
        let mut answer = Vec::new();
        let limit = MAX_RESPONSE_BYTES as u64;
        let read = self.stream.by_ref().take(limit).read_until(b'\n', &mut answer);
        if answer.last() != Some(&b'\n') {
            sent.and(read.map(drop)).map_err(|error| self.io(error))?;
            return Err(self.protocol("the engine closed the connection without an answer".to_owned()));
        }
        let answer: Versioned<Response> = serde_json::from_slice(&answer)
            .map_err(|error| self.protocol(format!("the engine's answer is not understood: {error}")))?;
        match answer.body {
            Response::Error(refusal) => Err(ClientError::Refused(refusal)),
            _ if answer.v != VERSION => {
                Err(self.protocol(format!("the engine speaks version {} of the protocol", answer.v)))
            }
            response => Ok(response),
        }
    }

    fn io(&self, error: io::Error) -> ClientError {
        ClientError::Io {
            path: self.path.clone(),
            error,
        }
    }

    fn protocol(&self, message: String) -> ClientError {
        ClientError::Protocol {
            path: self.path.clone(),
            message,
        }
    }
}

/// Why a running engine could not be asked, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no engine is running on {}\n  fix: start one with `sudo portcullis run --iface eth0`, or name its socket with --socket", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket belongs to someone else.
    #[error("no permission for {}\n  fix: run this command with sudo", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke, or the engine was silent too long.
    #[error("{}: {}\n  fix: look at the engine's log; if it hangs, restart it (blocks stay in force)", path.display(), if is_timeout(error) { "the engine does not answer".to_owned() } else { error.to_string() })]
    Io {
        /// The socket.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The engine's answer is not an answer.
    #[error("{}: {message}\n  fix: use the `portcullis` program that the engine was started with", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The engine will not do it.
    #[error("{}{}", .0.message, if .0.remedy.is_empty() { String::new() } else { format!("\n  fix: {}", .0.remedy) })]
    Refused(Refusal),
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
