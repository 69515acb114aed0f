//! The tables, one of which has the keys.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    super::{duration, plain::plain},
    board::{Blocked, Board, RuleHits},
};
use crate::control::SourceRisk;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pane {
    #[default]
    Requests,
    Sources,
    Rules,
    Blocks,
}

/// The name of a column and its width; 0: what is left.
pub(super) type Column = (&'static str, u16);

/// A row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is about, which no other row of its table is.
    pub(super) key: Key,
    /// Whom blocks and the like would be for.
    pub(super) client: Option<IpNet>,
    /// Nothing in them can do anything to a terminal.
    pub(super) cells: Vec<String>,
    pub(super) weight: Weight,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The number of its message.
    Request(u64),
    Source(IpNet),
    Rule(u64),
}

/// How much a row should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Usual,
    Suspicious,
    Bad,
}

impl Pane {
    pub(super) const ALL: [Self; 4] = [Self::Requests, Self::Sources, Self::Rules, Self::Blocks];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::Sources => "Sources by risk",
            Self::Rules => "Rules",
            Self::Blocks => "Blocks",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Requests => &[
                ("time", 8),
                ("decision", 10),
                ("score", 5),
                ("client", 15),
                ("rule", 6),
                ("request", 0),
                ("why", 0),
            ],
            Self::Sources => &[("source", 0), ("points of", 12), ("strikes", 7)],
            Self::Rules => &[("rule", 8), ("hits", 5), ("family", 10), ("message", 0)],
            Self::Blocks => &[
                ("target", 18),
                ("by", 10),
                ("left", 8),
                ("packets", 8),
                ("reason", 0),
            ],
        }
    }

    /// The pane `steps` behind this one; from the last it goes on with the first.
    pub(super) fn next(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }

    pub(super) fn rows(self, board: &Board) -> Vec<Row> {
        match self {
            Self::Requests => board
                .requests()
                .map(|(number, value)| request(number, value))
                .collect(),
            Self::Sources => board.sources.iter().map(source).collect(),
            Self::Rules => board.rules().iter().map(rule).collect(),
            Self::Blocks => board.blocks.iter().map(block).collect(),
        }
    }
}

fn request(number: u64, value: &Value) -> Row {
    let text = |key: &str| plain(value[key].as_str().unwrap_or_default());
    let time = text("time");
    let decision = match value["enforced"].as_bool() {
        Some(false) => format!("({})", text("decision")),
        _ => text("decision"),
    };
    let rule = value["rules"][0]["id"]
        .as_u64()
        .map_or("–".to_owned(), |id| id.to_string());
    Row {
        key: Key::Request(number),
        client: text("client").parse::<IpAddr>().ok().map(IpNet::from),
        weight: match value["decision"].as_str() {
            Some("block") => Weight::Bad,
            Some("suspicious") => Weight::Suspicious,
            _ => Weight::Usual,
        },
        cells: vec![
            // Of `2026-01-31T12:00:00.000Z` the time of day.
            time.get(11..19).unwrap_or(&time).to_owned(),
            decision,
            format!("{:.2}", value["score"].as_f64().unwrap_or_default()),
            text("client"),
            rule,
            text("request_line"),
            text("explanation"),
        ],
    }
}

fn source(risk: &SourceRisk) -> Row {
    Row {
        key: Key::Source(risk.source),
        client: Some(risk.source),
        weight: if risk.blocked { Weight::Bad } else { Weight::Usual },
        cells: vec![
            target(&risk.source),
            if risk.blocked {
                "blocked".to_owned()
            } else {
                format!("{:.1} {:.0}", risk.points, risk.threshold)
            },
            risk.strikes.to_string(),
        ],
    }
}

fn rule(rule: &RuleHits) -> Row {
    Row {
        key: Key::Rule(rule.id),
        client: None,
        weight: Weight::Usual,
        cells: vec![
            rule.id.to_string(),
            rule.hits.to_string(),
            plain(&rule.family),
            plain(&rule.message),
        ],
    }
}

fn block(block: &Blocked) -> Row {
    Row {
        key: Key::Source(block.target),
        client: Some(block.target),
        weight: Weight::Usual,
        cells: vec![
            target(&block.target),
            plain(&block.by),
            block.left_s.map_or("stays".to_owned(), duration::show_seconds),
            block.packets.to_string(),
            plain(&block.reason),
        ],
    }
}

/// A single address without its length.
fn target(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        return net.addr().to_string();
    }
    net.to_string()
}
