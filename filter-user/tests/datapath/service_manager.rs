//! What a service manager, such as systemd, hears of the engine.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use xtask::lab::wait::wait_until;

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services},
    site::Site,
};

/// How long the service manager waits for a sign of life.
const PATIENCE: Duration = Duration::from_millis(400);

/// An engine and its service manager.
fn serviced(site: &Site, settings: &[&str]) -> Result<(UnixDatagram, RunningEngine)> {
    let path = site.lab.directory().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    manager.set_read_timeout(Some(SOON))?;
    let environment = [
        ("NOTIFY_SOCKET", path.display().to_string()),
        ("WATCHDOG_USEC", PATIENCE.as_micros().to_string()),
    ];
    let engine = RunningEngine::spawn_with(&site.lab, &both_services("all"), settings, &[], &environment)?;
    Ok((manager, engine.ready()?))
}

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
    let (manager, engine) = serviced(&site, &[])?;
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

/// The thread of the first queue.
fn queue_thread(engine: &RunningEngine) -> Result<Pid> {
    for task in fs::read_dir(format!("/proc/{}/task", engine.pid()))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim() == "pc-queue-0" {
            return Ok(Pid::from_raw(task.file_name().to_string_lossy().parse()?));
        }
    }
    bail!("no thread reads the queue")
}

/// Whether anything is heard for longer than a living engine is silent.
fn is_silent(manager: &UnixDatagram) -> bool {
    let mut buffer = [0; 1024];
    manager
        .recv(&mut buffer)
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn it_hears_nothing_while_a_queue_hangs() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let (manager, engine) = serviced(&site, &["limits.heartbeat_timeout_ms=500"])?;
    hear(&manager, "WATCHDOG=1")?;
    // Of the process, only this thread stops.
    let thread = queue_thread(&engine)?;
    ptrace::seize(thread, ptrace::Options::empty())?;
    ptrace::interrupt(thread)?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    manager.set_read_timeout(Some(4 * PATIENCE))?;
    wait_until("silence", SOON, || is_silent(&manager))?;
    ensure!(engine.status().is_ok(), "the rest of it lives");
    ptrace::detach(thread, None)?;
    manager.set_read_timeout(Some(SOON))?;
    hear(&manager, "WATCHDOG=1")?;
    engine.stop()
}
