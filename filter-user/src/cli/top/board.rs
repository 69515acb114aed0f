//! What is known of the engine.

use std::collections::{BTreeMap, VecDeque};

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

use super::ask::{Levels, News};
use crate::{
    alert::Alert,
    control::{BlockEntry, SourceRisk, Status},
    trend::Point,
};

/// Requests that are kept, the last ones.
pub(super) const MAX_REQUESTS: usize = 500;
/// Blocks that are kept, the last ones.
pub(super) const MAX_BLOCKS: usize = 100;
/// Points that are kept, one a second.
const MAX_POINTS: usize = 300;

/// What is known of the engine, fed with news. Everything in it has a bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    pub(super) status: Option<Status>,
    /// Oldest first.
    pub(super) points: VecDeque<Point>,
    /// By the numbers of their messages, which grow.
    requests: BTreeMap<u64, Value>,
    /// The worst first.
    pub(super) sources: Vec<SourceRisk>,
    /// The latest first, as far as they came after the start.
    pub(super) blocks: Vec<Blocked>,
    alerts: Vec<Alert>,
    /// Why nothing comes.
    pub(super) waits: Option<String>,
}

/// A blocked source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Blocked {
    pub(super) target: IpNet,
    pub(super) by: String,
    /// Seconds; none: it stays.
    pub(super) left_s: Option<u64>,
    /// Packets dropped because of it.
    pub(super) packets: u64,
    pub(super) reason: String,
}

/// How often a rule has hit in the requests that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RuleHits {
    pub(super) id: u64,
    pub(super) family: String,
    pub(super) message: String,
    pub(super) hits: u64,
}

impl Board {
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Gone(why) => self.waits = Some(why),
            // That is for the operator's eyes, not of the engine.
            News::Done(_) => {}
            News::History(points) => {
                self.waits = None;
                self.points = points.into();
                self.trim();
            }
            News::Levels(levels) => {
                self.waits = None;
                let Levels {
                    status,
                    sources,
                    blocks,
                    alerts,
                } = *levels;
                self.status = Some(status);
                self.sources = sources;
                self.alerts = alerts;
                self.list(blocks);
            }
            News::Message(message) => {
                self.waits = None;
                self.hear(message);
                self.trim();
            }
        }
    }

    fn hear(&mut self, message: Value) {
        match message["topic"].as_str() {
            Some("stats") => {
                if let Ok(point) = serde_json::from_value(message) {
                    self.points.push_back(point);
                }
            }
            Some("verdicts") if message["request_id"].is_string() => {
                if let Some(number) = message["seq"].as_u64() {
                    self.requests.insert(number, message);
                }
            }
            Some("alerts") => {
                let alert = self
                    .alerts
                    .iter_mut()
                    .find(|alert| message["name"] == *alert.name);
                if let Some(alert) = alert {
                    alert.active = message["state"] == "raised";
                }
            }
            Some("blocks") => self.hear_of_block(&message),
            // What suppressed and lost messages were about is in the next levels.
            _ => {}
        }
    }

    fn hear_of_block(&mut self, message: &Value) {
        let one = std::slice::from_ref(&message["target"]);
        let targets = message["targets"].as_array().map_or(one, Vec::as_slice);
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        for target in targets.iter().filter_map(Value::as_str) {
            let Ok(target) = crate::config::parse_cidr(target) else {
                continue;
            };
            self.blocks.retain(|block| block.target != target);
            if message["action"] == "blocked" {
                let blocked = Blocked {
                    target,
                    by: text("by"),
                    left_s: message["for_s"].as_u64(),
                    packets: 0,
                    reason: text("reason"),
                };
                self.blocks.insert(0, blocked);
            }
        }
    }

    /// Brings the blocks up to date with a page of them. A full page says nothing about those behind it.
    fn list(&mut self, page: Vec<BlockEntry>) {
        let mut listed: BTreeMap<IpNet, BlockEntry> =
            page.into_iter().map(|entry| (entry.target, entry)).collect();
        let is_all = listed.len() < MAX_BLOCKS;
        self.blocks
            .retain_mut(|block| match listed.remove(&block.target) {
                Some(entry) => {
                    *block = entry.into();
                    true
                }
                None => !is_all,
            });
        self.blocks.extend(listed.into_values().map(Blocked::from));
        self.trim();
    }

    fn trim(&mut self) {
        self.blocks.truncate(MAX_BLOCKS);
        while self.requests.len() > MAX_REQUESTS {
            self.requests.pop_first();
        }
        while self.points.len() > MAX_POINTS {
            self.points.pop_front();
        }
    }

    /// The latest first.
    pub(super) fn requests(&self) -> impl Iterator<Item = (u64, &Value)> {
        self.requests
            .iter()
            .rev()
            .map(|(number, request)| (*number, request))
    }

    /// The one whose message has this number.
    pub(super) fn request(&self, number: u64) -> Option<&Value> {
        self.requests.get(&number)
    }

    /// Those that are on.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.active)
    }

    /// The last second.
    pub(super) fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// Rules by hits in the requests that are kept, the most frequent first.
    pub(super) fn rules(&self) -> Vec<RuleHits> {
        let mut rules: BTreeMap<u64, RuleHits> = BTreeMap::new();
        let hits = self
            .requests
            .values()
            .filter_map(|request| request["rules"].as_array());
        for hit in hits.flatten() {
            let Some(id) = hit["id"].as_u64() else {
                continue;
            };
            let text = |key: &str| hit[key].as_str().unwrap_or_default().to_owned();
            let first = || RuleHits {
                id,
                family: text("family"),
                message: text("message"),
                hits: 0,
            };
            rules.entry(id).or_insert_with(first).hits += 1;
        }
        let mut rules: Vec<_> = rules.into_values().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.hits));
        rules
    }

    /// All of it.
    pub(super) fn json(&self) -> Value {
        json!({
            "status": self.status,
            "points": self.points,
            "requests": self.requests.values().rev().collect::<Vec<_>>(),
            "rules": self.rules(),
            "sources": self.sources,
            "blocks": self.blocks,
            "alerts": self.alerts,
        })
    }
}

impl From<BlockEntry> for Blocked {
    fn from(entry: BlockEntry) -> Self {
        let by = serde_json::to_value(entry.origin).unwrap_or_default();
        Self {
            target: entry.target,
            by: by.as_str().unwrap_or_default().to_owned(),
            left_s: entry.remaining_s,
            packets: entry.packets,
            reason: entry.reason,
        }
    }
}

#[cfg(test)]
mod tests;
