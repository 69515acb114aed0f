//! What the command line needs of the datapath.

use crate::{
    config::{Config, Origin},
    scan::{Capture, Judge, Sink},
};

/// The datapath, as far as the command line starts it.
pub trait Datapath {
    /// Filters the configured interfaces until the process is told to stop. The configuration has an interface; `origin` is
    /// where it is read again from; with `replace`, it takes over from the engine that runs.
    fn run(&self, config: Config, origin: Origin, replace: bool) -> anyhow::Result<()>;

    /// Puts the TCP streams of a capture together and scores their requests as [`Datapath::run`] would. Errors
    /// of the capture are returned as [`CaptureError`](crate::scan::CaptureError), after what came before
    /// them was scored.
    fn replay(
        &self,
        config: &Config,
        judge: &Judge,
        capture: &mut Capture,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()>;
}
