//! placeholder
use anyhow::Result;
use std::process::ExitCode;
/// Run.
#[derive(clap::Args, Debug)]
pub struct Run {}
impl Run {
    /// Runs.
    pub fn run(&self) -> Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
