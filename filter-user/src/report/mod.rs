//! Latency reports: a table, `HdrHistogram`'s percentile files, JSON, and a page with the plot.

mod hgrm;
mod html;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use snapshot::{MAX_SNAPSHOT_BYTES, Percentiles, Snapshot, SnapshotError};

use crate::latency::Stage;

/// Percentiles that tables show, with their names.
const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
];

impl Snapshot {
    /// Writes `latency.json`, `latency.html` and an `.hgrm` for each stage, over all queues and for each,
    /// into a directory that is made if need be. Returns what was written.
    pub fn write(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(directory)?;
        let mut files = vec![
            ("latency.json".to_owned(), self.to_json()),
            ("latency.html".to_owned(), html::page(self)),
        ];
        for stage in Stage::ALL {
            files.push((
                format!("{stage}.hgrm"),
                hgrm::percentiles(&self.latencies.merged(stage)),
            ));
        }
        for entry in &self.latencies.stages {
            let name = format!("{}.queue{}.hgrm", entry.stage, entry.queue);
            files.push((name, hgrm::percentiles(&entry.histogram)));
        }
        files
            .into_iter()
            .map(|(name, text)| {
                let path = directory.join(name);
                fs::write(&path, text)?;
                Ok(path)
            })
            .collect()
    }

    /// The percentiles of each stage, over all queues and for each, in microseconds, for people.
    #[must_use]
    pub fn table(&self) -> String {
        table::text(self)
    }
}
