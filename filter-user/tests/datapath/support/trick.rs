//! Tricks that are played twice: without the engine, where they must work, and with it.

use anyhow::{Context as _, Result, ensure};
use xtask::lab::wait::wait_for;

use super::{SOON, engine::RunningEngine, site::Site};

/// Plays a trick `without` the engine, which returns how many attacks it sent, and then `with` it. The first run must
/// bring all attacks to nginx, or the trick is none, and the second none of them. What tells the attacks in nginx's log is
/// that their request line has `mark`.
pub(crate) fn in_two_runs(
    site: &Site,
    mark: &str,
    settings: &[&str],
    without: impl FnOnce() -> Result<usize>,
    with: impl FnOnce(&RunningEngine) -> Result<()>,
) -> Result<()> {
    let sent = without().context("without the engine")?;
    wait_for("the attacks in nginx's log", SOON, || {
        served(site, mark).ok().filter(|served| *served >= sent)
    })
    .context("without the engine")?;
    let before = served(site, mark)?;
    ensure!(before == sent, "without the engine {before} attacks arrived");
    let engine = RunningEngine::start(&site.lab, settings)?;
    with(&engine)?;
    engine.settled_status()?;
    let arrived = served(site, mark)? - before;
    ensure!(arrived == 0, "{arrived} attacks arrived");
    engine.stop()
}

/// Requests with `mark` in their line that nginx has read and answered to their end.
fn served(site: &Site, mark: &str) -> Result<usize> {
    let log = site.nginx.access_log()?;
    Ok(log
        .iter()
        .filter(|entry| entry.complete && entry.request.contains(mark))
        .count())
}
