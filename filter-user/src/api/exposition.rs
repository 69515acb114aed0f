//! Metric families as Prometheus reads them: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use hdrhistogram::Histogram;
use prometheus::{
    Encoder as _, TextEncoder,
    core::Collector as _,
    process_collector::ProcessCollector,
    proto::{self, Bucket, Metric, MetricFamily, MetricType},
};

/// Upper bounds of latency buckets, in nanoseconds.
const BOUNDS_NS: [u64; 16] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The families of one answer.
#[derive(Default)]
pub(super) struct Exposition(Vec<MetricFamily>);

impl Exposition {
    /// A counter with these samples; none, no family.
    pub(super) fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let mut counter = proto::Counter::default();
            counter.set_value(real(value));
            let mut metric = labelled(labels);
            metric.set_counter(counter);
            metric
        });
        self.family(name, help, MetricType::COUNTER, samples.collect());
    }

    /// A gauge with these samples; none, no family.
    pub(super) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(labels);
            metric.set_gauge(gauge);
            metric
        });
        self.family(name, help, MetricType::GAUGE, samples.collect());
    }

    /// A histogram in seconds, of latencies in nanoseconds. What falls into a bucket is exact within the recorded precision, and so
    /// is the sum.
    pub(super) fn latency<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, &'a Histogram<u64>)>,
    ) {
        let samples = samples.into_iter().map(|(labels, latencies)| {
            let mut metric = labelled(labels);
            metric.set_histogram(buckets(latencies));
            metric
        });
        self.family(name, help, MetricType::HISTOGRAM, samples.collect());
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) {
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(samples);
        self.0.push(family);
    }

    /// All of it, and what is known of the process.
    ///
    /// # Errors
    ///
    /// When a family is malformed.
    pub(super) fn text(mut self) -> Result<String, prometheus::Error> {
        self.0.extend(ProcessCollector::for_self().collect());
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn labelled(labels: Labels<'_>) -> Metric {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn buckets(latencies: &Histogram<u64>) -> proto::Histogram {
    let (mut count, mut sum_ns) = (0_u64, 0.0);
    let mut counts = [0_u64; BOUNDS_NS.len()];
    for value in latencies.iter_recorded() {
        let (ns, times) = (value.value_iterated_to(), value.count_at_value());
        count += times;
        sum_ns += real(ns) * real(times);
        if let Some(bucket) = BOUNDS_NS.iter().position(|bound| ns <= *bound) {
            counts[bucket] += times;
        }
    }
    let mut below = 0;
    let buckets = BOUNDS_NS.iter().zip(counts).map(|(bound, times)| {
        below += times;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(below);
        bucket.set_upper_bound(seconds(*bound));
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum_ns / 1e9);
    histogram
}

fn seconds(ns: u64) -> f64 {
    real(ns) / 1e9
}

/// Prometheus has no other numbers.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(super) fn real(value: u64) -> f64 {
    value as f64
}
