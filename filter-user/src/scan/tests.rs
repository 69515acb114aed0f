//! Scans of files, streams and damaged input.

use std::{
    io::{self, Cursor, Write as _},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use filter_score::{OwnedDecision, PackSource, Policy, RuleSet, Verdict};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Seen {
    decisions: Vec<(Value, OwnedDecision)>,
    errors: Vec<String>,
    requests: u64,
}

impl Sink for Seen {
    fn decision(&mut self, id: &Value, decision: &OwnedDecision) -> io::Result<()> {
        self.decisions.push((id.clone(), decision.clone()));
        Ok(())
    }

    fn scored(&mut self, requests: u64, _: u64, _: Duration) {
        self.requests += requests;
    }

    fn bad_input(&mut self, error: &BadInput) {
        self.errors.push(error.to_string());
    }
}

impl Seen {
    fn verdicts(&self) -> Vec<(Value, Verdict)> {
        self.decisions
            .iter()
            .map(|(id, decision)| (id.clone(), decision.decision))
            .collect()
    }
}

/// One rule for what is in [`BAD`], one for what is no HTTP.
const PACK: &str = r#"
family = "protocol"
[[rule]]
id = 1
message = "not HTTP"
severity = "critical"
violation = "bad-method"
samples.match = ["\u0016", "\u0017"]
samples.pass = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\n\r\n"]
[[rule]]
id = 2
family = "sqli"
message = "UNION SELECT"
severity = "critical"
targets = ["inputs"]
regex = 'union\s+select'
samples.match = ["union select", "1 union  select 2"]
samples.pass = ["union", "select"]
"#;

fn judge() -> Judge {
    let rules = RuleSet::compile(&[PackSource {
        name: "fixture",
        text: PACK,
    }])
    .expect("the pack is right");
    Judge {
        policies: Policies::single(Arc::new(rules), Policy::default()),
        source: None,
        policy: 0,
    }
}

fn jsonl(bytes: impl Into<Vec<u8>>) -> Seen {
    let mut seen = Seen::default();
    let input = Input::new("in.jsonl", Cursor::new(bytes.into())).expect("opened");
    scan_jsonl(input, &judge(), &mut seen).expect("the sink takes everything");
    seen
}

fn http(bytes: impl Into<Vec<u8>>) -> Seen {
    let mut seen = Seen::default();
    let input = Input::new("in.http", Cursor::new(bytes.into())).expect("opened");
    scan_http(input, &judge(), &mut seen).expect("the sink takes everything");
    seen
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

const GOOD: &str = "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n";
const BAD: &str = "GET /a?b=1+union+select+2 HTTP/1.1\r\nHost: h\r\n\r\n";

fn line(id: &Value, raw: &str) -> String {
    format!("{}\n", json!({"id": id, "raw_base64": BASE64.encode(raw)}))
}

#[test]
fn jsonl_keeps_order_and_ids() {
    let text = [
        line(&json!("x"), GOOD),
        line(&json!(7), BAD),
        r#"{"path":"/a","query_params":{"b":"1 union select 2"},"headers":{}}"#.to_owned() + "\n",
        "\n".to_owned(),
        line(&json!(null), GOOD).trim_end().to_owned(),
    ]
    .concat();
    let expected = [
        (json!("x"), Verdict::Allow),
        (json!(7), Verdict::Block),
        (json!(3), Verdict::Block),
        (json!(5), Verdict::Allow),
    ];
    for bytes in [
        text.clone().into_bytes(),
        gzip(text.as_bytes()),
        [gzip(&text.as_bytes()[..50]), gzip(&text.as_bytes()[50..])].concat(),
    ] {
        let seen = jsonl(bytes);
        assert_eq!(seen.verdicts(), expected);
        assert_eq!((seen.errors, seen.requests), (Vec::<String>::new(), 4));
    }
}

#[test]
fn what_does_not_parse_gets_a_decision_too() {
    for raw in [
        "",
        "\r\n",
        "\u{16}\u{3}\u{1}",
        "GET",
        "GET / HTTP/1.1\r\nHost",
        "nonsense\r\n\r\n",
    ] {
        let seen = jsonl(line(&json!(1), raw));
        assert_eq!(seen.decisions.len(), 1, "{raw:?}");
        assert!(seen.errors.is_empty(), "{raw:?}");
    }
    let seen = jsonl(line(&json!(1), "\u{16}\u{3}\u{1}"));
    assert_eq!(seen.decisions[0].1.decision, Verdict::Block);
    assert!(!seen.decisions[0].1.rules.is_empty());
}

#[test]
fn bad_lines_are_named_and_passed_over() {
    let mut text = line(&json!(1), GOOD).into_bytes();
    text.extend_from_slice(b"{\"id\":2\n\xff\xfe\n[]\n");
    text.extend_from_slice(line(&json!(5), BAD).as_bytes());
    let seen = jsonl(text);
    assert_eq!(
        seen.verdicts(),
        [(json!(1), Verdict::Allow), (json!(5), Verdict::Block)]
    );
    let places: Vec<_> = seen
        .errors
        .iter()
        .map(|error| error.split(": ").next().unwrap_or_default())
        .collect();
    assert_eq!(places, ["in.jsonl:2", "in.jsonl:3", "in.jsonl:4"]);
}

#[test]
fn a_line_beyond_the_bound_costs_no_memory_and_no_other_line() {
    let endless = io::Read::take(io::repeat(b'x'), MAX_LINE_BYTES as u64 + 2);
    let rest = format!("\n{}", line(&json!(2), BAD));
    let input = Input::new("in.jsonl", io::Read::chain(endless, Cursor::new(rest))).expect("opened");
    let mut seen = Seen::default();
    scan_jsonl(input, &judge(), &mut seen).expect("the sink takes everything");
    assert_eq!(seen.verdicts(), [(json!(2), Verdict::Block)]);
    assert!(
        seen.errors[0].starts_with("in.jsonl:1: the line is longer"),
        "{:?}",
        seen.errors
    );
}

#[test]
fn truncated_gzip_is_an_error_after_what_came_before() {
    let text: String = (0..2_000)
        .map(|i| line(&json!(i), &GOOD.replace("b=c", &format!("b={}", i * 7_919))))
        .collect();
    let mut bytes = gzip(text.as_bytes());
    bytes.truncate(bytes.len() / 2);
    let seen = jsonl(bytes);
    assert!(
        seen.decisions.len() > 10 && seen.decisions.len() < 2_000,
        "{}",
        seen.decisions.len()
    );
    assert_eq!(seen.errors.len(), 1);
    assert!(
        seen.errors[0].contains("cannot be read further"),
        "{:?}",
        seen.errors
    );
    for cut in [1, 2, 5] {
        let seen = jsonl(gzip(b"x")[..cut].to_vec());
        assert_eq!((seen.decisions.len(), seen.errors.len()), (0, 1), "{cut}");
    }
}

#[test]
fn http_is_one_request_after_the_other() {
    let post = "POST /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\na=b&c";
    let seen = http([GOOD, BAD, post, GOOD].concat());
    assert_eq!(
        seen.verdicts(),
        [
            (json!(1), Verdict::Allow),
            (json!(2), Verdict::Block),
            (json!(3), Verdict::Allow),
            (json!(4), Verdict::Allow)
        ]
    );
    assert!(seen.errors.is_empty());
    assert_eq!(
        http(gzip(GOOD.as_bytes())).verdicts(),
        [(json!(1), Verdict::Allow)]
    );
    assert!(http("").decisions.is_empty());

    // The last request is cut off: it gets a decision.
    assert_eq!(http([GOOD, &BAD[..30]].concat()).decisions.len(), 2);
    // What is no HTTP gets one too, and what follows is not passed over in silence.
    let seen = http([GOOD, "\u{16}\u{3}\u{1}", GOOD].concat());
    assert_eq!(seen.decisions.len(), 2);
    assert!(
        seen.errors[0].starts_with("in.http: nothing behind request 2"),
        "{:?}",
        seen.errors
    );
}

#[test]
fn output_is_the_documented_line() {
    let seen = jsonl(line(&json!("x"), BAD));
    let write = |form| {
        let mut bytes = Vec::new();
        Output::new(&mut bytes, form)
            .write(&seen.decisions[0].0, &seen.decisions[0].1)
            .expect("written");
        String::from_utf8(bytes).expect("text")
    };
    let jsonl = write(OutputForm::Jsonl);
    assert_eq!(jsonl.lines().count(), 1);
    let value: Value = serde_json::from_str(&jsonl).expect("JSON");
    let mut names: Vec<_> = value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "anomaly",
            "categories",
            "decision",
            "explanation",
            "id",
            "rules",
            "score"
        ]
    );
    assert_eq!(
        (&value["id"], &value["decision"], &value["anomaly"]),
        (&json!("x"), &json!("block"), &json!(5))
    );
    assert!(
        value["score"]
            .as_f64()
            .is_some_and(|score| (0.7..1.0).contains(&score))
    );
    assert_eq!(value["categories"], json!(["sqli"]));
    assert!(value["rules"][0]["id"].is_u64());
    let text = write(OutputForm::Text);
    assert!(
        text.starts_with("block      0.71   5  x  GET /a?b=1+union+select+2 HTTP/1.1  "),
        "{text}"
    );
}

#[test]
fn stats_count_what_happened() {
    let mut stats = Stats::default();
    stats.decision(Verdict::Block);
    stats.decision(Verdict::Allow);
    stats.scored(2, 300, Duration::from_micros(2));
    stats.scored(0, 10, Duration::from_nanos(50));
    stats.bad_input();
    let shown = stats.to_string();
    for part in [
        "requests    2 (1 allowed, 0 suspicious, 1 blocked), 310 bytes",
        "not read    1",
        "p50 1003 ns",
        "max 1003 ns",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}
