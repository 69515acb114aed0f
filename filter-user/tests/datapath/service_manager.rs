//! What a service manager, such as systemd, hears of the engine.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services},
    site::Site,
};

/// Waits for a message with this line, and returns it.
fn hear(manager: &UnixDatagram, line: &str) -> Result<String> {
    let mut buffer = [0; 1024];
    let mut heard = Vec::new();
    loop {
        let length = manager
            .recv(&mut buffer)
            .with_context(|| format!("no {line} after {heard:?}"))?;
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.lines().any(|found| found == line) {
            return Ok(message);
        }
        heard.push(message);
    }
}

#[test]
fn it_hears_of_the_start_of_reloads_of_life_and_of_the_end() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let path = site.lab.directory().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    manager.set_read_timeout(Some(SOON))?;
    let environment = [
        ("NOTIFY_SOCKET", path.display().to_string()),
        ("WATCHDOG_USEC", "400000".to_owned()),
    ];
    let engine =
        RunningEngine::spawn_with(&site.lab, &both_services("all"), &[], &[], &environment)?.ready()?;
    let ready = hear(&manager, "READY=1")?;
    ensure!(ready.contains("STATUS=filtering outside"), "{ready}");
    hear(&manager, "WATCHDOG=1")?;
    hear(&manager, "WATCHDOG=1")?;
    engine.signal(Signal::SIGHUP)?;
    let reloading = hear(&manager, "RELOADING=1")?;
    ensure!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hear(&manager, "READY=1")?;
    engine.stop()?;
    hear(&manager, "STOPPING=1").map(drop)
}
