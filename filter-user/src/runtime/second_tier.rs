//! The deep-inspection pool of a running engine.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use anyhow::Context as _;
use filter_score::{DeepScorer, Policies};

use super::{events, placement, queues::cache_key};
use crate::{
    config::Config,
    control::DeepStatus,
    deep::{DeepCount, Pool, PoolCounters, Settings},
    engine::EngineCounters,
    live::Hub,
};

/// A worker that has been at one request for so many deadlines hangs; and for so long at least.
const STALL_DEADLINES: u32 = 10;
const SHORTEST_STALL: Duration = Duration::from_millis(500);

/// Starts the pool, if there is to be one.
pub(super) fn start(
    config: &Config,
    policies: &Arc<Policies>,
    queues: u32,
    hub: &Arc<Hub>,
) -> anyhow::Result<Option<Pool>> {
    let deep = &config.deep;
    if !deep.enabled {
        return Ok(None);
    }
    let deadline = Duration::from_millis(deep.deadline_ms.into());
    let settings = Settings {
        workers: (deep.workers.min as usize, deep.workers.max as usize),
        batch: deep.batch as usize,
        collect: Duration::from_micros(deep.collect_us.into()),
        deadline,
        jobs: deep.queue,
        stall: (deadline * STALL_DEADLINES).max(SHORTEST_STALL),
    };
    let (policies, entries, key) = (Arc::clone(policies), deep.cache as usize, cache_key()?);
    let make = move || Box::new(DeepScorer::new(&policies, entries, &key)) as Box<_>;
    let rings = placement::cpus(&config.engine.cpus)?;
    let rings: Vec<_> = rings.into_iter().take(queues as usize).collect();
    let prepare = move || placement::keep_off(&rings);
    let hub = Arc::clone(hub);
    Pool::start(settings, queues as usize, make, prepare, move |notice| {
        events::notice(notice, &hub);
    })
    .context("cannot start the deep-inspection pool")
    .map(Some)
}

/// The pool's state for an operator.
pub(super) fn status(pool: &Pool, counters: &[EngineCounters]) -> DeepStatus {
    let count = |what: DeepCount| counters.iter().map(|counters| counters.deep[what as usize]).sum();
    let PoolCounters {
        workers,
        grown,
        shrunk,
        died,
        stalled,
    } = pool.counters();
    DeepStatus {
        breaker: pool.breaker().name().to_owned(),
        requests: DeepCount::ALL
            .iter()
            .map(|what| (what.name().to_owned(), count(*what)))
            .collect(),
        waiting: counters.iter().map(|counters| counters.deep_waiting).sum(),
        depth: pool.depth() as u64,
        workers: workers.load(Ordering::Relaxed),
        grown: grown.load(Ordering::Relaxed),
        shrunk: shrunk.load(Ordering::Relaxed),
        died: died.load(Ordering::Relaxed),
        stalled: stalled.load(Ordering::Relaxed),
    }
}
