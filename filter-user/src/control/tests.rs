//! Client and server over a real socket, with an engine behind them.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use super::{
    testing::{Served, Tables, net},
    *,
};
use crate::{config::Level, latency::Stage};

fn say(stream: &mut BufReader<UnixStream>, text: &str) -> Versioned<Response> {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
    hear(stream)
}

fn hear(stream: &mut BufReader<UnixStream>) -> Versioned<Response> {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn refusal(response: Versioned<Response>) -> RefusalCode {
    match response.body {
        Response::Error(refusal) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

fn reload(confirm_within_s: Option<u64>) -> Request {
    Request::Reload {
        confirm_within_s,
        dry_run: false,
    }
}

#[test]
fn every_request_survives_json() {
    for request in [
        Request::Status {},
        Request::Block {
            target: net("192.0.2.0/24"),
            for_s: Some(60),
            reason: "\"quoted\"\n".into(),
        },
        Request::Block {
            target: net("2001:db8::/32"),
            for_s: None,
            reason: String::new(),
        },
        Request::BlockAll {
            targets: vec![net("192.0.2.7"), net("2001:db8::/32")],
            for_s: Some(1),
            reason: String::new(),
        },
        Request::Unblock {
            target: net("192.0.2.7"),
        },
        Request::Allow {
            target: net("192.0.2.7"),
            remove: true,
        },
        Request::Blocks(Page {
            after: Some(net("10.0.0.0/8")),
            limit: 3,
        }),
        Request::Allowed(Page::default()),
        Request::Latency { reset: true },
        reload(None),
        reload(Some(60)),
        Request::Reload {
            confirm_within_s: None,
            dry_run: true,
        },
        Request::Config {},
        Request::Feeds {},
        Request::RefreshFeeds { name: None },
        Request::RefreshFeeds {
            name: Some("drop".into()),
        },
        Request::Confirm {},
        Request::Revert {},
        Request::LogLevel {
            engine: Some(Level::Debug),
            ebpf: None,
        },
    ] {
        let json = serde_json::to_string(&Versioned::new(&request)).unwrap();
        assert!(
            json.starts_with(r#"{"v":1,"op":""#) && !json.contains('\n'),
            "{json}"
        );
        let back: Versioned<Request> = serde_json::from_str(&json).unwrap();
        assert_eq!(back.body, request);
    }
}

#[test]
fn every_answer_survives_the_socket() {
    let served = Served::start(ServerLimits::default());
    let mut client = served.client();
    let Response::Status(status) = client.ask(&Request::Status {}).unwrap() else {
        panic!("no status")
    };
    assert_eq!(*status, Tables::new().status());
    assert_eq!(status.packets("drop"), 3);
    assert_eq!(status.requests.total(), 3);

    let Response::Latency(latencies) = client.ask(&Request::Latency { reset: true }).unwrap() else {
        panic!("no latencies")
    };
    assert_eq!(latencies.merged(Stage::DriverToForwarded).len(), 1);
    let Response::Latency(latencies) = client.ask(&Request::Latency { reset: false }).unwrap() else {
        panic!("no latencies")
    };
    assert_eq!(latencies.merged(Stage::DriverToForwarded).len(), 0);

    let Err(ClientError::Refused(refused)) = client.ask(&reload(None)) else {
        panic!("not refused")
    };
    assert_eq!(refused.code, RefusalCode::Invalid);
    // An engine that panics costs its client an answer, not the server its life.
    let level = Request::LogLevel {
        engine: Some(Level::Debug),
        ebpf: None,
    };
    let Err(ClientError::Refused(refused)) = client.ask(&level) else {
        panic!("not refused")
    };
    assert_eq!(refused.code, RefusalCode::Failed);
    assert!(client.ask(&Request::Status {}).is_ok());
}

#[test]
fn a_reload_can_be_tried() {
    let served = Served::start(ServerLimits::default());
    let mut client = served.client();
    let mut code = |request: &Request| match client.ask(request) {
        Ok(_) => None,
        Err(ClientError::Refused(refusal)) => Some(refusal.code),
        Err(error) => panic!("{error}"),
    };
    for seconds in [0, 4, 3601, u64::MAX] {
        assert_eq!(
            code(&reload(Some(seconds))),
            Some(RefusalCode::BadRequest),
            "{seconds}"
        );
    }
    for end in [Request::Confirm {}, Request::Revert {}] {
        assert_eq!(code(&end), Some(RefusalCode::NotFound));
        for (seconds, other) in [(5, 3600), (3600, 5)] {
            assert_eq!(code(&reload(Some(seconds))), None);
            assert_eq!(code(&reload(Some(other))), Some(RefusalCode::OnTrial));
            assert_eq!(code(&reload(None)), Some(RefusalCode::OnTrial));
            assert_eq!(code(&end), None);
        }
    }
    // Older programs do not say whether they try it.
    let mut raw = served.raw();
    assert_eq!(
        refusal(say(&mut raw, "{\"v\":1,\"op\":\"reload\"}\n")),
        RefusalCode::Invalid
    );
}

#[test]
fn blocks_are_kept_listed_and_ended() {
    let served = Served::start(ServerLimits::default());
    let mut client = served.client();
    for i in 0..5 {
        let target = net(&format!("198.51.100.{i}"));
        let done = client
            .ask(&Request::Block {
                target,
                for_s: Some(60),
                reason: "x".into(),
            })
            .unwrap();
        assert_eq!(
            done,
            Response::Done {
                message: format!("198.51.100.{i} is blocked for 60 s")
            }
        );
    }
    let mut page = Page {
        after: None,
        limit: 2,
    };
    let mut seen = Vec::new();
    loop {
        let Response::Blocks { blocks } = client.ask(&Request::Blocks(page)).unwrap() else {
            panic!("no page")
        };
        assert!(blocks.len() <= 2);
        let Some(last) = blocks.last() else { break };
        page.after = Some(last.target);
        seen.extend(blocks);
    }
    assert_eq!(seen.len(), 5);
    client
        .ask(&Request::Unblock {
            target: net("198.51.100.3"),
        })
        .unwrap();
    let again = client.ask(&Request::Unblock {
        target: net("198.51.100.3"),
    });
    assert!(matches!(
        again,
        Err(ClientError::Refused(Refusal {
            code: RefusalCode::NotFound,
            ..
        }))
    ));

    client
        .ask(&Request::Allow {
            target: net("10.0.0.0/8"),
            remove: false,
        })
        .unwrap();
    let listed = client.ask(&Request::Allowed(Page::default())).unwrap();
    assert_eq!(
        listed,
        Response::Allowed {
            targets: vec![net("10.0.0.0/8")]
        }
    );
    client
        .ask(&Request::Allow {
            target: net("10.0.0.0/8"),
            remove: true,
        })
        .unwrap();
    assert!(
        client
            .ask(&Request::Allow {
                target: net("10.0.0.0/8"),
                remove: true
            })
            .is_err()
    );
}

#[test]
fn what_must_not_be_blocked_is_not() {
    let served = Served::start(ServerLimits::default());
    let mut client = served.client();
    for (target, for_s, reason, code) in [
        ("192.0.2.1", None, String::new(), RefusalCode::Protected),
        ("192.0.2.0/24", None, String::new(), RefusalCode::Protected),
        ("192.0.2.2", Some(0), String::new(), RefusalCode::BadRequest),
        (
            "192.0.2.2",
            None,
            "x".repeat(MAX_REASON_BYTES + 1),
            RefusalCode::BadRequest,
        ),
    ] {
        let asked = client.ask(&Request::Block {
            target: net(target),
            for_s,
            reason,
        });
        let Err(ClientError::Refused(refused)) = asked else {
            panic!("{target} was blocked")
        };
        assert_eq!(refused.code, code, "{target}");
    }
    // Host bits do not get an address around the list.
    let mut raw = served.raw();
    let sneaky = "{\"v\":1,\"op\":\"block\",\"target\":\"192.0.2.200/24\",\"for_s\":null}\n";
    assert_eq!(refusal(say(&mut raw, sneaky)), RefusalCode::Protected);
    let Response::Blocks { blocks } = client.ask(&Request::Blocks(Page::default())).unwrap() else {
        panic!("no page")
    };
    assert_eq!(blocks, []);
}

#[test]
fn nonsense_is_answered_and_the_connection_goes_on() {
    let served = Served::start(ServerLimits::default());
    let mut raw = served.raw();
    for (line, code) in [
        ("\n", RefusalCode::BadRequest),
        ("status\n", RefusalCode::BadRequest),
        ("{}\n", RefusalCode::BadRequest),
        ("{\"v\":2,\"op\":\"new_thing\"}\n", RefusalCode::Version),
        ("{\"v\":1,\"op\":\"new_thing\"}\n", RefusalCode::BadRequest),
        (
            "{\"v\":1,\"op\":\"status\",\"extra\":1}\n",
            RefusalCode::BadRequest,
        ),
        (
            "{\"v\":1,\"op\":\"block\",\"target\":\"x\"}\n",
            RefusalCode::BadRequest,
        ),
        ("{\"v\":1,\"op\":\"log_level\"}\n", RefusalCode::BadRequest),
        ("\u{0}\u{1}\n", RefusalCode::BadRequest),
    ] {
        assert_eq!(refusal(say(&mut raw, line)), code, "{line:?}");
    }
    raw.get_mut().write_all(&[0xff, b'\n']).unwrap();
    assert_eq!(refusal(hear(&mut raw)), RefusalCode::BadRequest);
    let deep = format!("{}\n", "[".repeat(60_000));
    assert_eq!(refusal(say(&mut raw, &deep)), RefusalCode::BadRequest);
    // Two requests in one write, the second in two.
    raw.get_mut()
        .write_all(b"{\"v\":1,\"op\":\"status\"}\n{\"v\":1,")
        .unwrap();
    assert!(matches!(hear(&mut raw).body, Response::Status(_)));
    assert!(matches!(
        say(&mut raw, "\"op\":\"status\"}\n").body,
        Response::Status(_)
    ));
}

#[test]
fn a_line_without_end_is_cut_off() {
    let served = Served::start(ServerLimits::default());
    let mut raw = served.raw();
    let sent = raw.get_mut().write_all(&vec![b' '; MAX_REQUEST_BYTES + 1]);
    assert!(sent.is_ok());
    assert_eq!(refusal(hear(&mut raw)), RefusalCode::TooLong);
    assert_eq!(raw.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");

    let mut longest = b"{\"v\":1,\"op\":\"status\"}".to_vec();
    longest.resize(MAX_REQUEST_BYTES - 1, b' ');
    longest.push(b'\n');
    let mut raw = served.raw();
    raw.get_mut().write_all(&longest).unwrap();
    assert!(matches!(hear(&mut raw).body, Response::Status(_)));
}

#[test]
fn too_many_clients_are_told_so() {
    let served = Served::start(ServerLimits {
        clients: 2,
        ..ServerLimits::default()
    });
    let mut clients = [served.client(), served.client()];
    for client in &mut clients {
        client.ask(&Request::Status {}).unwrap();
    }
    let asked = served.client().ask(&Request::Status {});
    assert!(
        matches!(
            asked,
            Err(ClientError::Refused(Refusal {
                code: RefusalCode::Busy,
                ..
            }))
        ),
        "{asked:?}"
    );
    let [first, mut second] = clients;
    drop(first);
    second.ask(&Request::Status {}).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while served.client().ask(&Request::Status {}).is_err() {
        assert!(Instant::now() < deadline, "the place is never free again");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn slow_clients_lose_their_place() {
    let limits = ServerLimits {
        clients: 2,
        idle: Duration::from_millis(150),
        write: Duration::from_millis(150),
    };
    let served = Served::start(limits);
    // One trickles its request, the other never reads its answers.
    let mut trickler = served.raw();
    let start = Instant::now();
    while trickler.get_mut().write_all(b" ").is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the trickler keeps its place"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let mut deaf = served.raw();
    deaf.get_mut()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let requests = "{\"v\":1,\"op\":\"status\"}\n".repeat(1_000);
    let start = Instant::now();
    while deaf.get_mut().write_all(requests.as_bytes()).is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the deaf client keeps its place"
        );
    }
    assert!(served.client().ask(&Request::Status {}).is_ok());
}

#[test]
fn a_missing_engine_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("none.sock")).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("portcullis run"), "{error}");
}

#[test]
fn the_longest_batch_of_blocks_fits_into_a_request() {
    let request = Request::BlockAll {
        targets: vec![net("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"); MAX_TARGETS],
        for_s: Some(u64::MAX),
        // As long as it gets in JSON.
        reason: "\u{1}".repeat(MAX_REASON_BYTES),
    };
    let line = serde_json::to_vec(&Versioned::new(&request)).unwrap();
    assert!(line.len() < MAX_REQUEST_BYTES, "{}", line.len());

    let served = Served::start(ServerLimits::default());
    let mut client = served.client();
    let Response::BlockedAll(blocked) = client.ask(&request).unwrap() else {
        panic!("not blocked")
    };
    assert_eq!(blocked.blocked, MAX_TARGETS as u64);
    let request = Request::BlockAll {
        targets: vec![net("192.0.2.7"); MAX_TARGETS + 1],
        for_s: None,
        reason: String::new(),
    };
    let Err(ClientError::Refused(refused)) = client.ask(&request) else {
        panic!("not refused")
    };
    assert_eq!(refused.code, RefusalCode::BadRequest);
}
