//! The counters of an engine at one time.

use std::time::SystemTime;

use hdrhistogram::Histogram;

use crate::{
    control::{Engine, Status},
    latency::Stage,
};

/// The counters of an engine at one time.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When.
    pub time: SystemTime,
    /// The state.
    pub status: Status,
    /// The latencies of each stage, over all queues.
    pub latencies: [Histogram<u64>; Stage::ALL.len()],
}

impl Reading {
    /// Those of now.
    pub fn of(engine: &dyn Engine) -> Self {
        let latencies = engine.latencies(false);
        Self {
            time: SystemTime::now(),
            status: engine.status(),
            latencies: Stage::ALL.map(|stage| latencies.merged(stage)),
        }
    }
}
