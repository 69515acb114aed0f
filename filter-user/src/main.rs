//! The command-line program.

use std::process::ExitCode;

use filter_user::{
    cli::Datapath,
    config::{Config, Origin},
    replay, runtime,
    scan::{Capture, Judge, Sink},
};

/// The engine of this crate.
struct Engine;

impl Datapath for Engine {
    fn run(&self, config: Config, origin: Origin, replace: bool) -> anyhow::Result<()> {
        runtime::run(config, origin, replace)
    }

    fn replay(
        &self,
        config: &Config,
        judge: &Judge,
        capture: &mut Capture,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        replay::replay(config, judge, capture, sink)
    }
}

fn main() -> ExitCode {
    filter_user::cli::main(&Engine)
}
