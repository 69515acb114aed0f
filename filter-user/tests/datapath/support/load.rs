//! Load that notices every connection that ends and every byte that is lost.

use std::{
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::lab::{address::SERVER_V4, nginx, origin::digest};

use super::{
    request::{curl, upload},
    site::{self, Site},
};

/// Load from 16 connections that stay open, until it is ended.
pub(crate) fn wrk(site: &Site) -> Result<Child> {
    site.lab
        .client()
        .command("wrk")
        .args(["-t1", "-c16", "--timeout", "20s"])
        .args(["-d", "150s"])
        .arg(format!("http://{SERVER_V4}/1k?q=1"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting wrk")
}

/// Ends wrk: it has lost no connection and got no other answer.
pub(crate) fn ensure_undisturbed(load: Child) -> Result<()> {
    // It reports as at the end of its time.
    kill(Pid::from_raw(load.id().cast_signed()), Signal::SIGINT).context("ending wrk")?;
    let output = load.wait_with_output().context("waiting for wrk")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(report.contains("requests in"), "{report}");
    ensure!(!report.contains("Non-2xx"), "{report}");
    ensure!(!report.contains("Socket errors"), "connections went on: {report}");
    Ok(())
}

/// Uploads bodies until told to end, and checks what arrived; returns how many.
pub(crate) fn upload_meanwhile(site: &Site, goes_on: &AtomicBool, done: &AtomicUsize) -> Result<()> {
    let body = nginx::document(4 << 20);
    let file = upload(&site.lab, &body)?;
    let expected = format!("{} {:016x}", body.len(), digest(&body));
    while goes_on.load(Ordering::Relaxed) {
        for server in site::origin() {
            let arguments = ["-H", "Content-Type: text/plain", "--data-binary", &file];
            let answer = curl(&site.lab, server, "/upload", &arguments)?;
            ensure!(answer.text().trim() == expected, "{server}: {answer:?}");
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
