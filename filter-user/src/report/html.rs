//! One page with the plot and the table; it needs nothing from anywhere else.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::{PERCENTILES, Snapshot};
use crate::latency::Stage;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --faint: #d9dde3; --dim: #5d6673;
  --s0: #0969da; --s1: #bc4c00; --s2: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e8eb; --faint: #33393f; --dim: #9aa4af;
  --s0: #58a6ff; --s1: #f0883e; --s2: #56d364; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } p, figcaption { color: var(--dim); }
figure { margin: 1.5rem 0; } svg { width: 100%; height: auto; }
svg text { fill: var(--dim); font-size: 12px; } .grid { stroke: var(--faint); }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); }
.curve { fill: none; stroke-width: 2; } .dot { fill: var(--paper); stroke-width: 2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
";

pub(super) fn page(snapshot: &Snapshot) -> String {
    let interface = escape(&snapshot.interface);
    let version = escape(&snapshot.version);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Portcullis latency on {interface}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Portcullis latency on {interface}</h1>\n\
         <p>Version {version}, {:.1} s of traffic, taken <time>{}</time>.</p>\n{}\n{}\n</body>\n</html>\n",
        snapshot.latencies.interval_s,
        utc(snapshot.taken_at_s),
        figure(snapshot),
        table(snapshot)
    )
}

/// The plot's area in its own units.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 940.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 430.0;

/// Where values are in the plot: percentiles by the logarithm of 1/(1-p), latencies by their own.
struct Axes {
    nines: f64,
    low: f64,
    high: f64,
}

impl Axes {
    fn of(histograms: &[(Stage, Histogram<u64>)]) -> Self {
        let filled = || {
            histograms
                .iter()
                .map(|(_, histogram)| histogram)
                .filter(|h| !h.is_empty())
        };
        let low = filled()
            .map(|h| us(h.min()).max(0.01))
            .fold(f64::INFINITY, f64::min);
        let high = filled().map(|h| us(h.max())).fold(0.0, f64::max);
        let most = filled().map(Histogram::len).max().unwrap_or(0);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1_000.0) };
        Self {
            // A count of n tells percentiles apart up to 1 - 1/n.
            nines: exact(most).log10().ceil().clamp(2.0, 7.0),
            low: low.log10().floor(),
            high: high.log10().ceil().max(low.log10().floor() + 1.0),
        }
    }

    fn x(&self, quantile: f64) -> f64 {
        let nines = -(1.0 - quantile).max(1e-12).log10();
        LEFT + (RIGHT - LEFT) * (nines / self.nines).clamp(0.0, 1.0)
    }

    fn y(&self, us: f64) -> f64 {
        let part = (us.max(1e-3).log10() - self.low) / (self.high - self.low);
        BOTTOM - (BOTTOM - TOP) * part.clamp(0.0, 1.0)
    }
}

fn figure(snapshot: &Snapshot) -> String {
    let histograms = Stage::ALL.map(|stage| (stage, snapshot.latencies.merged(stage)));
    let axes = Axes::of(&histograms);
    let mut svg =
        "<figure>\n<svg viewBox=\"0 0 960 480\" role=\"img\" aria-label=\"Latency by percentile\">\n"
            .to_owned();
    let mut draw = |part: std::fmt::Arguments<'_>| svg.write_fmt(part).expect("a string takes everything");
    grid(&axes, &mut draw);
    for (i, (stage, histogram)) in histograms.iter().enumerate() {
        let at = LEFT + 200.0 * exact(i as u64);
        draw(format_args!("<path class=\"curve s{i}\" d=\"M{at:.0},18h24\"/>"));
        draw(format_args!(
            "<text x=\"{:.0}\" y=\"22\">{stage}</text>\n",
            at + 30.0
        ));
        if histogram.is_empty() {
            continue;
        }
        draw(format_args!("<path class=\"curve s{i}\" d=\""));
        for (n, step) in histogram.iter_quantiles(10).enumerate() {
            let command = if n == 0 { 'M' } else { 'L' };
            let (x, y) = (
                axes.x(step.quantile_iterated_to()),
                axes.y(us(step.value_iterated_to())),
            );
            draw(format_args!("{command}{x:.1},{y:.1}"));
        }
        draw(format_args!("\"/>\n"));
        for (name, percentile) in PERCENTILES {
            let value = us(histogram.value_at_percentile(percentile));
            let (x, y) = (axes.x(percentile / 100.0), axes.y(value));
            draw(format_args!(
                "<circle class=\"dot s{i}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{stage} {name}: {value:.2} µs</title></circle>\n"
            ));
        }
    }
    svg.push_str("</svg>\n<figcaption>Latency in microseconds by percentile, both axes logarithmic.</figcaption>\n</figure>");
    svg
}

fn grid(axes: &Axes, draw: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let mut nines = 0.0;
    while nines <= axes.nines {
        let quantile = 1.0 - 10_f64.powf(-nines);
        let x = axes.x(quantile);
        let digits = if nines > 2.0 { nines - 2.0 } else { 0.0 };
        draw(format_args!(
            "<path class=\"grid\" d=\"M{x:.1},{TOP}V{BOTTOM}\"/>"
        ));
        draw(format_args!(
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{:.*}%</text>\n",
            BOTTOM + 20.0,
            whole(digits),
            quantile * 100.0
        ));
        nines += 1.0;
    }
    let mut exponent = axes.low;
    while exponent <= axes.high {
        let value = 10_f64.powf(exponent);
        let y = axes.y(value);
        draw(format_args!(
            "<path class=\"grid\" d=\"M{LEFT},{y:.1}H{RIGHT}\"/>"
        ));
        draw(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.*} µs</text>\n",
            LEFT - 8.0,
            y + 4.0,
            whole((-exponent).max(0.0)),
            value
        ));
        exponent += 1.0;
    }
}

fn table(snapshot: &Snapshot) -> String {
    let mut rows =
        "<div class=\"wide\"><table>\n<tr><th>stage (µs)</th><th>queue</th><th>count</th>".to_owned();
    let mut write = |part: std::fmt::Arguments<'_>| rows.write_fmt(part).expect("a string takes everything");
    for (name, _) in PERCENTILES {
        write(format_args!("<th>{name}</th>"));
    }
    write(format_args!("<th>max</th></tr>\n"));
    for row in &snapshot.percentiles {
        let queue = row.queue.map_or("all".to_owned(), |queue| queue.to_string());
        write(format_args!(
            "<tr><td>{}</td><td>{queue}</td><td>{}</td>",
            row.stage, row.count
        ));
        for seconds in row.values_s() {
            write(format_args!("<td>{:.2}</td>", seconds * 1e6));
        }
        write(format_args!("</tr>\n"));
    }
    rows.push_str("</table></div>");
    rows
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Seconds since 1970 as an ISO 8601 date and time; days to dates as in "chrono-compatible low-level date
/// algorithms" (Hinnant), with years that begin in March.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

fn us(ns: u64) -> f64 {
    exact(ns) / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn exact(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_sign_loss, reason = "a small number of digits, not negative")]
fn whole(digits: f64) -> usize {
    digits as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
        assert!(!utc(u64::MAX).is_empty());
    }
}
