//! The CPU time of this thread: what else the machine does is not measured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// How long this thread has been running.
///
/// # Errors
/// If the system has no such clock.
pub(crate) fn cpu_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's clock")?;
    Ok(Duration::from(time))
}
