//! `cargo xtask run` in the lab, with a script in the engine's place: whatever ends it, nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::lab::wait::{wait_for, wait_until};
use xtask::lab::{Lab, lifetime};

const SOON: Duration = Duration::from_secs(20);
const PINS: &str = "/sys/fs/bpf/portcullis";

/// A lab's name and a script, both gone when this is dropped.
struct Fixture {
    name: String,
    directory: PathBuf,
    _alone: lifetime::SerialGuard,
}

impl Fixture {
    /// `None`, with the reason printed, where the test cannot run.
    fn new(test: &str, script: &str) -> Result<Option<Self>> {
        if !xtask::privilege::is_root() {
            eprintln!("SKIPPED: network namespaces and eBPF need root");
            return Ok(None);
        }
        // These labs share the host's bpffs.
        let alone = xtask::lab::serial()?;
        if Path::new(PINS).exists() {
            eprintln!("SKIPPED: an engine runs on this host: {PINS} exists");
            return Ok(None);
        }
        let name = format!("{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory)?;
        let fixture = Self {
            name,
            directory,
            _alone: alone,
        };
        fs::write(
            fixture.engine(),
            format!("#!/bin/sh\n[ \"$1\" = status ] && exit 0\necho \"$@\" > $0.started\n{script}\n"),
        )?;
        fs::set_permissions(fixture.engine(), fs::Permissions::from_mode(0o755))?;
        Ok(Some(fixture))
    }

    fn engine(&self) -> PathBuf {
        self.directory.join("engine")
    }

    fn run(&self) -> Result<Child> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(["run", "--name", &self.name, "--engine"])
            .arg(self.engine());
        command.args(["--", "--extra"]).stdin(Stdio::null());
        Ok(command.spawn()?)
    }

    fn nothing_is_left(&self) -> Result<()> {
        ensure!(
            !lifetime::is_left(&self.name),
            "something of {} is left",
            self.name
        );
        ensure!(!Path::new(PINS).exists(), "{PINS} is left");
        Ok(())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        lifetime::remove(&self.name);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_signal_stops_the_engine_and_removes_the_lab() -> Result<()> {
    let script = format!(
        "mkdir -p {PINS}\ntrap 'touch $0.told; exit 0' TERM\ntouch $0.ready\nwhile :; do sleep 0.05; done"
    );
    let Some(fixture) = Fixture::new("run-signal", &script)? else {
        return Ok(());
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let file = |name: &str| fixture.directory.join(name);
        let mut run = fixture.run()?;
        wait_until("the engine starting", SOON, || file("engine.ready").exists())?;
        ensure!(Lab::is_up(&fixture.name));
        let started = fs::read_to_string(file("engine.started"))?;
        ensure!(
            started.starts_with("run --config ") && started.trim_end().ends_with("--iface outside --extra")
        );

        kill(Pid::from_raw(run.id().cast_signed()), signal)?;
        let status = wait_for("the run ending", SOON, || run.try_wait().ok().flatten())?;
        ensure!(status.success(), "{signal}: {status}");
        ensure!(file("engine.told").exists(), "{signal}: the engine was not told");
        fixture.nothing_is_left()?;
        for name in ["engine.ready", "engine.told"] {
            fs::remove_file(file(name))?;
        }
    }
    Ok(())
}

#[test]
fn an_engine_that_dies_fails_the_run_and_removes_the_lab() -> Result<()> {
    let Some(fixture) = Fixture::new("run-death", "exit 3")? else {
        return Ok(());
    };
    let mut run = fixture.run()?;
    let status = wait_for("the run ending", SOON, || run.try_wait().ok().flatten())?;
    ensure!(status.code() == Some(1), "{status}");
    fixture.nothing_is_left()
}

#[test]
fn what_a_killed_run_leaves_is_removed_by_the_next() -> Result<()> {
    let script = format!("mkdir -p {PINS}\ntouch $0.ready\nexec sleep 1000");
    let Some(fixture) = Fixture::new("run-killed", &script)? else {
        return Ok(());
    };
    let mut run = fixture.run()?;
    wait_until("the engine starting", SOON, || {
        fixture.directory.join("engine.ready").exists()
    })?;
    run.kill()?;
    run.wait()?;
    ensure!(
        Lab::is_up(&fixture.name) && Path::new(PINS).exists(),
        "there is nothing to remove"
    );

    fs::write(fixture.engine(), "#!/bin/sh\nexit 0\n")?;
    let mut run = fixture.run()?;
    wait_for("the run ending", SOON, || run.try_wait().ok().flatten())?;
    fixture.nothing_is_left()
}
