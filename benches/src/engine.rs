//! The engine in the lab's gateway.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::lab::{Lab, engine_config, namespace, wait::wait_for};

/// How long the engine may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running engine. Dropping it kills it.
pub(crate) struct Engine<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    child: Child,
}

impl<'a> Engine<'a> {
    /// Starts the engine on the gateway's outside interface, in a bridged lab as the bridge, and waits until it filters.
    pub(crate) fn start(lab: &'a Lab, binary: &'a Path, configuration: &str) -> Result<Self> {
        let file = lab.directory().join("bench.toml");
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let log =
            fs::File::create(lab.directory().join("engine.log")).context("creating the engine's log")?;
        lab.cut_wire()?;
        let bridge: &[&str] = if lab.is_bridged() {
            &["--bridge", "inside"]
        } else {
            &[]
        };
        let child = engine_config::with_few_arenas(&mut lab.gateway().command(binary))
            .args(["run", "--iface", "outside"])
            .args(bridge)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the engine")?;
        let mut engine = Self { lab, binary, child };
        wait_for("the engine answering", PATIENCE, || {
            let answers = engine
                .client(&["status"])
                .output()
                .is_ok_and(|output| output.status.success());
            let ended = engine.child.try_wait().ok().flatten().is_some();
            (answers || ended).then_some(())
        })?;
        ensure!(
            engine.child.try_wait()?.is_none(),
            "the engine ended: {}",
            engine.log()
        );
        Ok(engine)
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What ss(8) says of its `AF_XDP` sockets.
    pub(crate) fn sockets(&self) -> Result<String> {
        let mut command = self.lab.gateway().command("ss");
        namespace::output_of(command.args(["--xdp", "--extended", "--no-header"]))
    }

    /// A command of the engine's command line, in the gateway.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.gateway().command(self.binary);
        command.args(arguments);
        command
    }

    /// What a command of the command line prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.client(arguments).output().context("asking the engine")?;
        ensure!(
            output.status.success(),
            "portcullis {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `portcullis status` says.
    pub(crate) fn status(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.ask(&["status", "--json"])?)?)
    }

    /// Its resident memory, bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: u64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .with_context(|| format!("no VmRSS in {file}"))?
            .parse()?;
        Ok(kibibytes << 10)
    }

    /// How many listen to what happens.
    pub(crate) fn listeners(&self) -> Result<u64> {
        let status: serde_json::Value = serde_json::from_str(&self.ask(&["status", "--json"])?)?;
        let count = status
            .pointer("/events/listeners")
            .and_then(serde_json::Value::as_u64);
        count.with_context(|| format!("the status has no listeners: {status}"))
    }

    /// Has it stand still, so that it takes no CPU time.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP).context("pausing the engine")
    }

    /// Has it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT).context("resuming the engine")
    }

    fn signal(&self, signal: Signal) -> nix::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
    }

    /// Stops the engine in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM).context("stopping the engine")?;
        let status = wait_for("the engine ending", PATIENCE, || {
            self.child.try_wait().ok().flatten()
        })?;
        ensure!(status.success(), "the engine ended with {status}: {}", self.log());
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.lab.directory().join("engine.log")).unwrap_or_default()
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It is going away with the lab in any case.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
