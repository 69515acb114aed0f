//! The line that a running engine logs now and then: what happened since the last one.

use std::fmt;

use crate::control::Status;

/// Rates between two states of one engine. It prints as one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Seconds between the two.
    pub interval_s: f64,
    /// Packets per second that passed without inspection.
    pub passed: f64,
    /// Packets per second redirected to the engine.
    pub redirected: f64,
    /// Packets per second dropped by the XDP program.
    pub dropped: f64,
    /// Packets per second the engine passed on.
    pub forwarded: f64,
    /// Packets per second the engine dropped.
    pub refused: f64,
    /// Requests per second.
    pub requests: f64,
    /// Requests blocked in the interval.
    pub blocked: u64,
    /// Suspicious requests in the interval.
    pub suspicious: u64,
    /// Tracked flows now.
    pub flows: u64,
    /// Blocks in force now.
    pub blocks: u64,
    /// The oldest heartbeat of a queue, in milliseconds.
    pub heartbeat_age_ms: u64,
}

impl Summary {
    /// What happened from `earlier` to `later`. Counters that went back, as after a restart, count from 0.
    #[must_use]
    pub fn between(earlier: &Status, later: &Status) -> Self {
        let restarted = later.pid != earlier.pid || later.uptime_s < earlier.uptime_s;
        let since = |count: fn(&Status) -> u64| {
            let before = if restarted { 0 } else { count(earlier) };
            count(later).saturating_sub(before)
        };
        let interval_s = if restarted {
            later.uptime_s
        } else {
            later.uptime_s - earlier.uptime_s
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = |count| {
            if interval_s > 0.0 {
                since(count) as f64 / interval_s
            } else {
                0.0
            }
        };
        Self {
            interval_s,
            passed: rate(|status| status.packets("pass")),
            redirected: rate(|status| status.packets("redirect")),
            dropped: rate(|status| status.packets("drop")),
            forwarded: rate(|status| status.queues.iter().map(|queue| queue.forwarded).sum()),
            refused: rate(|status| {
                status
                    .queues
                    .iter()
                    .flat_map(|queue| queue.dropped.values())
                    .sum()
            }),
            requests: rate(|status| status.requests.total()),
            blocked: since(|status| status.requests.block),
            suspicious: since(|status| status.requests.suspicious),
            flows: later.flows.used,
            blocks: later.blocks.used,
            heartbeat_age_ms: later
                .queues
                .iter()
                .map(|queue| queue.heartbeat_age_ms)
                .max()
                .unwrap_or(0),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "packets/s: pass {}, redirect {}, drop {}, forward {}, refuse {} | requests/s {}, blocked {}, \
             suspicious {} | flows {}, blocks {}",
            Short(self.passed),
            Short(self.redirected),
            Short(self.dropped),
            Short(self.forwarded),
            Short(self.refused),
            Short(self.requests),
            self.blocked,
            self.suspicious,
            self.flows,
            self.blocks,
        )?;
        if self.heartbeat_age_ms >= 1_000 {
            write!(f, " | no heartbeat for {} ms", self.heartbeat_age_ms)?;
        }
        Ok(())
    }
}

/// A number in three significant digits with k, M or G.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            v if v >= 999.5e6 => (v / 1e9, "G"),
            v if v >= 999.5e3 => (v / 1e6, "M"),
            v if v >= 999.5 => (v / 1e3, "k"),
            v => (v, ""),
        };
        let digits = match value {
            _ if unit.is_empty() && value.fract() == 0.0 => 0,
            v if v >= 99.95 => 0,
            v if v >= 9.995 => 1,
            _ => 2,
        };
        write!(f, "{value:.digits$}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{FailurePolicy, Forward, Mode, XdpMode},
        control::{Fill, PacketCounter, QueueStatus, RequestCounters, RulesStatus},
    };

    fn status(uptime_s: f64, packets: u64, requests: RequestCounters) -> Status {
        Status {
            feeds: Vec::new(),
            version: String::new(),
            pid: 1,
            uptime_s,
            interface: String::new(),
            interfaces: Vec::new(),
            xdp_mode: XdpMode::Native,
            forward: Forward::Host,
            mode: Mode::Block,
            on_failure: FailurePolicy::Pass,
            rules: RulesStatus::default(),
            reload_on_trial_s: None,
            xdp: ["pass", "drop", "drop"]
                .map(|action| PacketCounter {
                    action: action.into(),
                    reason: "r".into(),
                    packets,
                })
                .into(),
            redirected: 0,
            queues: vec![
                QueueStatus {
                    forwarded: packets,
                    heartbeat_age_ms: 3,
                    ..QueueStatus::default()
                };
                2
            ],
            requests,
            clients: std::collections::BTreeMap::new(),
            deep: None,
            baseline: None,
            flows: Fill::new(7, 10),
            sources: Fill::default(),
            blocks: Fill::new(2, 10),
            held_bytes: Fill::default(),
            events: crate::control::EventsStatus::default(),
            jobs: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn rates_are_of_the_interval() {
        let earlier = status(
            10.0,
            1_000,
            RequestCounters {
                allow: 5,
                ..RequestCounters::default()
            },
        );
        let later = status(
            12.0,
            26_000,
            RequestCounters {
                allow: 10,
                block: 5,
                ..RequestCounters::default()
            },
        );
        let summary = Summary::between(&earlier, &later);
        assert_eq!(
            summary.to_string(),
            "packets/s: pass 12.5k, redirect 0, drop 25.0k, forward 25.0k, refuse 0 | requests/s 5, blocked 5, \
             suspicious 0 | flows 7, blocks 2"
        );
        // After a restart all there is is new.
        let restarted = Summary::between(&later, &status(4.0, 400, RequestCounters::default()));
        assert!((restarted.passed - 100.0).abs() < 1e-9);
        let at_once = Summary::between(&later, &later);
        assert!(at_once.passed.abs() < f64::EPSILON);
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (0.0, "0"),
            (0.5, "0.50"),
            (999.0, "999"),
            (999.9, "1.00k"),
            (12_345.0, "12.3k"),
            (999_999.0, "1.00M"),
            (2_500_000_000.0, "2.50G"),
        ] {
            assert_eq!(Short(value).to_string(), shown);
        }
    }
}
