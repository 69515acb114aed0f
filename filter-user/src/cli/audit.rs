//! `portcullis audit` and `portcullis explain`

use std::{io::Write, path::PathBuf, time::SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use ipnet::IpNet;
use serde_json::Value;

use super::{Connection, connection::print_json, duration, plain::plain};
use crate::{
    audit::{Query, search},
    config::parse_cidr,
};

/// Search the audit log: decisions that matter, blocks, changes of what is in force, alerts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis audit --since 1h --decision block
  sudo portcullis audit --client 192.0.2.0/24 --rule 100112 --last 10
  sudo portcullis audit --topic blocks --json | jq .")]
pub(super) struct Audit {
    /// At most so many lines, the latest ones
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    last: u32,
    /// Not before: a time like 2026-01-31T12:00:00Z, or how long ago, like 90s, 10m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// verdicts, blocks, config or alerts
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// About clients and sources in here: an address or a block of addresses
    #[arg(long, value_name = "TARGET", value_parser = parse_client)]
    client: Option<IpNet>,
    /// Of requests: block, suspicious or allow
    #[arg(long, value_name = "DECISION", value_parser = ["block", "suspicious", "allow"])]
    decision: Option<String>,
    /// In which this rule has hit
    #[arg(long, value_name = "ID")]
    rule: Option<u64>,
    /// Of this family of attacks, like sqli or xss
    #[arg(long, value_name = "FAMILY")]
    family: Option<String>,
    /// With this text anywhere
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Where the log is [default: the configuration's audit.directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the lines as they are: JSON
    #[arg(long)]
    json: bool,
}

/// Explain what was decided about a request, by the number on its 403 page.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sudo portcullis explain 17c7e2a54be9c000")]
pub(super) struct Explain {
    /// The number on the page
    request_id: String,
    /// Where the audit log is [default: the configuration's audit.directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = duration::parse_seconds(text)
        .map_err(|error| format!("{error}; or a time like 2026-01-31T12:00:00Z"))?;
    SystemTime::now()
        .checked_sub(std::time::Duration::from_secs(ago))
        .ok_or_else(|| "that is before the clock began".to_owned())
}

fn parse_client(text: &str) -> Result<IpNet, String> {
    parse_cidr(text).map_err(|error| error.to_string())
}

fn directory(named: Option<PathBuf>, connection: &Connection) -> anyhow::Result<PathBuf> {
    match named {
        Some(directory) => Ok(directory),
        None => Ok(connection.load()?.audit.directory),
    }
}

impl Audit {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let directory = directory(self.dir, connection)?;
        let query = Query {
            since: self.since,
            topic: self.topic,
            client: self.client,
            decision: self.decision,
            rule: self.rule,
            family: self.family,
            request_id: None,
            text: self.grep,
        };
        for (line, value) in search(&directory, &query, self.last as usize)? {
            if self.json {
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{}", in_one_line(&value))?;
            }
        }
        Ok(())
    }
}

/// A message for people, without its details: one line, which cannot do anything to a terminal.
pub(super) fn in_one_line(value: &Value) -> String {
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let (time, topic) = (text("time"), text("topic"));
    let rest = match topic.as_str() {
        "verdicts" if value["request_id"].is_string() => format!(
            "{} {} {} -> {} {}: {} | {}",
            text("decision"),
            text("request_id"),
            text("client"),
            text("destination"),
            text("score"),
            text("request_line"),
            text("explanation")
        ),
        "blocks" => {
            let what = if value["target"].is_string() {
                text("target")
            } else {
                text("count")
            };
            let length = value["for_s"].as_u64().map_or(String::new(), |seconds| {
                format!(" for {}", duration::show_seconds(seconds))
            });
            let reason = Some(text("reason")).filter(|reason| !reason.is_empty());
            format!(
                "{} {what}{length} by {}{}",
                text("action"),
                text("by"),
                reason.map_or(String::new(), |reason| format!(": {reason}"))
            )
        }
        "alerts" => format!("{} {} {}", text("name"), text("state"), text("message")),
        "config" => format!("{}: {}", text("action"), text("message")),
        _ => {
            let mut rest = value.clone();
            if let Some(fields) = rest.as_object_mut() {
                for key in ["seq", "topic", "time"] {
                    fields.remove(key);
                }
            }
            rest.to_string()
        }
    };
    // Clients and operators write what they like.
    plain(&format!("{time} {topic:<8} {}", rest.trim_end()))
}

impl Explain {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let directory = directory(self.dir, connection)?;
        let id = self.request_id.trim().to_ascii_lowercase();
        if id.len() > 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(
                "`{id:.40}` is no request's number\n  fix: take the one on the page: 16 hexadecimal digits"
            );
        }
        let query = Query {
            topic: Some("verdicts".into()),
            request_id: Some(format!("{id:0>16}")),
            ..Query::default()
        };
        let found = search(&directory, &query, 1)?;
        let (_, value) = found.first().with_context(|| {
            format!(
                "request {id} is not in the audit log in {}\n  fix: it may have been simply allowed, be older than the files that \
                 are kept (audit.files), or beyond events.rate in its second",
                directory.display()
            )
        })?;
        if self.json {
            return print_json(out, value);
        }
        Ok(write!(out, "{}", explained(value))?)
    }
}

/// All there is to say about a decision, in lines that cannot do anything to a terminal.
pub(super) fn explained(value: &Value) -> String {
    use std::fmt::Write as _;
    let text = |value: &Value, key: &str| match &value[key] {
        Value::String(text) => plain(text),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut shown = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        shown,
        "request {}: {}{}",
        text(value, "request_id"),
        text(value, "decision"),
        if value["enforced"] == false {
            " (not carried out: detect mode)"
        } else {
            ""
        }
    );
    let proxy = value["proxy"]
        .as_str()
        .map_or(String::new(), |proxy| format!(", through {}", plain(proxy)));
    let _ = writeln!(shown, "  when    {}", text(value, "time"));
    let _ = writeln!(shown, "  client  {}{proxy}", text(value, "client"));
    let _ = writeln!(
        shown,
        "  packets {} -> {}",
        text(value, "source"),
        text(value, "destination")
    );
    let _ = writeln!(
        shown,
        "  score   {} (sum of severities {}), decided after {} bytes",
        text(value, "score"),
        text(value, "anomaly"),
        text(value, "bytes")
    );
    let _ = writeln!(shown, "  why     {}", text(value, "explanation"));
    for (key, title) in [("rules", "rule"), ("excluded", "excluded rule")] {
        for hit in value[key].as_array().into_iter().flatten() {
            let _ = writeln!(
                shown,
                "\n  {title} {} ({}, {}): {}\n    in      {}, decoded by {}\n    matched {}",
                text(hit, "id"),
                text(hit, "family"),
                text(hit, "severity"),
                text(hit, "message"),
                text(hit, "target"),
                text(hit, "decoding"),
                text(hit, "matched")
            );
            if !text(hit, "reason").is_empty() {
                let _ = writeln!(shown, "    because {}", text(hit, "reason"));
            }
        }
    }
    if let Some(model) = value["model"].as_object() {
        let model = Value::Object(model.clone());
        let _ = writeln!(
            shown,
            "\n  model: score {} in {}, decoded by {}",
            text(&model, "score"),
            text(&model, "target"),
            text(&model, "decoding")
        );
    }
    let _ = writeln!(shown, "\n  head, without secrets:");
    for line in value["head"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(shown, "    {}", plain(line));
    }
    if let Some(rule) = value["rules"].as_array().and_then(|rules| rules.first()) {
        let path = value["request_line"]
            .as_str()
            .and_then(|line| line.split(' ').nth(1))
            .map_or("/", |target| target.split('?').next().unwrap_or("/"));
        let place = text(rule, "target");
        let (target, name) = place.split_once(':').unwrap_or((&place, ""));
        let _ = writeln!(
            shown,
            "\n  If that was a good request, add to the configuration and reload:\n    [[scoring.exclusions]]\n    reason = \"…\"\n    \
             rules = [{}]\n    paths = [{path:?}]\n    targets = [{target:?}]",
            text(rule, "id"),
        );
        if !name.is_empty() {
            let _ = writeln!(shown, "    names = [{name:?}]");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict() -> Value {
        json!({
            "seq": 1, "topic": "verdicts", "time": "2026-01-01T00:00:00.000Z", "request_id": "00000000000000ab",
            "decision": "block", "enforced": true, "client": "198.51.100.7", "proxy": "192.0.2.1", "source": "192.0.2.1:4000",
            "destination": "192.0.2.2:80", "score": 0.95, "anomaly": 5, "bytes": 44,
            "rules": [{"id": 100_112, "family": "sqli", "severity": "critical", "message": "SQL injection", "target": "query:id",
                       "matched": "1' UNION", "decoding": "url"}],
            "explanation": "SQL injection in query:id", "request_line": "GET /a?id=1 HTTP/1.1", "head": "GET /a?id=1 HTTP/1.1\nHost: x",
        })
    }

    #[test]
    fn an_explanation_has_everything() {
        let text = explained(&verdict());
        for part in [
            "request 00000000000000ab: block",
            "198.51.100.7, through 192.0.2.1",
            "rule 100112 (sqli, critical)",
            "matched 1' UNION",
            "    Host: x",
            "paths = [\"/a\"]\n    targets = [\"query\"]\n    names = [\"id\"]",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn nothing_in_a_message_reaches_the_terminal_but_text() {
        const CLEAR: &str = "\x1b[2J\n\u{9b}1m\u{202e}";
        let block = json!({"time": "t", "topic": "blocks", "action": "blocked", "target": "192.0.2.7/32", "by": "operator", "reason": CLEAR});
        let line = in_one_line(&block);
        assert_eq!(
            line,
            "t blocks   blocked 192.0.2.7/32 by operator: \u{fffd}[2J\u{fffd}\u{fffd}1m\u{fffd}"
        );
        let mut verdict = verdict();
        let lines = explained(&verdict).lines().count();
        for key in ["explanation", "request_line", "client", "proxy"] {
            verdict[key] = CLEAR.into();
        }
        verdict["rules"][0]["matched"] = CLEAR.into();
        verdict["head"] = format!("GET / HTTP/1.1\nHost: {}", CLEAR.replace('\n', "")).into();
        let text = explained(&verdict);
        let is_plain = |line: &str| !line.contains(|c: char| c.is_control() || c == '\u{202e}');
        assert!(text.lines().all(is_plain), "{text:?}");
        assert_eq!(text.lines().count(), lines, "{text:?}");
    }

    #[test]
    fn each_topic_has_its_line() {
        for (value, expected) in [
            (
                verdict(),
                "2026-01-01T00:00:00.000Z verdicts block 00000000000000ab 198.51.100.7 -> 192.0.2.2:80 0.95: GET /a?id=1 HTTP/1.1 | SQL injection in query:id",
            ),
            (
                json!({"time": "t", "topic": "blocks", "action": "blocked", "target": "192.0.2.7/32", "by": "operator", "for_s": 90, "reason": "x"}),
                "t blocks   blocked 192.0.2.7/32 for 1m 30s by operator: x",
            ),
            (
                json!({"time": "t", "topic": "blocks", "action": "ended", "count": 3, "by": "time"}),
                "t blocks   ended 3 by time",
            ),
            (
                json!({"time": "t", "topic": "config", "action": "reload", "message": "7 rules"}),
                "t config   reload: 7 rules",
            ),
            (
                json!({"time": "t", "topic": "workers", "change": "died", "seq": 1}),
                "t workers  {\"change\":\"died\"}",
            ),
        ] {
            assert_eq!(in_one_line(&value).trim_end(), expected.trim_end());
        }
    }
}
