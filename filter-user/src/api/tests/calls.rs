//! Calls made from the document about the API: right ones, and ones that are wrong in every way a client can be.

mod made;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
};

use jsonschema::Validator;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::*;
use crate::api::openapi::tests::of_now;
use made::{Call, Operation, call, operations};

/// Calls of one run.
const CALLS: u32 = 600;
/// Bodies larger than this may be refused before they are read.
const MAX_READ: usize = 64 << 10;

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Sends a call. None, if a body that is too large was refused before all of it was sent.
fn send(served: &Served, call: &Call) -> Option<Answer> {
    let mut stream = served.connect();
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
        call.method,
        call.target,
        call.fields,
        call.body.len()
    );
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&call.body));
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) => {
                // What nobody wants to read of a body ends the connection, after the answer.
                let is_early = error.kind() == io::ErrorKind::ConnectionReset
                    && (call.body.len() > MAX_READ || !all.is_empty());
                assert!(is_early, "no answer: {error}");
                0
            }
        };
        all.extend_from_slice(&buffer[..count]);
        // Messages come without an end.
        let head = &all[..all.len().min(1000)];
        let is_stream = head
            .windows(31)
            .any(|window| window == b"content-type: text/event-stream");
        if count == 0 || is_stream {
            break;
        }
    }
    if all.is_empty() && call.body.len() > MAX_READ {
        return None;
    }
    sent.ok();
    let end = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(all[..end].to_vec()).expect("a head of text");
    if head.starts_with("HTTP/1.1 100") {
        let rest = Call {
            fields: String::new(),
            ..call.clone()
        };
        return send(served, &rest);
    }
    Some(Answer {
        status: status_of(&head),
        head: head.to_lowercase(),
        body: all[end + 4..].to_vec(),
    })
}

/// What the document says of an answer, compiled once.
#[derive(Default)]
struct Schemas(HashMap<(String, String, u16), Validator>);

impl Schemas {
    fn check(&mut self, operation: &Operation, status: u16, schema: &Value, body: &Value) {
        let key = (operation.method.clone(), operation.path.clone(), status);
        let validator = self.0.entry(key).or_insert_with(|| {
            let whole = json!({ "allOf": [schema], "components": of_now()["components"] });
            jsonschema::validator_for(&whole).expect("a schema")
        });
        let wrong: Vec<_> = validator
            .iter_errors(body)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{status} {wrong:?} in {body}");
    }
}

fn judge(schemas: &mut Schemas, call: &Call, answer: &Answer) {
    let Answer { status, head, body } = answer;
    assert_ne!(*status, 500, "{}", String::from_utf8_lossy(body));
    let problem = || -> Value {
        let problem: Value = serde_json::from_slice(body).expect("a problem");
        let is_told = |key: &str| problem[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_told("error") && is_told("remedy"), "{problem}");
        problem
    };
    if call.method == "HEAD" {
        assert!(body.is_empty());
        return;
    }
    if call.method != call.operation.method {
        // Another documented method of the path is as good as this one.
        let path = &of_now()["paths"][&call.operation.path];
        if path.get(call.method.to_ascii_lowercase()).is_none() || call.method == "get" {
            assert_eq!(*status, 405);
            problem();
        }
        return;
    }
    let documented = &call.operation.about["responses"][status.to_string()];
    assert!(
        !documented.is_null(),
        "{status} is not documented: {}",
        String::from_utf8_lossy(body)
    );
    if *status >= 400 && !body.starts_with(b"{\"status\"") {
        problem();
    }
    if head.contains("text/event-stream") {
        return;
    }
    let media = documented["content"].as_object().expect("media types");
    let is_named = |name: &&String| head.contains(&format!("content-type: {name}"));
    let name = media
        .keys()
        .find(is_named)
        .unwrap_or_else(|| panic!("another media type: {head}"));
    if name == "application/json" {
        let body = serde_json::from_slice(body).expect("JSON");
        schemas.check(&call.operation, *status, &media[name]["schema"], &body);
    }
}

#[test]
fn whatever_is_asked_the_answer_is_as_documented() {
    let served = served(&patient());
    // Rules are compiled now, and not in the time of some call.
    assert_eq!(post(&served, "/v1/check", BENIGN).0, 200);
    let config = Config {
        cases: CALLS,
        failure_persistence: None,
        ..Config::default()
    };
    let schemas = RefCell::new(Schemas::default());
    let seen = RefCell::new(BTreeSet::new());
    let calls = (0..operations().len()).prop_flat_map(|i| call(operations().swap_remove(i)));
    TestRunner::new(config)
        .run(&calls, |call| {
            let began = Instant::now();
            if let Some(answer) = send(&served, &call) {
                judge(&mut schemas.borrow_mut(), &call, &answer);
                seen.borrow_mut().insert(answer.status);
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "it took {:?}",
                began.elapsed()
            );
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let usual = BTreeSet::from([200, 201, 400, 404, 405, 413, 415, 422]);
    assert!(
        seen.borrow().is_superset(&usual),
        "only {seen:?}: these calls try little"
    );
    assert_eq!(served.get("/health").0, 200);
}
