//! Those who listen.

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

use super::*;
use crate::live::Topic;

type Socket = WebSocket<UnixStream>;

impl Served {
    /// A WebSocket, or why there is none.
    fn listen(&self, query: &str) -> Result<Socket, u16> {
        let request = format!("ws://localhost/v1/events?{query}")
            .into_client_request()
            .expect("a request");
        tungstenite::client(request, self.connect())
            .map(|(socket, _)| socket)
            .map_err(|error| match error {
                tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer)) => {
                    answer.status().as_u16()
                }
                other => panic!("{other}"),
            })
    }

    fn tell(&self, topic: Topic, count: u64) {
        for n in 0..count {
            self.engine.chronicle.hub.tell(topic, &json!({ "n": n }));
        }
    }

    /// Until so many listen.
    fn wait_for_listeners(&self, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.engine.chronicle.hub.listeners() != count {
            assert!(
                Instant::now() < end,
                "{} listen",
                self.engine.chronicle.hub.listeners()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The next message with something in it.
fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("a message") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

#[test]
fn a_listener_gets_what_it_wants_and_goes_on_where_it_was() {
    let served = served(&config::Api::default());
    let mut socket = served.listen("topics=stats").expect("accepted");
    served.wait_for_listeners(1);
    served.tell(Topic::Blocks, 2);
    served.tell(Topic::Stats, 2);
    let first = next(&mut socket);
    assert_eq!((&first["topic"], &first["n"]), (&json!("stats"), &json!(0)));
    assert_eq!(next(&mut socket)["n"], 1);
    socket.send(Message::Ping("are you there".into())).expect("sent");
    assert_eq!(
        socket.read().expect("a pong"),
        Message::Pong("are you there".into())
    );
    socket.close(None).expect("closed");
    served.wait_for_listeners(0);

    served.tell(Topic::Stats, 1);
    let after = first["seq"].as_u64().expect("a number");
    let mut socket = served
        .listen(&format!("after={after}&topics=stats"))
        .expect("accepted");
    assert_eq!(next(&mut socket)["seq"], after + 1);
    assert_eq!(next(&mut socket)["seq"], after + 2);

    // 64 are kept.
    served.tell(Topic::Stats, 200);
    let mut socket = served.listen(&format!("after={after}")).expect("accepted");
    let lost = next(&mut socket);
    assert_eq!((&lost["topic"], &lost["lost"]), (&json!("lost"), &json!(138)));
    assert_eq!(next(&mut socket)["seq"], after + 139);
}

#[test]
fn one_that_does_not_read_keeps_nobody_waiting() {
    let events = config::Events {
        clients: 3,
        ..config::Events::default()
    };
    let served = served_with(&config::Api::default(), &events);
    let long = "x".repeat(60_000);
    let _deaf = served.listen("").expect("accepted");
    let mut keen = served.listen("").expect("accepted");
    served.wait_for_listeners(2);
    for n in 0..300 {
        served
            .engine
            .chronicle
            .hub
            .tell(Topic::Stats, &json!({ "n": n, "long": long }));
        let got = next(&mut keen);
        assert_eq!(got["n"], n, "{}", got["topic"]);
    }
    // What the deaf one has not taken is nowhere but in the hub.
    let _third = served.listen("").expect("accepted");
    assert_eq!(served.listen("").map(drop), Err(503));
    assert_eq!(served.get("/health").0, 200);
    drop(keen);
    served.wait_for_listeners(2);
    served.listen("").expect("a place is free again");
}

#[test]
fn server_sent_events_for_those_who_ask_for_no_websocket() {
    let served = served(&config::Api::default());
    served.tell(Topic::Blocks, 3);
    let mut stream = served.connect();
    let first = served.engine.chronicle.hub.next() - 3;
    let head =
        format!("GET /v1/events?topics=blocks HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {first}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while text.matches("\n\n").count() < 2 {
        let count = stream.read(&mut buffer).expect("something");
        assert!(count > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    for line in [
        format!("id: {}", first + 1),
        "event: blocks".into(),
        "data: {\"seq\":".into(),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(!text.contains(&format!("id: {first}\n")), "{text}");
}

#[test]
fn who_asks_wrongly_is_told() {
    let served = served(&config::Api::default());
    for (query, word) in [
        ("topics=verdict", "there are verdicts"),
        ("client=nobody", "nobody"),
        ("decision=deny", "suspicious"),
        ("after=-1", "after"),
        ("topic=stats", "topic"),
    ] {
        let (status, body) = served.get(&format!("/v1/events?{query}"));
        assert!(
            status == 400 && body.contains(word) && body.contains("remedy"),
            "{status} {body}"
        );
        assert_eq!(served.listen(query).map(drop), Err(400), "{query}");
    }
    for upgrade in ["h2c", "websocket"] {
        let answer = served.say(&format!(
            "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
        ));
        assert!(
            answer.starts_with("HTTP/1.1 4") && answer.contains("remedy"),
            "{answer}"
        );
    }
    // What a listener says is read in bounds, and of no effect.
    let mut socket = served.listen("").expect("accepted");
    socket.send(Message::Text("{}".into())).expect("sent");
    socket.send(Message::Binary(vec![0; 5000].into())).expect("sent");
    assert!(socket.read().is_err(), "too long");
}

#[test]
fn pages_of_others_do_not_get_in() {
    let served = served(&config::Api::default());
    for (fields, expected) in [
        ("Host: localhost\r\nOrigin: http://localhost", "HTTP/1.1 200"),
        ("Host: localhost\r\nOrigin: http://evil.example", "HTTP/1.1 403"),
        (
            "Host: evil.example\r\nOrigin: http://evil.example",
            "HTTP/1.1 403",
        ),
        ("Host: evil.example", "HTTP/1.1 403"),
    ] {
        let answer = served.say(&format!(
            "GET /health HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.starts_with(expected), "{fields}: {answer}");
    }
}

#[test]
fn over_tcp_a_listener_shows_its_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = "0123456789abcdef0123456789abcdef";
    let settings = config::Api {
        listen: vec![([127, 0, 0, 1], 0).into()],
        tokens: vec![self::token(directory.path(), "page", config::Role::Viewer, token)],
        ..config::Api::default()
    };
    let served = served(&settings);
    let address = served.address.expect("an address");
    let listen = |protocols: Option<&str>| {
        let mut request = format!("ws://{address}/v1/events")
            .into_client_request()
            .expect("a request");
        if let Some(protocols) = protocols {
            let value = protocols.parse().expect("a value");
            request.headers_mut().insert("Sec-WebSocket-Protocol", value);
        }
        let stream = TcpStream::connect(address).expect("it listens");
        tungstenite::client(request, stream).is_ok()
    };
    assert!(listen(Some(&format!("portcullis, bearer.{token}"))));
    assert!(!listen(Some(
        "portcullis, bearer.fedcba9876543210fedcba9876543210"
    )));
    assert!(!listen(Some("portcullis")));
    assert!(!listen(None));
}

#[test]
fn what_is_kept_is_told() {
    use crate::{live::Filter, trend::Reading};
    let served = served(&config::Api::default());
    let chronicle = &served.engine.chronicle;
    let mut reading = Reading::of(&*served.engine);
    chronicle.trend.add(reading.clone());
    reading.status.uptime_s += 1.0;
    reading.status.requests.block += 3;
    chronicle.trend.add(reading);
    let (code, history) = served.json("/v1/history");
    assert_eq!(
        (
            code,
            &history["interval_s"],
            history["points"].as_array().map(Vec::len)
        ),
        (200, &json!(1), Some(1))
    );
    assert_eq!(
        served.json("/v1/history?resolution=minute").1["points"],
        json!([])
    );
    assert_eq!(served.get("/v1/history?resolution=hour").0, 400);

    for (n, client, verdict) in [
        (1, "192.0.2.1", filter_score::Verdict::Block),
        (2, "192.0.2.2", filter_score::Verdict::Suspicious),
    ] {
        let body = json!({ "request_id": format!("{n:016x}") });
        let client = client.parse().expect("an address");
        chronicle
            .hub
            .tell_of(Topic::Verdicts, client, Some(verdict), &body);
    }
    chronicle.hub.tell(Topic::Verdicts, &json!({ "suppressed": 7 }));
    assert_eq!(chronicle.hub.last(&Filter::default(), 9).len(), 3);
    let ids = |path: &str| {
        let (code, value) = served.json(path);
        assert_eq!(code, 200, "{path}: {value}");
        let requests = value["requests"].as_array().expect("a list").iter();
        requests
            .map(|request| request["request_id"].as_str().unwrap_or("?")[15..].to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(ids("/v1/requests"), "2 1");
    assert_eq!(ids("/v1/requests?limit=1"), "2");
    assert_eq!(ids("/v1/requests?decision=block"), "1");
    assert_eq!(ids("/v1/requests?client=192.0.2.2"), "2");
    assert_eq!(served.json("/v1/requests/1").1["request_id"], "0000000000000001");
    assert_eq!(served.get("/v1/requests/3").0, 404);
    assert_eq!(served.get("/v1/requests/xyz").0, 400);
    assert_eq!(served.get("/v1/requests?limit=-1").0, 400);

    assert_eq!(
        served.json("/v1/sources?limit=2").1["sources"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(
        served.json("/v1/sources").1["sources"][0]["source"],
        "192.0.2.1/32"
    );
    let (_, alerts) = served.json("/v1/alerts");
    assert!(
        alerts["alerts"]
            .as_array()
            .is_some_and(|alerts| alerts.iter().all(|alert| alert["active"] == false))
    );
    chronicle.board.add("pulse", Duration::from_secs(1));
    assert_eq!(served.json("/v1/jobs").1["jobs"][0]["name"], "pulse");
}
