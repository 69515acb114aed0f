//! Being root, or becoming it through sudo.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::find_program;

/// Variables that a step started through sudo still needs.
const KEPT: [&str; 4] = ["PATH", "CARGO", "CARGO_TARGET_DIR", "RUST_LOG"];

/// True if this process has root's identity.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs `program` as root: directly, or through sudo. `None` if neither is possible.
#[must_use]
pub fn as_root(program: impl AsRef<OsStr>) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    find_program("sudo").map(|sudo| {
        let mut command = Command::new(sudo);
        command.arg("--").arg(program);
        command
    })
}

/// Returns if root already; otherwise replaces this process by itself under sudo with the arguments
/// `arguments`, or fails with the command to type.
pub fn become_root(arguments: &[OsString]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let program = env::current_exe().context("finding this program's own path")?;
    let Some(sudo) = find_program("sudo") else {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        bail!(
            "this needs root and sudo is not installed; as root, run: {} {}",
            program.display(),
            arguments.join(" ")
        );
    };
    eprintln!("namespaces and eBPF need root: continuing under sudo");
    let mut command = Command::new(sudo);
    command.arg("--").arg("env");
    for name in KEPT {
        if let Some(value) = env::var_os(name) {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            command.arg(assignment);
        }
    }
    let error = command.arg(program).args(arguments).exec();
    Err(error).context("starting sudo")
}
