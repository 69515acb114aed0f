//! A program in a lab's gateway.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::lab::{Lab, wait::wait_for};

/// How long a program may take to start; Suricata compiles its rules.
const START: Duration = Duration::from_mins(1);
/// How long it may take to end before it is killed.
const END: Duration = Duration::from_secs(10);

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command and waits until `ready` says so; its output goes to a file in the lab's directory.
    pub(crate) fn start(
        lab: &Lab,
        name: &'static str,
        mut command: Command,
        mut ready: impl FnMut(&str) -> bool,
    ) -> Result<Self> {
        let log = lab.directory().join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("duplicating the log's descriptor")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut process = Self { name, child, log };
        let state = wait_for(name, START, || {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Some(Some(status));
            }
            ready(&process.log()).then_some(None)
        });
        match state {
            Ok(None) => Ok(process),
            Ok(Some(status)) => bail!("{name} ended with {status}: {}", process.log()),
            Err(error) => Err(error.context(process.log())),
        }
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.log()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        if wait_for(self.name, END, || self.child.try_wait().ok().flatten()).is_err() {
            // It is going away with the lab in any case.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
