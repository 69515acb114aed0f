//! Histograms with where and when they are from, as they are kept in a file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::PERCENTILES;
use crate::{
    control::Status,
    latency::{Latencies, Stage},
};

/// The largest snapshot read, in bytes.
pub const MAX_SNAPSHOT_BYTES: u64 = 256 << 20;

/// The latencies of an engine at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The engine's version.
    pub version: String,
    /// The interface it filters.
    pub interface: String,
    /// When it was taken, in seconds since 1970.
    pub taken_at_s: u64,
    /// The histograms.
    pub latencies: Latencies,
    /// What they come to; for readers without an `HdrHistogram` library. Not read back.
    #[serde(default, skip_deserializing)]
    pub percentiles: Vec<Percentiles>,
}

/// The percentiles of one stage. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Percentiles {
    /// The stage.
    pub stage: Stage,
    /// The queue; none: all.
    pub queue: Option<u32>,
    /// How many latencies there are.
    pub count: u64,
    /// Their mean.
    pub mean_s: f64,
    /// The median.
    pub p50_s: f64,
    /// 90 % are not above this.
    pub p90_s: f64,
    /// 99 % are not above this.
    pub p99_s: f64,
    /// 99.9 % are not above this.
    pub p999_s: f64,
    /// 99.99 % are not above this.
    pub p9999_s: f64,
    /// The longest.
    pub max_s: f64,
}

impl Percentiles {
    fn of(stage: Stage, queue: Option<u32>, histogram: &Histogram<u64>) -> Self {
        let values = PERCENTILES.map(|(_, percentile)| seconds(histogram.value_at_percentile(percentile)));
        Self {
            stage,
            queue,
            count: histogram.len(),
            mean_s: histogram.mean() / 1e9,
            p50_s: values[0],
            p90_s: values[1],
            p99_s: values[2],
            p999_s: values[3],
            p9999_s: values[4],
            max_s: seconds(histogram.max()),
        }
    }

    /// The percentiles in the order of the tables, then the maximum.
    pub(super) fn values_s(&self) -> [f64; 6] {
        [
            self.p50_s,
            self.p90_s,
            self.p99_s,
            self.p999_s,
            self.p9999_s,
            self.max_s,
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "104 days are exact")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Snapshot {
    /// The latencies of a running engine, taken now.
    #[must_use]
    pub fn now(status: &Status, latencies: Latencies) -> Self {
        let taken_at_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            version: status.version.clone(),
            interface: status.interface.clone(),
            taken_at_s,
            percentiles: percentiles(&latencies),
            latencies,
        }
    }

    /// Reads a snapshot that [`Snapshot::write`] wrote.
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |error| SnapshotError::Io {
            path: path.to_owned(),
            error,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_SNAPSHOT_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > MAX_SNAPSHOT_BYTES {
            return Err(failed(io::Error::other(format!(
                "it is larger than {MAX_SNAPSHOT_BYTES} bytes"
            ))));
        }
        let mut snapshot: Self = serde_json::from_slice(&text).map_err(|error| SnapshotError::Form {
            path: path.to_owned(),
            error,
        })?;
        snapshot.percentiles = percentiles(&snapshot.latencies);
        Ok(snapshot)
    }

    /// The snapshot as JSON.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "cannot panic, as the expect says")]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("every field has a JSON form");
        json.push('\n');
        json
    }
}

/// The percentiles of each stage over all queues, and of each queue if there is more than one.
fn percentiles(latencies: &Latencies) -> Vec<Percentiles> {
    let mut rows = Vec::new();
    for stage in Stage::ALL {
        rows.push(Percentiles::of(stage, None, &latencies.merged(stage)));
        let queues: Vec<_> = latencies
            .stages
            .iter()
            .filter(|entry| entry.stage == stage)
            .collect();
        if queues.len() > 1 {
            rows.extend(
                queues
                    .iter()
                    .map(|entry| Percentiles::of(stage, Some(entry.queue), &entry.histogram)),
            );
        }
    }
    rows
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("{}: {error}\n  fix: name a latency.json that `portcullis report` wrote", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no snapshot.
    #[error("{}:{}: not a latency snapshot: {error}\n  fix: name a latency.json that `portcullis report` wrote", path.display(), error.line())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
}
