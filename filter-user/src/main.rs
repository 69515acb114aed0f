//! The command-line program.

use std::process::ExitCode;

use filter_user::{
    cli::Datapath,
    config::Config,
    scan::{Capture, Judge, Sink},
};

/// Stands where the datapath is joined.
struct NoDatapath;

impl Datapath for NoDatapath {
    fn run(&self, _: Config) -> anyhow::Result<()> {
        anyhow::bail!("this build has no datapath")
    }

    fn replay(&self, _: &Config, _: &Judge, _: &mut Capture, _: &mut dyn Sink) -> anyhow::Result<()> {
        anyhow::bail!("this build has no datapath")
    }
}

fn main() -> ExitCode {
    filter_user::cli::main(&NoDatapath)
}
