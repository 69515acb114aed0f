//! Finding a Rust that can compile for eBPF.
//!
//! `bpfel-unknown-none` has no precompiled core, so the compiler needs the library's sources beside it,
//! and leave to use unstable options (`RUSTC_BOOTSTRAP=1` gives it to a stable one).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace;

/// The minor version of Rust 1 that this workspace asks for.
const MINIMUM_MINOR: u32 = 95;

/// A compiler with the library's sources.
#[derive(Clone, Debug)]
pub struct EbpfRust {
    /// The compiler itself, never rustup's proxy.
    pub rustc: PathBuf,
    /// The Cargo that drives it: its own if it has one, else the one that runs this program.
    pub cargo: PathBuf,
    /// Where it was found, in words.
    pub origin: String,
    /// Its version, as `1.96.0`.
    pub version: String,
    /// The major version of its LLVM. A linker of an older LLVM cannot read what it writes.
    pub llvm: u32,
}

impl EbpfRust {
    /// All that are on this machine, best first: rustup's toolchains (nightly before the others), then the
    /// system's own Rust.
    #[must_use]
    pub fn installed() -> Vec<Self> {
        let mut found: Vec<Self> = rustup_toolchains()
            .into_iter()
            .filter_map(|(name, path)| Self::in_sysroot(&path, &name))
            .collect();
        found.sort_by_key(|rust| !rust.origin.contains("nightly"));
        found.extend(Self::in_sysroot(Path::new("/usr"), "system packages"));
        found
    }

    fn in_sysroot(sysroot: &Path, name: &str) -> Option<Self> {
        let rustc = sysroot.join("bin/rustc");
        let sources = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !rustc.is_file() || !sources.is_file() {
            return None;
        }
        let output = Command::new(&rustc).arg("-vV").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let version = field("release:")?.to_owned();
        if minor(&version)? < MINIMUM_MINOR {
            return None;
        }
        let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
        let own_cargo = sysroot.join("bin/cargo");
        let cargo = if own_cargo.is_file() {
            own_cargo
        } else {
            workspace::cargo()
        };
        Some(Self {
            rustc,
            cargo,
            origin: name.to_owned(),
            version,
            llvm,
        })
    }

    /// A Cargo command for this compiler, free of what an outer Cargo or rustup put into the environment.
    #[must_use]
    pub fn cargo_command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(workspace::root())
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        command
    }

    /// The lint driver of the same release, if it is installed.
    #[must_use]
    pub fn clippy_driver(&self) -> Option<PathBuf> {
        Some(self.rustc.with_file_name("clippy-driver")).filter(|driver| driver.is_file())
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} {} (LLVM {})", self.origin, self.version, self.llvm)
    }
}

/// The minor version in `1.96.0-nightly`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// True if packages of this version (`1.96.0+dfsg1-1`) are new enough for this workspace.
#[must_use]
pub fn is_new_enough(version: &str) -> bool {
    minor(version).is_some_and(|minor| minor >= MINIMUM_MINOR)
}

/// rustup's toolchains with their directories, without duplicates.
fn rustup_toolchains() -> Vec<(String, PathBuf)> {
    let Ok(output) = Command::new("rustup").args(["toolchain", "list", "-v"]).output() else {
        return Vec::new();
    };
    let mut toolchains: Vec<(String, PathBuf)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((name, _)) = line.split_once([' ', '\t']) else {
            continue;
        };
        let Some(start) = line.find('/') else { continue };
        let path = PathBuf::from(line[start..].trim());
        if !toolchains.iter().any(|(_, known)| *known == path) {
            toolchains.push((format!("rustup {name}"), path));
        }
    }
    toolchains
}

/// The last resort: rustup's own `rust-src` for its active toolchain.
///
/// # Errors
/// Without rustup, or without a network to it.
pub fn add_rust_src() -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["component", "add", "rust-src"]);
    crate::progress::run(
        "rust-src",
        "Adding rust-src to rustup's active toolchain",
        &mut command,
    )
    .context("rustup could not add rust-src (it needs the network, or RUSTUP_DIST_SERVER set to a mirror)")
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_new_enough("1.96.0+dfsg1-1~deb12u2"));
        assert!(is_new_enough("1.100.0-nightly"));
        assert!(!is_new_enough("1.85.0+dfsg3-1"));
        assert!(!is_new_enough("nonsense"));
    }
}
