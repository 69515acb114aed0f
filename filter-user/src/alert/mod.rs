//! Alerts: says when something is wrong for some time, and when it is right again.

mod hysteresis;
mod rule;
mod webhook;

use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config, trend::Point};
use hysteresis::{Change, Hysteresis};
use rule::Rule;

pub use webhook::{Counts, Webhook};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "AlertSeverity")]
pub enum Severity {
    /// Requests pass unseen, or nobody is served.
    Critical,
    /// Somebody should look.
    Warning,
}

/// What is known of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// What it is called.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it is on.
    pub active: bool,
    /// Since when it is on or off, RFC 3339; none if it has never been on.
    pub since: Option<String>,
    /// The last value.
    pub value: f64,
    /// What is too much.
    pub threshold: f64,
    /// What that means, for a person.
    pub message: String,
}

/// An alert that went on or off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// What it is called.
    pub name: &'static str,
    /// `raised` or `cleared`.
    pub state: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The value.
    pub value: f64,
    /// What is too much.
    pub threshold: f64,
    /// What that means, for a person.
    pub message: String,
}

/// All alerts of an engine.
#[derive(Debug)]
pub struct Alerts(Mutex<Vec<Watched>>);

#[derive(Debug)]
struct Watched {
    rule: Rule,
    hysteresis: Hysteresis,
    since: Option<String>,
    value: f64,
}

impl Alerts {
    /// Those of the configuration that have a threshold.
    #[must_use]
    pub fn new(settings: &config::Alerts) -> Self {
        let watched = rule::all(settings).into_iter().filter(|rule| rule.above > 0.0);
        let watched = watched.map(|rule| Watched {
            hysteresis: Hysteresis::new(rule.above, rule.for_s),
            rule,
            since: None,
            value: 0.0,
        });
        Self(Mutex::new(watched.collect()))
    }

    /// Looks at what has happened. Returns the alerts that went on or off.
    pub fn consider(&self, point: &Point) -> Vec<Turn> {
        let mut turns = Vec::new();
        for watched in self.watched().iter_mut() {
            watched.value = (watched.rule.value)(point);
            let Some(change) = watched.hysteresis.add(watched.value, point.uptime_s) else {
                continue;
            };
            watched.since = Some(point.time.clone());
            let state = match change {
                Change::Raised => "raised",
                Change::Cleared => "cleared",
            };
            turns.push(Turn {
                name: watched.rule.name,
                state,
                severity: watched.rule.severity,
                value: watched.value,
                threshold: watched.rule.above,
                message: watched.message(),
            });
        }
        turns
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<Alert> {
        let describe = |watched: &Watched| Alert {
            name: watched.rule.name.to_owned(),
            severity: watched.rule.severity,
            active: watched.hysteresis.is_on(),
            since: watched.since.clone(),
            value: watched.value,
            threshold: watched.rule.above,
            message: watched.message(),
        };
        self.watched().iter().map(describe).collect()
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn message(&self) -> String {
        let Rule {
            meaning, above, unit, ..
        } = &self.rule;
        format!("{meaning}: {:.4} {unit} (threshold {above})", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::testing::Tables, trend::Reading};

    /// A second of an engine on which so many requests are blocked.
    fn second(n: u32, blocked: f64) -> Point {
        let reading = Reading::of(&Tables::new());
        let mut point = Point::between(&reading, &reading);
        point.uptime_s = f64::from(n);
        point.failing_feeds = 0;
        point.requests.insert("block".into(), blocked);
        point
    }

    #[test]
    fn an_attack_is_told_once_and_its_end_too() {
        let settings = config::Alerts::default();
        let alerts = Alerts::new(&settings);
        let mut turns = Vec::new();
        for n in 0..100 {
            // A gap in it, and a moment of more after it.
            let blocked = match n {
                10..30 | 35..50 | 55 => 50.0,
                _ => 0.0,
            };
            for turn in alerts.consider(&second(n, blocked)) {
                turns.push((n, turn.name, turn.state));
            }
        }
        assert_eq!(turns, [(20, "attack", "raised"), (66, "attack", "cleared")]);
        let list = alerts.list();
        let attack = list
            .iter()
            .find(|alert| alert.name == "attack")
            .expect("there is one");
        assert!(
            !attack.active && attack.since.is_some() && attack.message.contains("threshold 5"),
            "{attack:?}"
        );
        assert!(
            list.iter().all(|alert| alert.name != "cache_misses"),
            "it is off by default"
        );
    }

    #[test]
    fn each_rule_sees_what_it_is_about() {
        let everything = config::Alerts {
            cache_misses: config::Threshold { above: 0.5, for_s: 0 },
            ..config::Alerts::default()
        };
        let mut point = second(0, 100.0);
        point.queues[0].in_flight = crate::control::Fill::new(95, 100);
        point.queues[0].heartbeat_age_ms = 5000;
        point.failing_feeds = 1;
        point.dropped.insert("strays".into(), 50_000.0);
        point.unscored.insert("ring_full".into(), 10.0);
        point.packets.insert("redirect".into(), 100.0);
        point.latency_us.insert(
            "driver_to_forwarded".into(),
            Some(crate::trend::Percentiles {
                p50: 1.0,
                p99: 9000.0,
                max: 1e6,
            }),
        );
        point.second_tier = Some(crate::trend::SecondTierPoint {
            workers: 1,
            waiting: 0,
            depth: 0,
            breaker: "open".into(),
        });
        let quiet = second(0, 0.0);
        for rule in rule::all(&everything) {
            assert!((rule.value)(&point) > rule.above, "{}", rule.name);
            assert!((rule.value)(&quiet) <= rule.above, "{}", rule.name);
        }
    }
}
