//! Other engines as processes.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Whether a process runs: it exists, and is more than an entry that waits for its parent.
pub(super) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Kills an engine that hangs; nothing else, should the number mean another process here.
pub(super) fn kill_engine(pid: u32) {
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let is_engine =
        pid != std::process::id() && name(&pid.to_string()).is_some_and(|other| Some(other) == name("self"));
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| is_engine && *pid > 1) else {
        tracing::warn!("process {pid} is no engine that can be seen from here: it is left alone");
        return;
    };
    if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
        tracing::warn!("process {pid} cannot be killed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_runs() {
        assert!(runs(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().expect("it starts");
        while runs(child.id()) {
            std::thread::yield_now();
        }
        // Until now it waits for its parent.
        child.wait().expect("it has ended");
        assert!(!runs(child.id()) && !runs(0) && !runs(u32::MAX));
    }

    #[test]
    fn what_is_no_engine_is_left_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("it starts");
        kill_engine(child.id());
        kill_engine(0);
        kill_engine(u32::MAX);
        assert!(runs(child.id()));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    }
}
