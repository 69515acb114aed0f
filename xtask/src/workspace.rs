//! Where things are: the workspace's root, Cargo's target directory and what is built into it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace, the directory of the top `Cargo.toml`.
#[must_use]
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, or `target` under the root.
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The finished eBPF object. The place does not depend on `CARGO_TARGET_DIR`, because the engine's build
/// script must find it without asking anyone.
#[must_use]
pub fn bpf_object() -> PathBuf {
    root().join("target/bpf/portcullis-bpf.o")
}

/// Logs of long steps.
#[must_use]
pub fn logs() -> PathBuf {
    target().join("xtask-logs")
}

/// Tools that are installed for this workspace alone, laid out as `cargo install --root` does.
#[must_use]
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The Cargo that runs this program, else the one on the search path.
#[must_use]
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A Cargo command in the workspace's root.
#[must_use]
pub fn cargo_command() -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(root());
    command
}

/// Cargo's home, where `cargo install` puts programs.
#[must_use]
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

/// The first program of this name on the search path or in the system directories that a user's search
/// path often lacks.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}
