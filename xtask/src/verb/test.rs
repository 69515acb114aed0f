//! `cargo xtask test`: every test, from a clean clone.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{build, setup};
use crate::{lab, privilege, workspace};

/// Set up, build the eBPF object, then run all tests: with cargo-nextest if it is installed, else with
/// `cargo test`. As root the integration tests run too; otherwise they say that they were skipped.
#[derive(Args, Debug)]
pub struct Test {
    /// Use `cargo test` even if cargo-nextest is installed.
    #[arg(long)]
    plain: bool,
    /// Arguments for the test runner.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Test {
    /// Runs the verb; the runner's own closing line is the last thing printed.
    ///
    /// # Errors
    /// If set-up or the build fails. Failing tests are told by the exit code.
    pub fn run(&self) -> Result<ExitCode> {
        build::ebpf(&setup::ensure()?)?;
        if privilege::is_root() {
            lab::sweep();
        } else {
            eprintln!("not root: tests that need network namespaces and eBPF will be skipped");
        }
        let mut command = workspace::cargo_command();
        if !self.plain && has_nextest() {
            command.args(["nextest", "run"]);
        } else {
            command.arg("test");
        }
        // In the root the default members are meant, which leave the eBPF program out; `-p` narrows them.
        command.args(&self.arguments);
        let status = command.status().context("starting the test runner")?;
        Ok(if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn has_nextest() -> bool {
    let output = Command::new(workspace::cargo())
        .args(["nextest", "--version"])
        .output();
    output.is_ok_and(|output| output.status.success())
}
