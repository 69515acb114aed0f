//! `HdrHistogram`'s percentile text, as its plotters read it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Lines between each halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

const NS_PER_US: f64 = 1_000.0;

/// The percentile distribution of nanoseconds, printed in microseconds.
pub(super) fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to()), step.quantile_iterated_to());
        let line = if quantile < 1.0 {
            writeln!(
                text,
                "{value:12.3} {quantile:2.12} {count:10} {:14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
        };
        line.expect("a string takes everything");
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_US, histogram.stdev() / NS_PER_US);
    let (max, total) = (us(histogram.max()), histogram.len());
    // The layout that the recorder uses.
    writeln!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
    )
    .and_then(|()| writeln!(text, "#[Max     = {max:12.3}, Total count    = {total:12}]"))
    .and_then(|()| {
        writeln!(
            text,
            "#[Buckets = {:12}, SubBuckets     = {:12}]",
            histogram.buckets(),
            256
        )
    })
    .expect("a string takes everything");
    text
}

#[expect(clippy::cast_precision_loss, reason = "104 days are exact")]
fn us(ns: u64) -> f64 {
    ns as f64 / NS_PER_US
}
