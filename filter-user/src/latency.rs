//! Latency histograms: one writer a queue, any number of readers, and no lock between them.
//!
//! A queue's thread counts into buckets laid out as an `HdrHistogram` of two significant digits lays them
//! out (`sub_bucket_count` 256), so a value is off by less than 1/128. A record is one relaxed load and one
//! relaxed store: there is a single writer, so nothing can be lost. Readers copy the buckets into a
//! [`Histogram`] while the writer goes on; a copy may miss records made during it, never tear one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// The longest latency told apart, in nanoseconds; longer ones count as this.
pub const MAX_NS: u64 = 10_000_000_000;

/// Significant decimal digits of a recorded value.
pub const SIGNIFICANT_DIGITS: u8 = 2;

/// log2 of the sub-buckets of a bucket: the first power of two not below 2 · 10^digits.
const SUB_BUCKET_BITS: u32 = 8;
const SUB_BUCKET_HALF: usize = 1 << (SUB_BUCKET_BITS - 1);
const BUCKETS: usize = index_of(MAX_NS) + 1;

/// The bucket of a latency.
const fn index_of(ns: u64) -> usize {
    let magnitude = (ns | ((1 << SUB_BUCKET_BITS) - 1)).ilog2() + 1 - SUB_BUCKET_BITS;
    // The upper half of the sub-buckets of each magnitude; the lower half is the magnitude below.
    ((magnitude as usize) << (SUB_BUCKET_BITS - 1)) + (ns >> magnitude) as usize
}

/// The lowest latency of a bucket, in nanoseconds.
const fn value_of(index: usize) -> u64 {
    if index < 2 * SUB_BUCKET_HALF {
        return index as u64;
    }
    let magnitude = index / SUB_BUCKET_HALF - 1;
    ((index - magnitude * SUB_BUCKET_HALF) as u64) << magnitude
}

/// A part of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From the XDP program's time stamp until the engine has read the frame from its ring.
    DriverToDequeued,
    /// From there until the frame's fate is decided.
    DequeuedToVerdict,
    /// From the XDP program's time stamp until the frame is in the transmit ring.
    DriverToForwarded,
}

impl Stage {
    /// All stages, in the order of a packet's way.
    pub const ALL: [Self; 3] = [
        Self::DriverToDequeued,
        Self::DequeuedToVerdict,
        Self::DriverToForwarded,
    ];

    /// The stage's name in files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DriverToDequeued => "driver_to_dequeued",
            Self::DequeuedToVerdict => "dequeued_to_verdict",
            Self::DriverToForwarded => "driver_to_forwarded",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The counts of one queue: [`BUCKETS`] a stage.
struct Counts(Box<[AtomicU64]>);

impl Counts {
    fn new() -> Self {
        Self(
            (0..Stage::ALL.len() * BUCKETS)
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }

    fn copy(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Relaxed)).collect()
    }
}

/// The writing end of one queue's histograms; it belongs to the queue's thread alone.
pub struct LatencyRecorder(Arc<Counts>);

impl LatencyRecorder {
    /// Counts one latency, in nanoseconds. No allocation, lock or system call.
    #[inline]
    pub fn record(&mut self, stage: Stage, ns: u64) {
        // `&mut self` and no `Clone`: the only writer, so load and store need not be one operation.
        let count = &self.0.0[stage as usize * BUCKETS + index_of(ns.min(MAX_NS))];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// The reading end of all queues' histograms.
pub struct LatencyBook {
    queues: Vec<Arc<Counts>>,
    baseline: Mutex<Baseline>,
}

/// The counts at the last reset: subtracted on read, as only the writers may touch the counts themselves.
struct Baseline {
    since: Instant,
    counts: Vec<Vec<u64>>,
}

impl LatencyBook {
    /// The histograms of so many queues, and each queue's writing end. All memory they ever use is taken here.
    #[must_use]
    pub fn new(queues: usize) -> (Self, Vec<LatencyRecorder>) {
        let queues: Vec<_> = (0..queues).map(|_| Arc::new(Counts::new())).collect();
        let recorders = queues
            .iter()
            .map(|counts| LatencyRecorder(Arc::clone(counts)))
            .collect();
        let zero = vec![vec![0; Stage::ALL.len() * BUCKETS]; queues.len()];
        (
            Self {
                queues,
                baseline: Mutex::new(Baseline {
                    since: Instant::now(),
                    counts: zero,
                }),
            },
            recorders,
        )
    }

    /// The histograms since the start or the last reset; with `reset`, later ones start anew.
    #[must_use]
    pub fn snapshot(&self, reset: bool) -> Latencies {
        let mut baseline = self.baseline.lock().unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<_> = self.queues.iter().map(|queue| queue.copy()).collect();
        let queues = counts.iter().zip(&baseline.counts).enumerate();
        let entries = queues.flat_map(|(queue, (now, then))| {
            Stage::ALL.into_iter().map(move |stage| {
                let range = stage as usize * BUCKETS..(stage as usize + 1) * BUCKETS;
                StageLatency {
                    queue: queue as u32,
                    stage,
                    histogram: histogram(&now[range.clone()], &then[range]),
                }
            })
        });
        let latencies = Latencies {
            interval_s: baseline.since.elapsed().as_secs_f64(),
            stages: entries.collect(),
        };
        if reset {
            *baseline = Baseline {
                since: Instant::now(),
                counts,
            };
        }
        latencies
    }
}

/// An empty histogram of the range and precision recorded.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "cannot panic, as the expect says")]
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_NS, SIGNIFICANT_DIGITS).expect("the bounds are constants that fit")
}

fn histogram(now: &[u64], then: &[u64]) -> Histogram<u64> {
    let mut histogram = empty_histogram();
    for (index, (now, then)) in now.iter().zip(then).enumerate() {
        let count = now.wrapping_sub(*then);
        if count > 0 {
            histogram
                .record_n(value_of(index), count)
                .expect("no bucket is above the histogram's range");
        }
    }
    histogram
}

/// The latency histograms of an engine over an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// The length of the interval in seconds.
    pub interval_s: f64,
    /// A histogram for each queue and stage.
    pub stages: Vec<StageLatency>,
}

/// The latencies of one stage in one queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageLatency {
    /// The queue.
    pub queue: u32,
    /// The stage.
    pub stage: Stage,
    /// The latencies in nanoseconds; in JSON, `HdrHistogram`'s compressed V2 encoding in base64.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub histogram: Histogram<u64>,
}

impl Latencies {
    /// One stage over all queues.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "cannot panic, as the expect says")]
    pub fn merged(&self, stage: Stage) -> Histogram<u64> {
        let mut all = empty_histogram();
        // Histograms from a file may have another range than ours.
        all.auto(true);
        for entry in self.stages.iter().filter(|entry| entry.stage == stage) {
            all.add(&entry.histogram)
                .expect("the histogram grows to any range");
        }
        all
    }
}

fn encode<S: Serializer>(histogram: &Histogram<u64>, out: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(S::Error::custom)?;
    out.serialize_str(&BASE64.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(de: D) -> Result<Histogram<u64>, D::Error> {
    let text = String::deserialize(de)?;
    let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
    HdrDeserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| D::Error::custom(format!("not an HdrHistogram: {error}")))
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, thread};

    use proptest::prelude::*;

    use super::*;

    const PERCENTILES: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0];

    proptest! {
        #[test]
        fn buckets_hold_their_values(ns in 0..=MAX_NS) {
            let index = index_of(ns);
            prop_assert!(index < BUCKETS);
            prop_assert!(value_of(index) <= ns);
            prop_assert!(index + 1 == BUCKETS || ns < value_of(index + 1));
            prop_assert_eq!(index_of(value_of(index)), index);
        }

        #[test]
        fn equal_to_hdrhistogram(values in prop::collection::vec(0..=2 * MAX_NS, 1..300)) {
            let (book, mut recorders) = LatencyBook::new(1);
            let mut reference = empty_histogram();
            for &ns in &values {
                recorders[0].record(Stage::DriverToDequeued, ns);
                reference.saturating_record(ns.min(MAX_NS));
            }
            let ours = book.snapshot(false).stages.remove(0).histogram;
            prop_assert_eq!(ours.len(), reference.len());
            for p in PERCENTILES {
                prop_assert_eq!(ours.value_at_percentile(p), reference.value_at_percentile(p), "p{}", p);
            }
        }
    }

    #[test]
    fn readers_do_not_stop_the_writer() {
        const RECORDS: u64 = 2_000_000;
        let (book, mut recorders) = LatencyBook::new(1);
        let mut recorder = recorders.remove(0);
        let writer = thread::spawn(move || {
            for i in 0..RECORDS {
                recorder.record(Stage::DequeuedToVerdict, i % 50_000);
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let seen = book.snapshot(false).merged(Stage::DequeuedToVerdict).len();
            assert!((last..=RECORDS).contains(&seen), "{last} then {seen}");
            last = seen;
        }
        writer.join().expect("the writer ends");
        assert_eq!(
            book.snapshot(false).merged(Stage::DequeuedToVerdict).len(),
            RECORDS
        );
    }

    #[test]
    fn a_reset_loses_nothing() {
        let (book, mut recorders) = LatencyBook::new(2);
        recorders[0].record(Stage::DriverToForwarded, 1_000);
        recorders[1].record(Stage::DriverToForwarded, 2_000);
        let first = book.snapshot(true);
        assert_eq!(first.merged(Stage::DriverToForwarded).len(), 2);
        assert_eq!(first.merged(Stage::DriverToDequeued).len(), 0);
        recorders[1].record(Stage::DriverToForwarded, 3_000);
        let second = book.snapshot(false);
        assert_eq!(second.merged(Stage::DriverToForwarded).len(), 1);
        assert!(second.merged(Stage::DriverToForwarded).max().abs_diff(3_000) < 3_000 / 128);
        assert_eq!(second.stages.len(), 6);
    }

    #[test]
    fn json_keeps_the_histograms() {
        let (book, mut recorders) = LatencyBook::new(1);
        for ns in [0, 1, 255, 256, 12_345, MAX_NS] {
            recorders[0].record(Stage::DriverToDequeued, ns);
        }
        let latencies = book.snapshot(false);
        let json = serde_json::to_string(&latencies).expect("JSON");
        let back: Latencies = serde_json::from_str(&json).expect("latencies");
        assert_eq!(back, latencies);
        for broken in ["\"AAAA\"", "\"?\"", "7"] {
            let text = format!(r#"{{"queue":0,"stage":"driver_to_dequeued","histogram":{broken}}}"#);
            assert!(serde_json::from_str::<StageLatency>(&text).is_err(), "{broken}");
        }
    }

    /// Prints a figure: `cargo test --release -p filter-user latency -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement, not a check"]
    fn nanoseconds_per_record() {
        const RECORDS: u32 = 50_000_000;
        let (_book, mut recorders) = LatencyBook::new(1);
        let start = Instant::now();
        for i in 0..RECORDS {
            recorders[0].record(
                Stage::DriverToDequeued,
                black_box(5_000 + u64::from(i) * 7_919 % 20_000),
            );
        }
        println!(
            "{:.2} ns a record",
            start.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS)
        );
    }
}
