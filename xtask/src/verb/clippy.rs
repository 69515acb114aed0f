//! `cargo xtask clippy`: lints of every crate, each for its own target.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::build::{ebpf_cargo, succeed};
use super::setup;
use crate::workspace;

/// The release whose lints the eBPF program is clean with, the one of Debian's `rustc-web`.
const CLEAN_WITH: &str = "1.96.";
/// What stands between arguments for clippy-driver in `CLIPPY_ARGS`.
const SEPARATOR: &str = "__CLIPPY_HACKERY__";

/// Run clippy with warnings as errors: on the workspace, then on the eBPF program for its own target.
#[derive(Args, Debug)]
pub struct Clippy {
    /// Only the eBPF program.
    #[arg(long)]
    ebpf: bool,
}

impl Clippy {
    /// Runs the verb.
    ///
    /// # Errors
    /// If set-up fails or there is a warning.
    pub fn run(&self) -> Result<ExitCode> {
        let tools = setup::ensure()?;
        if !self.ebpf {
            let mut command = workspace::cargo_command();
            command.args([
                "clippy",
                "--workspace",
                "--exclude",
                "filter-ebpf",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]);
            succeed(&mut command)?;
        }
        // `cargo clippy` takes its driver from its own directory; the eBPF compiler needs the one beside it.
        if let Some(driver) = tools.rust.clippy_driver() {
            // Lints grow with every release. Those of another release than the one this program is kept clean
            // with are shown, but only errors fail.
            let level = if tools.rust.version.starts_with(CLEAN_WITH) {
                "-D"
            } else {
                "-W"
            };
            let mut command = ebpf_cargo(&tools, "check");
            command.env("RUSTC_WORKSPACE_WRAPPER", driver);
            command.env("CLIPPY_ARGS", format!("{level}{SEPARATOR}warnings{SEPARATOR}"));

            succeed(&mut command)?;
        } else {
            eprintln!(
                "SKIPPED: clippy for the eBPF program: {} has no clippy-driver",
                tools.rust.describe()
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
