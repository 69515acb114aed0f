//! The real HTTP server of the lab: one nginx in the server's namespace.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::wait::wait_for;
use super::{Lab, address};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);

/// The documents served, by path and size in bytes. Their bytes are those of [`document`].
pub const DOCUMENTS: [(&str, usize); 4] = [
    ("/1k", 1_000),
    ("/16k", 16_000),
    ("/100k", 100_000),
    ("/10m", 10_000_000),
];
/// A request to this path is answered, after its whole body was read, with the body's length in bytes.
pub const SINK: &str = "/sink";
/// A request to this path goes to the recording origin ([`super::Origin`]) on its usual port, and may upgrade.
pub const UPGRADE: &str = "/upgrade";

/// A running nginx. Dropping it ends it, unless [`Nginx::leave_running`] was called.
#[derive(Debug)]
pub struct Nginx {
    child: Option<Child>,
    access_log: PathBuf,
}

/// One line of the access log. A request that was cut off has one as well.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AccessEntry {
    /// nginx's `$request_completion`: true if the request was read and answered to its end.
    #[serde(deserialize_with = "is_ok")]
    pub complete: bool,
    /// The answer's status; 0 if there was none.
    #[serde(deserialize_with = "number")]
    pub status: u16,
    /// The request line.
    pub request: String,
    /// Bytes of the request, with its line, headers and body.
    pub request_length: u64,
    /// Bytes of the answer's body.
    pub body_bytes_sent: u64,
    /// The client's address as nginx saw it, or as the connection's PROXY header has it.
    pub remote_address: String,
    /// nginx's number of the connection.
    pub connection: u64,
}

fn is_ok<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    String::deserialize(deserializer).map(|text| text == "OK")
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

/// The bytes of a document of this length: the same on every machine, and not the same at two offsets, so
/// that lost or swapped segments show.
#[must_use]
pub fn document(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 12);
    let mut line = *b"00000000000\n";
    while bytes.len() < length {
        bytes.extend_from_slice(&line);
        // Counted in place: formatting nearly a million numbers is slow in a build that is not optimised.
        for digit in line[..11].iter_mut().rev() {
            *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
            if *digit != b'0' {
                break;
            }
        }
    }
    bytes.truncate(length);
    bytes
}

impl Nginx {
    /// Starts nginx in the lab's server namespace and waits until it accepts connections.
    ///
    /// # Errors
    /// If it is not installed or does not start; the text has its error log.
    pub fn start(lab: &Lab) -> Result<Self> {
        let directory = lab.directory().join("nginx");
        let documents = directory.join("documents");
        fs::create_dir_all(&documents).with_context(|| format!("creating {}", documents.display()))?;
        for (path, length) in DOCUMENTS {
            let file = documents.join(path.trim_start_matches('/'));
            fs::write(&file, document(length)).with_context(|| format!("writing {}", file.display()))?;
        }
        let index = documents.join("index.html");
        fs::write(&index, "<!doctype html><title>lab</title><p>It works.\n").context("writing index.html")?;
        let configuration = directory.join("nginx.conf");
        fs::write(&configuration, configuration_text(&directory)).context("writing nginx.conf")?;

        let errors = directory.join("error.log");
        let output = File::create(directory.join("output.log")).context("creating nginx's output log")?;
        let child = lab
            .server()
            .command("nginx")
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(&configuration)
            .arg("-e")
            .arg(&errors)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("duplicating the log's descriptor")?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("starting nginx")?;
        let mut nginx = Self {
            child: Some(child),
            access_log: directory.join("access.log"),
        };
        nginx.wait_until_ready(lab).map_err(|error| {
            let log = fs::read_to_string(&errors).unwrap_or_default();
            let output = fs::read_to_string(directory.join("output.log")).unwrap_or_default();
            error.context(format!("nginx did not start: {}{}", output.trim(), log.trim()))
        })?;
        Ok(nginx)
    }

    fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        let ended = wait_for("nginx accepting connections", START, || {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Some(Some(status));
            }
            let connect = || TcpStream::connect((address::SERVER_V4, address::NGINX_PORT)).is_ok();
            lab.server().enter(connect).unwrap_or(false).then_some(None)
        })?;
        match ended {
            Some(status) => bail!("it ended: {status}"),
            None => Ok(()),
        }
    }

    /// The access log so far. nginx writes a line when a request is over, which for a request that was cut
    /// off is when its connection closes: wait for the line rather than look once.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn access_log(&self) -> Result<Vec<AccessEntry>> {
        // nginx writes bytes of a request line above ASCII as they came.
        let bytes =
            fs::read(&self.access_log).with_context(|| format!("reading {}", self.access_log.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        // A line that is just being written has no end yet.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str(line).with_context(|| format!("access log line {line:?}")))
            .collect()
    }

    /// Leaves nginx running when this value is dropped; it ends with its lab.
    pub fn leave_running(&mut self) {
        self.child = None;
    }

    /// The process id of nginx's master process, if this value owns it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // SIGTERM lets the master end its worker; only if that hangs the hard way is taken, and what is left
        // of it ends with the lab.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        if wait_for("nginx ending", STOP, || child.try_wait().ok().flatten()).is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn configuration_text(directory: &Path) -> String {
    let directory = directory.display();
    let port = address::NGINX_PORT;
    let proxied = address::NGINX_PROXIED_PORT;
    let h2c = address::NGINX_H2C_PORT;
    let answers = address::NGINX_ANSWERS_PORT;
    let origin = address::ORIGIN_PORT;
    // The server is a machine of its own: where there are CPUs enough it does not share one with the gateway's first
    // queue, and the scheduler does not move it to and fro during a measurement.
    let affinity = last_cpu().map_or(String::new(), |cpu| {
        format!("worker_cpu_affinity 1{:0>cpu$};\n", "")
    });
    let answer = "0123456789".repeat(100);
    let completion = r#"{"complete":"$request_completion","status":"$status","request":"$request","#;
    let sizes = r#""request_length":$request_length,"body_bytes_sent":$body_bytes_sent,"#;
    let client = r#""remote_address":"$remote_addr","connection":$connection}"#;
    // The sink hands the request on over a Unix socket only when its whole body has arrived, so that the
    // length in the answer is what was received, not what was announced.
    format!(
        "daemon off;\n\
         user root;\n\
         worker_processes 1;\n\
         {affinity}\
         pid {directory}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           log_format lab escape=json '{completion}{sizes}{client}';\n\
           access_log {directory}/access.log lab;\n\
           client_body_temp_path {directory}/body;\n\
           proxy_temp_path {directory}/proxy;\n\
           client_max_body_size 64m;\n\
           keepalive_requests 1000000000;\n\
           server {{\n\
             listen {port} backlog=4096;\n\
             listen [::]:{port} backlog=4096;\n\
             root {directory}/documents;\n\
             location = {SINK} {{\n\
               proxy_http_version 1.1;\n\
               proxy_pass http://unix:{directory}/sink.sock:/;\n\
             }}\n\
             location = {UPGRADE} {{\n\
               proxy_http_version 1.1;\n\
               proxy_set_header Connection upgrade;\n\
               proxy_set_header Upgrade $http_upgrade;\n\
               proxy_pass http://127.0.0.1:{origin};\n\
             }}\n\
           }}\n\
           server {{\n\
             listen {h2c} http2;\n\
             listen [::]:{h2c} http2;\n\
             root {directory}/documents;\n\
           }}\n\
           server {{\n\
             listen {proxied} proxy_protocol;\n\
             listen [::]:{proxied} proxy_protocol;\n\
             set_real_ip_from 0.0.0.0/0;\n\
             set_real_ip_from ::/0;\n\
             real_ip_header proxy_protocol;\n\
             root {directory}/documents;\n\
           }}\n\
           server {{\n\
             listen {answers} backlog=4096;\n\
             access_log off;\n\
             large_client_header_buffers 8 64k;\n\
             location / {{ return 200 \"{answer}\"; }}\n\
           }}\n\
           server {{\n\
             listen unix:{directory}/sink.sock;\n\
             access_log off;\n\
             location / {{ return 200 \"$content_length\\n\"; }}\n\
           }}\n\
         }}\n"
    )
}

/// The last CPU this process may use, if that is not the only one.
fn last_cpu() -> Option<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let first = cpus.next()?;
    cpus.next_back().filter(|last| *last > first)
}

#[cfg(test)]
mod tests {
    use super::{AccessEntry, document};

    #[test]
    fn access_log_lines_are_read() {
        let line = r#"{"complete":"","status":"000","request":"GET /\u00C3 HTTP/1.1","request_length":5,"body_bytes_sent":0,"remote_address":"fd71::2","connection":7}"#;
        let entry: AccessEntry = serde_json::from_str(line).expect("a line of this module's own format");
        assert!(!entry.complete);
        assert_eq!((entry.status, entry.request_length, entry.connection), (0, 5, 7));
    }

    #[test]
    fn documents_have_the_length_asked_for() {
        for length in [0, 1, 12, 13, 1000] {
            assert_eq!(document(length).len(), length);
        }
        assert_eq!(&document(1_212)[1_188..], b"00000000099\n00000000100\n");
    }
}
