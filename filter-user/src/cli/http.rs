//! Asks the running engine's API on its Unix socket.
//!
//! In HTTP/1.0, in which a body ends with its connection: there is nothing to take apart.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Connection;
use crate::{config, control::ClientError};

/// The longest answer, bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// How long the engine has for an answer, or for the next part of one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The way to the API.
#[derive(Debug)]
pub(super) struct Http {
    path: PathBuf,
}

impl Http {
    /// Beside the control socket that is named, or where the configuration says.
    pub(super) fn of(connection: &Connection) -> anyhow::Result<Self> {
        if let Some(control) = &connection.socket {
            let path = config::Api::default().socket_beside(control);
            return Ok(Self { path });
        }
        let config = connection.load()?;
        let path = config.api.socket_beside(&config.engine.control_socket);
        Ok(Self { path })
    }

    /// The JSON at a path.
    pub(super) fn get(&self, target: &str) -> anyhow::Result<Value> {
        self.ask("GET", target, "")
    }

    /// What becomes of a JSON body that is sent there.
    pub(super) fn ask(&self, method: &str, target: &str, body: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.send(method, target, body)?;
        let mut text = Vec::new();
        answer.take(MAX_ANSWER).read_to_end(&mut text)?;
        let value: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{}: the engine's answer is no JSON", self.path.display()))?;
        if (200..300).contains(&status) {
            return Ok(value);
        }
        bail!(
            "{}\n  fix: {}",
            value["error"].as_str().unwrap_or("the engine refuses it"),
            value["remedy"].as_str().unwrap_or("see its log")
        )
    }

    /// What comes from a path for as long as the engine has something to say.
    pub(super) fn listen(&self, target: &str) -> anyhow::Result<BufReader<UnixStream>> {
        let (status, mut answer) = self.send("GET", target, "")?;
        if status == 200 {
            return Ok(answer);
        }
        let mut text = String::new();
        answer.by_ref().take(MAX_ANSWER).read_to_string(&mut text)?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        bail!("{}", value["error"].as_str().unwrap_or("the engine refuses it"))
    }

    fn send(&self, method: &str, target: &str, body: &str) -> anyhow::Result<(u16, BufReader<UnixStream>)> {
        let mut stream = UnixStream::connect(&self.path).map_err(|error| {
            let path = self.path.clone();
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning { path }
                }
                io::ErrorKind::PermissionDenied => ClientError::Permission { path },
                _ => ClientError::Io { path, error },
            }
        })?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.0\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("{}: this does not speak HTTP", self.path.display()))?;
        while line.trim_end() != "" {
            line.clear();
            if answer.read_line(&mut line)? == 0 {
                bail!(
                    "{}: the engine closed the connection without an answer",
                    self.path.display()
                );
            }
        }
        Ok((status, answer))
    }
}
