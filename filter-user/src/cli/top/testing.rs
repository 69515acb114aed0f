//! News of an engine that there is not.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    ask::{Levels, News},
    board::Board,
};
use crate::{
    alert::{Alert, Severity},
    control::{
        BlockEntry, BlockOrigin, Engine as _, Fill, SourceRisk,
        testing::{Tables, net},
    },
    trend::{Percentiles, Point, Reading, SecondTierPoint},
};

/// A request that was blocked.
pub(super) fn verdict(number: u64, request_line: &str) -> News {
    News::Message(json!({
        "seq": number, "topic": "verdicts", "time": "2026-01-31T12:34:56.000Z", "request_id": format!("{number:016x}"),
        "decision": "block", "enforced": true, "client": "198.51.100.7", "source": "198.51.100.7:4000",
        "destination": "192.0.2.2:80", "score": 0.95, "anomaly": 5, "categories": ["sqli"], "bytes": 44,
        "rules": [{"id": 100_112, "family": "sqli", "severity": "critical", "message": "SQL injection", "target": "query:id",
                   "matched": "1' UNION", "decoding": "url"}],
        "explanation": "SQL injection in query:id", "request_line": request_line, "head": format!("{request_line}\nHost: x"),
    }))
}

/// A second.
pub(super) fn point() -> Point {
    let reading = Reading::of(&Tables::new());
    let mut point = Point::between(&reading, &reading);
    let rates = |rates: &[(&str, f64)]| -> BTreeMap<String, f64> {
        rates
            .iter()
            .map(|(name, rate)| ((*name).to_owned(), *rate))
            .collect()
    };
    point.requests = rates(&[("allow", 12.0), ("block", 3.0), ("suspicious", 0.0)]);
    point.dropped = rates(&[("source_blocked", 7.0)]);
    let latency = Percentiles {
        p50: 10.0,
        p99: 20.0,
        max: 30.0,
    };
    point
        .latency_us
        .insert("driver_to_forwarded".into(), Some(latency));
    point.second_tier = Some(SecondTierPoint {
        workers: 2,
        waiting: 1,
        depth: 0,
        breaker: "closed".into(),
    });
    point.flows = Fill::new(1, 10);
    point
}

pub(super) fn block(target: &str) -> BlockEntry {
    BlockEntry {
        target: net(target),
        origin: BlockOrigin::Operator,
        remaining_s: Some(3_599),
        packets: 4,
        reason: "scans".into(),
    }
}

/// How it is, with these blocks.
pub(super) fn levels(blocks: Vec<BlockEntry>) -> News {
    News::Levels(Box::new(Levels {
        status: Tables::new().status(),
        sources: vec![SourceRisk {
            source: net("198.51.100.7"),
            points: 40.0,
            threshold: 100.0,
            strikes: 1,
            blocked: false,
        }],
        blocks,
        alerts: vec![Alert {
            name: "drops".into(),
            severity: Severity::Warning,
            active: true,
            since: None,
            value: 9.0,
            threshold: 1.0,
            message: "too many".into(),
        }],
    }))
}

/// A board with a bit of everything: requests 1 and 2.
pub(super) fn board() -> Board {
    let mut board = Board::default();
    for news in [
        levels(vec![block("192.0.2.99")]),
        News::History(vec![point(), point()]),
        verdict(1, "GET /a?id=1 HTTP/1.1"),
        verdict(2, "GET /a?id=2 HTTP/1.1"),
    ] {
        board.take(news);
    }
    board
}

/// Who sent the requests.
pub(super) fn client() -> ipnet::IpNet {
    net("198.51.100.7")
}
