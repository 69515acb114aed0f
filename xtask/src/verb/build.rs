//! `cargo xtask build`: the eBPF object, then the engine.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::setup::{self, Tools};
use crate::workspace;

/// Build the eBPF object (target/bpf/portcullis-bpf.o) and the engine (target/release/portcullis).
#[derive(Args, Debug, Default)]
pub struct Build {
    /// Build the engine without optimisation; the eBPF object is always optimised.
    #[arg(long, conflicts_with = "release")]
    pub debug: bool,
    /// Build the engine optimised; this is the default.
    #[arg(long)]
    pub release: bool,
}

impl Build {
    /// Runs the verb.
    ///
    /// # Errors
    /// If set-up or a compiler fails.
    pub fn run(&self) -> Result<ExitCode> {
        let engine = self.build()?;
        eprintln!("built {}", engine.display());
        Ok(ExitCode::SUCCESS)
    }

    /// Sets up, builds both parts and returns the engine's path.
    ///
    /// # Errors
    /// If set-up or a compiler fails.
    pub fn build(&self) -> Result<PathBuf> {
        ebpf(&setup::ensure()?)?;
        let mut command = workspace::cargo_command();
        command.args(["build", "--package", "filter-user", "--bin", "portcullis"]);
        if !self.debug {
            command.arg("--release");
        }
        succeed(&mut command)?;
        let profile = if self.debug { "debug" } else { "release" };
        Ok(workspace::target().join(profile).join("portcullis"))
    }
}

/// The Cargo invocation for the eBPF program with `verb` (`build`, `check`).
#[must_use]
pub fn ebpf_cargo(tools: &Tools, verb: &str) -> Command {
    let mut command = tools.rust.cargo_command();
    command
        .args([
            verb,
            "--release",
            "--package",
            "filter-ebpf",
            "--target",
            "bpfel-unknown-none",
        ])
        .args(["-Zbuild-std=core", "--target-dir"])
        .arg(ebpf_target());
    // Debug information becomes the BTF that gives maps their field names.
    let linker = format!("-Clinker={}", tools.bpf_linker.display());
    let flags = [&linker, "-Cdebuginfo=2", "-Clink-arg=--btf", "-Cpanic=abort"];
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command
}

fn ebpf_target() -> PathBuf {
    workspace::target().join("bpf")
}

/// Builds the eBPF object to [`workspace::bpf_object`]. The file is written only when its bytes change, so
/// that the engine is not built again for nothing.
///
/// # Errors
/// If the compiler or the linker fails.
pub fn ebpf(tools: &Tools) -> Result<()> {
    eprintln!("building the eBPF program with {}", tools.rust.describe());
    succeed(&mut ebpf_cargo(tools, "build"))?;
    let built = ebpf_target().join("bpfel-unknown-none/release/portcullis-bpf");
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    let object = workspace::bpf_object();
    match fs::read(&object) {
        Ok(old) if old == bytes => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", object.display()));
        }
        _ => {}
    }
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    }
    // A reader must never see half an object: write beside it, then rename.
    let partial = object.with_extension("o.partial");
    fs::write(&partial, bytes).with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, &object).with_context(|| format!("renaming to {}", object.display()))
}

/// Runs a command with its output shown, and fails unless it succeeds.
///
/// # Errors
/// If the command cannot be started or fails.
pub fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        bail!("{program} {}: {status}", arguments.join(" "));
    }
    Ok(())
}
