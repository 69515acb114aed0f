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
use xtask::lab::{Lab, namespace, wait::wait_for};

/// How long the engine may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running engine. Dropping it kills it.
pub(crate) struct Engine<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    child: Child,
}

impl<'a> Engine<'a> {
    /// Starts the engine on the gateway's outside interface and waits until it filters.
    pub(crate) fn start(lab: &'a Lab, binary: &'a Path, configuration: &str) -> Result<Self> {
        let file = lab.directory().join("bench.toml");
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let log =
            fs::File::create(lab.directory().join("engine.log")).context("creating the engine's log")?;
        let child = lab
            .gateway()
            .command(binary)
            .args(["run", "--iface", "outside", "--config"])
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

    /// Stops the engine in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).context("stopping the engine")?;
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
