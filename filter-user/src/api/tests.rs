//! Clients over a real socket, with an engine of plain tables behind the API.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Instant,
};

use super::*;
use crate::control::testing::Tables;

mod calls;
mod events;

mod openapi;
mod rate;
mod renewal;
mod tls;

struct Served {
    _api: Api,
    path: PathBuf,
    address: Option<SocketAddr>,
    credentials: watch::Sender<Arc<Credentials>>,
    engine: Arc<Tables>,
    _directory: tempfile::TempDir,
}

fn served(settings: &config::Api) -> Served {
    served_with(settings, &config::Events::default())
}

fn served_with(settings: &config::Api, events: &config::Events) -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let control = directory.path().join("a.sock");
    let credentials = Credentials::read(settings, None).expect("credentials");
    let credentials = watch::Sender::new(Arc::new(credentials));
    let listeners = Listeners::bind(settings, &control).expect("bound");
    let addresses = listeners.places();
    let engine = Arc::new(Tables::new());
    let protected = Arc::new(Protected::configured(&[crate::control::testing::net(
        "192.0.2.1",
    )]));
    let api = Api::start(
        listeners,
        credentials.subscribe(),
        settings,
        events,
        Arc::clone(&engine) as _,
        protected,
        Duration::from_secs(1),
    )
    .expect("started");
    Served {
        _api: api,
        path: directory.path().join("a.http.sock"),
        address: addresses
            .split_once("://")
            .map(|(_, address)| address.parse().expect("an address")),
        credentials,
        engine,
        _directory: directory,
    }
}

impl Served {
    /// Takes in other credentials, as a reload does. Returns which are new.
    fn renew(&self, settings: &config::Api) -> Result<Vec<String>, CredentialError> {
        let before = Arc::clone(&self.credentials.borrow());
        let Reread { credentials, kept } = before.reread(settings, None)?;
        assert!(kept.is_empty(), "{kept:?}");
        let changes = before.changes(&credentials);
        self.credentials.send_replace(Arc::new(credentials));
        Ok(changes)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream
    }

    /// Sends bytes, and returns all that comes until the connection ends.
    fn say(&self, text: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and its end");
        answer
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.say(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status, body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.get(path);
        (status, serde_json::from_str(&body).expect("JSON"))
    }
}

#[test]
fn the_state_is_told() {
    let served = served(&config::Api::default());
    let (code, health) = served.json("/health");
    assert_eq!((code, &health["status"]), (200, &"ok".into()));
    assert_eq!(health["components"]["queues"]["status"], "ok");
    assert_eq!(served.json("/ready").0, 200);
    let (code, stats) = served.json("/v1/stats");
    assert_eq!(
        (code, &stats["version"], &stats["requests"]["block"]),
        (200, &"1.2.3".into(), &1.into())
    );
    assert_eq!(served.json("/v1/rules").0, 200);
    assert_eq!(served.json("/v1/model").0, 200);
}

#[test]
fn the_metrics_are_told_with_help_and_type() {
    let served = served(&config::Api::default());
    let (status, text) = served.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "# TYPE portcullis_xdp_packets_total counter",
        "portcullis_xdp_packets_total{action=\"drop\",reason=\"source_blocked\"} 3",
        "portcullis_requests_total{decision=\"allow\"} 2",
        "portcullis_latency_seconds_bucket{stage=\"driver_to_forwarded\",le=\"0.00001\"} 1",
        "portcullis_latency_seconds_bucket{stage=\"driver_to_forwarded\",le=\"0.000002\"} 0",
        "portcullis_latency_seconds_count{stage=\"driver_to_forwarded\"} 1",
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "{line} is not in:\n{text}"
        );
    }
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        assert!(seen.insert(series), "{series} is there twice");
    }
}

/// A state in which there is something of everything.
fn eventful() -> crate::control::Status {
    let mut status = Tables::new().status();
    let one = |name: &str| std::iter::once((name.to_owned(), 1)).collect();
    status.queues[0].dropped = one("table_full");
    status.queues[0].unscored = one("table_full");
    status.requests.families = one("sqli");
    status.clients = one("proxied");
    status.deep = Some(crate::control::DeepStatus {
        breaker: "open".into(),
        requests: one("answered"),
        ..crate::control::DeepStatus::default()
    });
    status
}

#[test]
fn the_document_names_all_metrics_and_no_other() {
    let text = metrics::text(
        &eventful(),
        &[(
            crate::latency::Stage::DriverToForwarded,
            crate::latency::empty_histogram(),
        )],
    )
    .expect("it has a form");
    let told: std::collections::BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| name.starts_with("portcullis_"))
        .collect();
    let document = include_str!("../../../docs/api.md");
    let named: std::collections::BTreeSet<_> = document
        .split('`')
        .filter(|word| word.starts_with("portcullis_"))
        .collect();
    let limits = |name: &&&str| {
        name.strip_suffix("_limit")
            .is_some_and(|name| named.contains(name))
    };
    let unnamed: Vec<_> = told.difference(&named).filter(|name| !limits(name)).collect();
    assert!(unnamed.is_empty(), "not in docs/api.md: {unnamed:?}");
    let unknown: Vec<_> = named.difference(&told).collect();
    assert!(unknown.is_empty(), "only in docs/api.md: {unknown:?}");
}

/// Words that are words of a metric's name, and what stands behind them in braces.
fn metrics_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("portcullis_").map(|(at, _)| {
        let rest = &text[at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let labels = rest
            .strip_prefix('{')
            .and_then(|rest| Some(rest.split_once('}')?.0));
        (name, labels.unwrap_or_default())
    })
}

/// What alerts and dashboard ask for is there: metrics, and values of the labels that the program fills.
#[test]
fn alerts_and_dashboard_know_what_there_is() {
    let stages = crate::latency::Stage::ALL.map(|stage| (stage, crate::latency::empty_histogram()));
    let text = metrics::text(&eventful(), &stages).expect("it has a form");
    let known: std::collections::BTreeSet<_> = metrics_in(&text).map(|(name, _)| name).collect();
    let reasons: Vec<_> = filter_common::Reason::ALL
        .iter()
        .map(|reason| reason.name())
        .collect();
    for (file, content) in [
        ("alerts.yml", include_str!("../../../docs/monitoring/alerts.yml")),
        (
            "alerts_test.yml",
            include_str!("../../../docs/monitoring/alerts_test.yml"),
        ),
        (
            "dashboard.json",
            include_str!("../../../docs/monitoring/dashboard.json"),
        ),
    ] {
        // In JSON, quotes are escaped.
        let content = content.replace("\\\"", "\"");
        for (name, labels) in metrics_in(&content) {
            assert!(known.contains(name), "{file}: there is no {name}");
            for label in labels.split(", ") {
                let Some((label, values)) = label.split_once('=') else {
                    continue;
                };
                for value in values.trim_start_matches('~').trim_matches('"').split('|') {
                    let is_there = match label {
                        "reason" if name.starts_with("portcullis_xdp") => reasons
                            .iter()
                            .any(|reason| reason.split_once('_').is_some_and(|(_, bare)| bare == value)),
                        "action" | "stage" | "decision" | "state" => {
                            let pair = format!("{label}=\"{value}\"");
                            value == "drop" || value == "pass" || text.contains(&pair)
                        }
                        _ => true,
                    };
                    assert!(is_there, "{file}: {name} has no {label} {value}");
                }
            }
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/monitoring/dashboard.json")).expect("JSON");
    assert!(
        dashboard["panels"]
            .as_array()
            .is_some_and(|panels| panels.len() > 20)
    );
}

#[test]
fn wrong_calls_are_refused_with_a_remedy() {
    let served = served(&config::Api::default());
    let (status, problem) = served.json("/v2/everything");
    assert_eq!(status, 404);
    assert!(
        problem["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("/metrics"))
    );
    let answer = served.say("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.to_lowercase().contains("allow: get"), "{answer}");
    assert!(served.say("not HTTP\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(64 << 10)
    );
    let mut stream = served.connect();
    // It may be refused before all of it is sent.
    let _ = stream.write_all(huge.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    assert_eq!(served.get("/health").0, 200);
}

/// A request with a body, and more header lines.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status_of(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.expect(answer)
}

/// A token in a file of its name.
fn token(directory: &Path, name: &str, role: config::Role, text: &str) -> config::Token {
    let file = directory.join(name);
    write_secret(&file, text);
    config::Token {
        name: name.into(),
        role,
        file,
    }
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set");
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn sources_are_blocked_allowed_and_listed() {
    let served = served(&config::Api::default());
    let say = |method: &str, path: &str, body: &str| {
        let answer = served.say(&request(method, path, JSON, body));
        (status_of(&answer), answer)
    };
    let block = r#"{"target":"198.51.100.0/24","for_s":60,"reason":"too \"loud\""}"#;
    assert_eq!(say("POST", "/v1/blocks", block).0, 201);
    let (_, blocks) = served.json("/v1/blocks?limit=5");
    assert_eq!(blocks["blocks"][0]["target"], "198.51.100.0/24");
    assert_eq!(blocks["blocks"][0]["reason"], "too \"loud\"");
    assert_eq!(
        served.json("/v1/blocks?after=198.51.100.0/24").1["blocks"],
        serde_json::json!([])
    );
    assert_eq!(say("DELETE", "/v1/blocks/198.51.100.0/24", "").0, 200);
    assert_eq!(say("DELETE", "/v1/blocks/198.51.100.0/24", "").0, 404);
    assert_eq!(say("POST", "/v1/allows", r#"{"target":"2001:db8::/32"}"#).0, 201);
    assert_eq!(
        served.json("/v1/allows").1["allows"],
        serde_json::json!(["2001:db8::/32"])
    );
    assert_eq!(say("DELETE", "/v1/allows/2001:db8::/32", "").0, 200);
    for (path, body, code) in [
        ("/v1/blocks", r#"{"target":"192.0.2.0/24"}"#, 403),
        ("/v1/blocks", r#"{"target":"everyone"}"#, 400),
        ("/v1/blocks", r#"{"target":"198.51.100.7","for_s":0}"#, 400),
        ("/v1/blocks", r#"{"target":"198.51.100.7","for_s":-1}"#, 422),
        (
            "/v1/blocks",
            r#"{"target":"198.51.100.7","until":"tomorrow"}"#,
            422,
        ),
        ("/v1/blocks", "{", 400),
        ("/v1/allows", "[]", 422),
    ] {
        let (status, answer) = say("POST", path, body);
        assert_eq!(status, code, "{body}: {answer}");
        assert!(answer.contains(r#""remedy":""#), "{body}: {answer}");
    }
    let long = format!(r#"{{"target":"198.51.100.7","reason":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(say("POST", "/v1/blocks", &long).0, 413);
    let untyped = served.say(&request("POST", "/v1/blocks", "", block));
    assert_eq!(status_of(&untyped), 415);
    assert_eq!(served.get("/v1/blocks?limit=many").0, 400);
}

#[test]
fn exclusions_are_made_and_ended() {
    let served = served(&config::Api::default());
    let exclusion =
        r#"{"rules": [100112], "path": "/wiki", "target": "query:q", "for_s": 60, "reason": "the editor"}"#;
    let (status, entry, _) = post(&served, "/v1/exclusions", exclusion);
    assert_eq!(
        (status, &entry["id"], &entry["remaining_s"]),
        (201, &1.into(), &60.into())
    );
    assert_eq!(served.json("/v1/exclusions").1["exclusions"][0], entry);
    for (body, expected) in [
        (r#"{"rules": [1]}"#, 422),
        ("", 400),
        (r#"{"rules": "1", "reason": "x"}"#, 422),
    ] {
        assert_eq!(post(&served, "/v1/exclusions", body).0, expected, "{body}");
    }
    let end = |id: &str| status_of(&served.say(&request("DELETE", &format!("/v1/exclusions/{id}"), "", "")));
    assert_eq!((end("1"), end("1"), end("x")), (200, 404, 400));
    assert_eq!(
        served.json("/v1/exclusions").1["exclusions"],
        serde_json::json!([])
    );
}

fn post(served: &Served, path: &str, body: &str) -> (u16, serde_json::Value, String) {
    let answer = served.say(&request("POST", path, JSON, body));
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (
        status_of(&answer),
        serde_json::from_str(body).expect("JSON"),
        head.to_lowercase(),
    )
}

/// The first answer may wait until the rules are compiled.
fn patient() -> config::Api {
    config::Api {
        timeout_s: 60,
        check: config::CheckApi {
            deadline_ms: 60_000,
            ..config::CheckApi::default()
        },
        ..config::Api::default()
    }
}

const ATTACK: &str = r#"{"method":"POST","path":"/login","query_params":{"next":"/"},"headers":{"Content-Type":"application/x-www-form-urlencoded"},"body":"user=1'+UNION+SELECT+password+FROM+users--"}"#;
const BENIGN: &str = r#"{"method":"GET","path":"/search","query_params":{"q":"garden chairs"}}"#;

#[test]
fn requests_are_judged_and_known_again() {
    let served = served(&patient());
    let (status, judged, _) = post(&served, "/v1/check", ATTACK);
    assert_eq!(status, 200, "{judged}");
    assert_eq!(judged["prediction"], "malicious");
    assert_eq!(judged["is_anomaly"], true);
    assert!(judged["anomaly_score"].as_f64() >= judged["threshold"].as_f64());
    assert!(
        judged["explanation"]
            .as_str()
            .is_some_and(|why| why.contains("sqli")),
        "{judged}"
    );
    assert_eq!(judged["cached"], false);
    let (_, again, _) = post(&served, "/v1/check", ATTACK);
    assert_eq!(again["cached"], true);
    assert_eq!(again["explanation"], judged["explanation"]);
    assert_ne!(again["request_id"], judged["request_id"]);
    let (_, benign, _) = post(&served, "/v1/check", BENIGN);
    assert_eq!(
        (&benign["prediction"], &benign["is_anomaly"]),
        (&"benign".into(), &false.into())
    );
    for key in ["confidence", "processing_time_ms"] {
        assert!(benign[key].as_f64().is_some_and(|value| value >= 0.0), "{benign}");
    }
    assert!(
        benign["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{benign}"
    );
}

#[test]
fn a_batch_has_each_answer_in_its_place() {
    let served = served(&patient());
    let requests: Vec<_> = (0..300)
        .map(|n| if n % 3 == 0 { ATTACK } else { BENIGN })
        .collect();
    let body = format!(r#"{{"requests":[{},{{"nothing":1}}]}}"#, requests.join(","));
    let (status, answer, _) = post(&served, "/v1/check/batch", &body);
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 301);
    for (n, result) in results[..300].iter().enumerate() {
        let expected = if n % 3 == 0 { "malicious" } else { "benign" };
        assert_eq!(result["prediction"], expected, "{n}: {result}");
    }
    assert!(
        results[300]["error"]
            .as_str()
            .is_some_and(|error| error.contains("no request"))
    );
    let many = vec!["{\"path\":\"/\"}"; 1001].join(",");
    assert_eq!(
        post(&served, "/v1/check/batch", &format!(r#"{{"requests":[{many}]}}"#)).0,
        413
    );
    assert_eq!(
        post(&served, "/v1/check/batch", r#"{"requests":[]}"#).1["results"],
        serde_json::json!([])
    );
}

#[test]
fn what_is_no_request_is_not_judged() {
    let served = served(&patient());
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"raw_base64":"?"}"#,
        "\0",
        &"[".repeat(5000),
    ] {
        let (status, problem, _) = post(&served, "/v1/check", body);
        assert_eq!(status, 422, "{body}: {problem}");
        assert!(
            problem["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("raw_base64"))
        );
    }
    let huge = format!(r#"{{"path":"/","body":"{}"}}"#, "x".repeat(4 << 20));
    assert_eq!(post(&served, "/v1/check", &huge).0, 413);
    // What does not parse as HTTP is judged, as on the wire.
    let (status, judged, _) = post(&served, "/v1/check", r#"{"raw_base64":"bm90IEhUVFANCg0K"}"#);
    assert_eq!(
        (status, &judged["prediction"]),
        (200, &"malicious".into()),
        "{judged}"
    );
}

#[test]
fn too_many_checks_are_refused_in_time() {
    let settings = config::Api {
        check: config::CheckApi {
            client_rate: 20,
            ..patient().check
        },
        ..patient()
    };
    let served = served(&settings);
    // Let in at once, and paid off in the fifty seconds after it.
    let batch = format!(r#"{{"requests":[{}]}}"#, vec![BENIGN; 1000].join(","));
    assert_eq!(post(&served, "/v1/check/batch", &batch).0, 200);
    let (status, problem, head) = post(&served, "/v1/check", BENIGN);
    assert_eq!((status, &problem["error"]), (429, &"rate_limited".into()));
    assert!(head.contains("retry-after: "), "{head}");

    let settings = config::Api {
        check: config::CheckApi {
            queue: 1000,
            deadline_ms: 30,
            client_rate: 0,
            total_rate: 0,
            ..config::CheckApi::default()
        },
        ..config::Api::default()
    };
    let served = self::served(&settings);
    // None of them known, and each as slow as can be had: some are late, and some find no place.
    let slow = |n| {
        format!(
            r#"{{"path":"/{n}","body":"{}"}}"#,
            "a=%2527 union/**/&".repeat(300)
        )
    };
    let batch = |call| {
        let requests: Vec<_> = (0..600).map(|n| slow(call * 600 + n)).collect();
        format!(r#"{{"requests":[{}]}}"#, requests.join(","))
    };
    let batches = [0, 1, 2, 3].map(batch);
    let began = Instant::now();
    let errors: Vec<_> = thread::scope(|scope| {
        let served = &served;
        let calls = batches
            .each_ref()
            .map(|batch| scope.spawn(move || post(served, "/v1/check/batch", batch)));
        calls
            .map(|call| call.join().expect("an answer"))
            .into_iter()
            .filter(|(status, ..)| *status != 200)
            .map(|(status, problem, head)| {
                assert!(status == 503 && head.contains("retry-after: "), "{head}");
                problem["error"].as_str().expect("why").to_owned()
            })
            .collect()
    });
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(errors.iter().any(|error| error == "queue_full"), "{errors:?}");
    assert!(
        errors.iter().any(|error| error == "deadline_exceeded"),
        "{errors:?}"
    );
    // When the late ones have been passed over, there is room again.
    assert!((0..50).any(|_| {
        thread::sleep(Duration::from_millis(200));
        post(&served, "/v1/check", BENIGN).0 == 200
    }));
}

#[test]
fn a_reload_is_tried_and_taken_back() {
    let served = served(&config::Api::default());
    let say = |path: &str, body: &str| {
        let headers = if body.is_empty() { "" } else { JSON };
        status_of(&served.say(&request("POST", path, headers, body)))
    };
    // This engine's files are broken, but on trial.
    assert_eq!(say("/v1/reload", ""), 422);
    assert_eq!(say("/v1/reload", r#"{"confirm_within_s":60}"#), 200);
    assert_eq!(say("/v1/reload/confirm", ""), 200);
    assert_eq!(say("/v1/reload", r#"{"confirm_within_s":1}"#), 400);
    assert_eq!(say("/v1/reload/revert", ""), 404);
    assert_eq!(say("/v1/reload?dry_run=perhaps", ""), 400);
    let answer = served.say(&request("POST", "/v1/reload?dry_run=true", "", ""));
    assert_eq!(status_of(&answer), 200);
    for part in [
        "7 rules are right",
        "\"applied\":[{\"key\":\"scoring.anomaly\"",
        "\"needs_restart\":[",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
}

#[test]
fn feeds_are_listed_and_fetched() {
    let served = served(&config::Api::default());
    let answer = served.say(&request("GET", "/v1/feeds", "", ""));
    assert!(
        answer.contains("\"name\":\"drop\"") && answer.contains("404 Not Found"),
        "{answer}"
    );
    let refresh = |body: &str| {
        let headers = if body.is_empty() { "" } else { JSON };
        status_of(&served.say(&request("POST", "/v1/feeds/refresh", headers, body)))
    };
    assert_eq!((refresh(""), refresh(r#"{"name":"drop"}"#)), (200, 200));
    assert_eq!(
        (refresh(r#"{"name":"x"}"#), refresh(r#"{"nam":"x"}"#)),
        (404, 422)
    );
}

#[test]
fn the_configuration_in_force_is_there() {
    let served = served(&config::Api::default());
    let answer = served.say(&request("GET", "/v1/config", "", ""));
    assert_eq!(status_of(&answer), 200);
    assert!(answer.contains("\"anomaly\":5"), "{answer}");
}

#[test]
fn over_tcp_a_token_says_who_may_do_what() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = |name: &str, role, text: &str| token(directory.path(), name, role, text);
    let (reads, changes) = ("r".repeat(40), "c".repeat(40));
    let settings = config::Api {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        tokens: vec![
            token("reads", config::Role::Viewer, &reads),
            token("changes", config::Role::Operator, &changes),
        ],
        ..config::Api::default()
    };
    let served = served(&settings);
    let address = served.address.expect("it listens");
    let say = |method: &str, path: &str, headers: &str, body: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .write_all(request(method, path, headers, body).as_bytes())
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    for headers in [
        String::new(),
        format!("Authorization: Bearer {}\r\n", "x".repeat(40)),
        format!("Authorization: Bearer {reads}x\r\n"),
        format!("Authorization: Basic {reads}\r\n"),
        "Authorization: Bearer\r\n".into(),
        format!("X-Authorization: Bearer {reads}\r\n"),
    ] {
        for path in ["/metrics", "/health", "/nowhere"] {
            let answer = say("GET", path, &headers, "");
            assert_eq!(status_of(&answer), 401, "{headers}{answer}");
            assert!(
                answer.to_lowercase().contains("www-authenticate: bearer"),
                "{answer}"
            );
        }
    }
    let viewer = format!("Authorization: bearer {reads}\r\n{JSON}");
    let operator = format!("Authorization: Bearer {changes}\r\n{JSON}");
    let block = r#"{"target":"198.51.100.7"}"#;
    assert_eq!(status_of(&say("GET", "/metrics", &viewer, "")), 200);
    let page = say("GET", "/", "", "");
    assert_eq!(status_of(&page), 200, "the page has no secret: {page}");
    for line in [
        "content-security-policy: default-src 'none'; script-src 'self';",
        "etag: \"",
        "cache-control: no-cache",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    for (headers, role) in [(&viewer, "viewer"), (&operator, "operator")] {
        let who = say("GET", "/v1/access", headers, "");
        assert!(who.contains(&format!(r#""role":"{role}""#)), "{who}");
    }
    assert_eq!(status_of(&say("GET", "/v1/access", "", "")), 401);
    assert_eq!(status_of(&say("POST", "/v1/blocks", &viewer, block)), 403);
    assert_eq!(status_of(&say("POST", "/v1/blocks", &operator, block)), 201);
    assert_eq!(status_of(&say("GET", "/v1/blocks", &operator, "")), 200);
    // Who can open the socket needs none.
    assert_eq!(served.get("/v1/blocks").0, 200);
}

#[test]
fn silent_clients_lose_their_place() {
    let settings = config::Api {
        connections: 2,
        timeout_s: 1,
        ..config::Api::default()
    };
    let served = served(&settings);
    let mut silent = served.connect();
    let mut slow = served.connect();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost:").expect("sent");
    let began = Instant::now();
    // Waits for a place, and gets it.
    assert_eq!(served.get("/health").0, 200);
    assert!(began.elapsed() < Duration::from_secs(15));
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it was ended");
    }
}

#[test]
fn its_end_removes_the_socket_and_ends_connections() {
    let Served {
        _api: api,
        path,
        _directory: directory,
        ..
    } = served(&config::Api::default());
    let mut open = UnixStream::connect(&path).expect("it listens");
    drop(api);
    assert!(!path.exists());
    // Ended, or reset if it was never accepted.
    assert!(matches!(open.read(&mut [0; 8]), Ok(0) | Err(_)));
    drop(directory);
}
