//! Where and how the queues' threads run.

use std::{fs, path::PathBuf, thread};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::Options;

use crate::support::{engine::RunningEngine, site::Site};

/// `SCHED_BATCH` and `SCHED_NORMAL` (include/uapi/linux/sched.h).
const BATCH: u32 = 3;
const NORMAL: u32 = 0;

/// The scheduling policy and the allowed CPUs of the thread `name`.
fn placement(engine: &RunningEngine, name: &str) -> Result<(u32, String)> {
    let threads = fs::read_dir(format!("/proc/{}/task", engine.pid()))?;
    let named =
        |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let thread = threads
        .filter_map(|thread| Some(thread.ok()?.path()))
        .find(named)
        .with_context(|| format!("no thread {name}"))?;
    let stat = fs::read_to_string(thread.join("stat"))?;
    // The name is in parentheses; proc(5) numbers the fields from 1, and the policy is the 41st.
    let policy = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(38));
    let status = fs::read_to_string(thread.join("status"))?;
    let cpus = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok((
        policy.context("no policy")?.parse()?,
        cpus.context("no CPUs")?.trim().to_owned(),
    ))
}

#[test]
fn queue_threads_are_pinned_and_scheduled_as_told() -> Result<()> {
    let Some(site) = Site::start(&Options {
        queues: 2,
        ..Options::default()
    })?
    else {
        return Ok(());
    };
    let last = thread::available_parallelism()?.get() - 1;
    let engine = RunningEngine::start(&site.lab, &[&format!("engine.cpus=[{last},0]")])?;
    ensure!(placement(&engine, "pc-queue-0")? == (BATCH, last.to_string()));
    ensure!(placement(&engine, "pc-queue-1")? == (BATCH, "0".into()));
    engine.stop()?;

    let engine = RunningEngine::start(&site.lab, &["engine.scheduling=normal", "engine.cpus=[0,0]"])?;
    ensure!(placement(&engine, "pc-queue-0")? == (NORMAL, "0".into()));
    engine.stop()
}
