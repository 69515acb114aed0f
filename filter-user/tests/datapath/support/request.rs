//! Requests by curl, from the lab's client.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use xtask::lab::{
    Lab,
    address::{CLIENT_V4, CLIENT_V6},
};

/// What came back. `status` is 0 and `error` set when there was no whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) error: Option<String>,
    /// The client's end of the connection.
    pub(crate) local: SocketAddr,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The request id on the page of a 403.
    pub(crate) fn request_id(&self) -> Option<String> {
        let text = self.text();
        let is_id = |word: &&str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .find(is_id)
            .map(str::to_owned)
    }
}

/// A curl command for `path` of `server`; nothing in the path is changed or encoded.
pub(crate) fn command(lab: &Lab, server: SocketAddr, path: &str, arguments: &[&str]) -> Command {
    let mut command = lab.client().command("curl");
    command
        .args(["-sS", "--globoff", "--path-as-is", "--max-time", "30"])
        .args(["-w", "\\n%{http_code} %{local_port}"])
        .args(arguments)
        .arg(format!("http://{server}{path}"))
        .stdin(Stdio::null());
    command
}

/// Sends a request and waits for its answer.
pub(crate) fn curl(lab: &Lab, server: SocketAddr, path: &str, arguments: &[&str]) -> Result<Answer> {
    let output = command(lab, server, path, arguments)
        .output()
        .context("starting curl")?;
    let end = output
        .stdout
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap_or_default();
    let trailer = String::from_utf8_lossy(&output.stdout[end..]).into_owned();
    let mut numbers = trailer
        .split_whitespace()
        .map(|number| number.parse().unwrap_or(0));
    let client = match server {
        SocketAddr::V4(_) => IpAddr::from(CLIENT_V4),
        SocketAddr::V6(_) => CLIENT_V6.into(),
    };
    Ok(Answer {
        status: numbers.next().unwrap_or(0),
        local: SocketAddr::new(client, numbers.next().unwrap_or(0)),
        body: output.stdout[..end].to_vec(),
        error: (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    })
}

/// Puts `bytes` into a file of the lab, and gives curl's argument for sending it.
pub(crate) fn upload(lab: &Lab, bytes: &[u8]) -> Result<String> {
    let file = lab.directory().join("upload");
    fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    Ok(format!("@{}", file.display()))
}
