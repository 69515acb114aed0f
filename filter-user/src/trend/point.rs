//! What happened between two readings.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Reading;
use crate::{
    control::{Fill, QueueStatus, Status},
    latency::Stage,
};

/// Rates between two readings, and levels at the later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The end, RFC 3339.
    pub time: String,
    /// Seconds between the two.
    pub interval_s: f64,
    /// Seconds since the engine's start.
    pub uptime_s: f64,
    /// Packets a second that the XDP program decided on, by action.
    pub packets: BTreeMap<String, f64>,
    /// Packets a second that were dropped by the XDP program or a queue, by reason; what there was none of is left out.
    pub dropped: BTreeMap<String, f64>,
    /// Packets a second that went on without being scored, by reason; what there was none of is left out.
    pub unscored: BTreeMap<String, f64>,
    /// Requests a second, by decision.
    pub requests: BTreeMap<String, f64>,
    /// The part of the requests whose bytes were found clean before, 0 to 1.
    pub cached: f64,
    /// Latencies of packets in the interval by stage, microseconds; none if there were none.
    pub latency_us: BTreeMap<String, Option<Percentiles>>,
    /// Tracked flows.
    pub flows: Fill,
    /// Sources with reputation.
    pub sources: Fill,
    /// Blocks with an end.
    pub blocks: Fill,
    /// Bytes held out of order.
    pub held_bytes: Fill,
    /// The queues.
    pub queues: Vec<QueuePoint>,
    /// The second tier, if there is one.
    pub second_tier: Option<SecondTierPoint>,
    /// What was told, and who listens.
    pub events: crate::control::EventsStatus,
    /// Feeds that could not be had the last time.
    #[serde(default)]
    pub failing_feeds: u64,
}

/// Latencies, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// What 99 of a hundred do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuePoint {
    /// Its number.
    pub queue: u32,
    /// Frames redirected and not yet read.
    pub in_flight: Fill,
    /// Flows.
    pub flows: u64,
    /// Milliseconds since its thread last showed itself.
    pub heartbeat_age_ms: u64,
}

/// The second tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondTierPoint {
    /// Workers.
    pub workers: u64,
    /// Requests that wait for a verdict.
    pub waiting: u64,
    /// Requests that no worker has taken yet.
    pub depth: u64,
    /// The state of the breaker.
    pub breaker: String,
}

impl Point {
    /// What happened from `earlier` to `later`. Counters that went back, as those of queues whose number has changed, count from 0.
    #[must_use]
    pub fn between(earlier: &Reading, later: &Reading) -> Self {
        let (before, after) = (&earlier.status, &later.status);
        let interval_s = (after.uptime_s - before.uptime_s).max(f64::EPSILON);
        #[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
        let rate = |before: u64, after: u64| after.checked_sub(before).unwrap_or(after) as f64 / interval_s;
        let actions = ["pass", "drop", "redirect", "tx"];
        let requests =
            |of: fn(&crate::control::RequestCounters) -> u64| rate(of(&before.requests), of(&after.requests));
        let by_reason = |of: fn(&Status) -> BTreeMap<&str, u64>| {
            let before = of(before);
            of(after)
                .into_iter()
                .map(|(reason, count)| {
                    (
                        reason.to_owned(),
                        rate(before.get(reason).copied().unwrap_or(0), count),
                    )
                })
                .filter(|(_, rate)| *rate > 0.0)
                .collect::<BTreeMap<_, _>>()
        };
        let decisions = [
            ("allow", requests(|all| all.allow)),
            ("suspicious", requests(|all| all.suspicious)),
            ("block", requests(|all| all.block)),
        ];
        let all: f64 = decisions.iter().map(|(_, rate)| rate).sum();
        let cached = requests(|all| all.cached);
        let latencies = Stage::ALL
            .into_iter()
            .zip(earlier.latencies.iter().zip(&later.latencies));
        Self {
            time: humantime::format_rfc3339_millis(later.time).to_string(),
            interval_s,
            uptime_s: after.uptime_s,
            packets: actions
                .map(|action| {
                    (
                        action.to_owned(),
                        rate(before.packets(action), after.packets(action)),
                    )
                })
                .into(),
            dropped: by_reason(dropped),
            unscored: by_reason(unscored),
            requests: decisions.map(|(name, rate)| (name.to_owned(), rate)).into(),
            cached: if all > 0.0 { (cached / all).min(1.0) } else { 0.0 },
            latency_us: latencies
                .map(|(stage, (before, after))| (stage.name().to_owned(), percentiles(before, after)))
                .collect(),
            flows: after.flows,
            sources: after.sources,
            blocks: after.blocks,
            held_bytes: after.held_bytes,
            queues: after.queues.iter().map(queue).collect(),
            second_tier: after.deep.as_ref().map(|deep| SecondTierPoint {
                workers: deep.workers,
                waiting: deep.waiting,
                depth: deep.depth,
                breaker: deep.breaker.clone(),
            }),
            events: after.events,
            failing_feeds: after.feeds.iter().filter(|feed| feed.error.is_some()).count() as u64,
        }
    }

    /// Requests a second, all together.
    #[must_use]
    pub fn all_requests(&self) -> f64 {
        self.requests.values().sum()
    }
}

fn queue(status: &QueueStatus) -> QueuePoint {
    QueuePoint {
        queue: status.queue,
        in_flight: status.credits,
        flows: status.flows,
        heartbeat_age_ms: status.heartbeat_age_ms,
    }
}

fn dropped(status: &Status) -> BTreeMap<&str, u64> {
    let mut all = BTreeMap::new();
    for counter in status.xdp.iter().filter(|counter| counter.action == "drop") {
        *all.entry(counter.reason.as_str()).or_default() += counter.packets;
    }
    for (reason, count) in status.queues.iter().flat_map(|queue| &queue.dropped) {
        *all.entry(reason.as_str()).or_default() += count;
    }
    *all.entry("lost").or_default() += status.queues.iter().map(|queue| queue.lost).sum::<u64>();
    all
}

fn unscored(status: &Status) -> BTreeMap<&str, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in status.queues.iter().flat_map(|queue| &queue.unscored) {
        *all.entry(reason.as_str()).or_default() += count;
    }
    all
}

/// Those of the interval: both count from the start, or `later` from a reset in between.
fn percentiles(earlier: &Histogram<u64>, later: &Histogram<u64>) -> Option<Percentiles> {
    let mut since = later.clone();
    if since.subtract(earlier).is_err() {
        since = later.clone();
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let us = |ns: u64| ns as f64 / 1000.0;
    (!since.is_empty()).then(|| Percentiles {
        p50: us(since.value_at_quantile(0.5)),
        p99: us(since.value_at_quantile(0.99)),
        max: us(since.value_at_quantile(1.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Tables;

    #[test]
    fn rates_are_those_between_and_levels_those_at_the_end() {
        let earlier = Reading::of(&Tables::new());
        let mut later = earlier.clone();
        later.status.uptime_s += 2.0;
        later.status.requests.allow += 10;
        later.status.requests.block += 4;
        later.status.requests.cached += 7;
        later.status.xdp[0].packets += 6;
        later.status.flows = Fill::new(5, 10);
        later.latencies[2] += 2_000;
        let point = Point::between(&earlier, &later);
        assert!((point.interval_s - 2.0).abs() < 1e-9);
        assert_eq!(
            (
                point.requests["allow"],
                point.requests["block"],
                point.all_requests()
            ),
            (5.0, 2.0, 7.0)
        );
        assert!((point.cached - 0.5).abs() < 1e-9);
        assert_eq!(
            (point.packets["drop"], point.dropped["source_blocked"]),
            (3.0, 3.0)
        );
        assert_eq!(point.flows.used, 5);
        let latency = point.latency_us["driver_to_forwarded"].expect("one packet");
        // Of before there is one of 5 µs, which does not count.
        assert!(latency.max < 2.1 && latency.p50 > 1.9, "{latency:?}");
        assert_eq!(point.latency_us["driver_to_dequeued"], None);
    }

    #[test]
    fn counters_that_went_back_count_from_nothing() {
        let later = Reading::of(&Tables::new());
        let mut earlier = later.clone();
        earlier.status.uptime_s -= 1.0;
        earlier.status.requests.block = 100;
        earlier.latencies[2] += 9_000;
        let point = Point::between(&earlier, &later);
        assert!((point.requests["block"] - 1.0).abs() < 1e-6, "{point:?}");
        assert!(point.latency_us["driver_to_forwarded"].is_some());
    }
}
