//! What there are alerts for.

use super::Severity;
use crate::{
    config,
    trend::{Point, QueuePoint},
};

/// What an alert is for.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    pub(super) above: f64,
    pub(super) for_s: u32,
    pub(super) unit: &'static str,
    /// What it means when it is on.
    pub(super) meaning: &'static str,
    pub(super) value: fn(&Point) -> f64,
}

/// All of them.
pub(super) fn all(settings: &config::Alerts) -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let rule = |name, severity, threshold: config::Threshold, unit, meaning, value| Rule {
        name,
        severity,
        above: threshold.above,
        for_s: threshold.for_s,
        unit,
        meaning,
        value,
    };
    vec![
        rule(
            "latency",
            Warning,
            settings.latency_p99_us,
            "µs",
            "one packet of a hundred takes long until it is handed on",
            latency,
        ),
        rule(
            "unscored",
            Critical,
            settings.unscored,
            "of the inspected packets",
            "packets go on without being scored, or are lost",
            unscored,
        ),
        rule(
            "backlog",
            Warning,
            settings.backlog,
            "of a ring",
            "packets wait to be read",
            |point| point.queues.iter().map(fill).fold(0.0, f64::max),
        ),
        rule(
            "cache_misses",
            Warning,
            settings.cache_misses,
            "of the requests",
            "few requests are known from before",
            |point| {
                if point.all_requests() > 0.0 {
                    1.0 - point.cached
                } else {
                    0.0
                }
            },
        ),
        rule(
            "breaker",
            Warning,
            settings.breaker,
            "",
            "the second tier does not answer in time, and is not asked",
            breaker,
        ),
        rule(
            "drops",
            Warning,
            settings.drops,
            "packets/s",
            "many packets are dropped",
            |point| point.dropped.values().sum(),
        ),
        rule(
            "attack",
            Warning,
            settings.attack,
            "requests/s",
            "an attack is going on: requests are blocked",
            |point| point.requests.get("block").copied().unwrap_or(0.0),
        ),
        rule(
            "feeds",
            Warning,
            settings.feeds,
            "feeds",
            "feeds cannot be had, and what they had before stays in force",
            failing_feeds,
        ),
        rule(
            "silence",
            Critical,
            settings.silence_ms,
            "ms",
            "a queue's thread has not shown itself",
            silence,
        ),
    ]
}

fn latency(point: &Point) -> f64 {
    let latency = point.latency_us.get("driver_to_forwarded").copied().flatten();
    latency.map_or(0.0, |latency| latency.p99)
}

fn breaker(point: &Point) -> f64 {
    let tier = point.second_tier.as_ref();
    f64::from(u8::from(tier.is_some_and(|tier| tier.breaker != "closed")))
}

#[expect(clippy::cast_precision_loss, reason = "there are few feeds")]
fn failing_feeds(point: &Point) -> f64 {
    point.failing_feeds as f64
}

fn silence(point: &Point) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let age = |queue: &QueuePoint| queue.heartbeat_age_ms as f64;
    point.queues.iter().map(age).fold(0.0, f64::max)
}

fn unscored(point: &Point) -> f64 {
    let inspected = point.packets.get("redirect").copied().unwrap_or(0.0);
    let lost = point.dropped.get("lost").copied().unwrap_or(0.0);
    let unscored: f64 = point.unscored.values().sum();
    if inspected > 0.0 {
        (unscored + lost) / inspected
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "frames of a ring")]
fn fill(queue: &QueuePoint) -> f64 {
    queue.in_flight.used as f64 / queue.in_flight.capacity.max(1) as f64
}
