//! The document about the API, and the API.

use std::collections::BTreeSet;

use super::*;
use crate::api::openapi::tests::of_now;

/// Every path of the router, as the document writes it.
fn routes() -> BTreeSet<String> {
    let engine: Arc<dyn Engine> = Arc::new(Tables::new());
    let settings = config::Api::default();
    let judging = Arc::clone(&engine);
    let policies: Arc<check::InForce> = Arc::new(move || judging.policies());
    let checks = check::router(&settings.check, &policies).expect("started");
    let live = crate::api::events::Live::new(engine.chronicle().hub, &config::Events::default());
    let context = Context {
        engine,
        protected: Arc::new(Protected::configured(&[])),
        heartbeat_timeout: Duration::from_secs(1),
    };
    // A router has no other list of its paths than this.
    let text = format!("{:?}", router::new(context, checks, live, Duration::from_secs(1)));
    let is_path = |word: &&str| word.starts_with('/') && word.len() > 1 && !word.contains("__private");
    let paths = text.split('"').filter(is_path);
    paths.map(|path| path.replace("{*", "{")).collect()
}

#[test]
fn the_document_has_every_path_and_no_other() {
    let paths = of_now()["paths"].as_object().expect("paths");
    let documented: BTreeSet<_> = paths.keys().cloned().collect();
    assert_eq!(routes(), documented);
}

#[test]
fn the_document_has_every_method_and_no_other() {
    let served = served(&config::Api::default());
    for (path, methods) in of_now()["paths"].as_object().expect("paths") {
        let path = path.replace("{target}", "nobody").replace("{id}", "1");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            if path == "/v1/events" && method == "GET" {
                // It does not end.
                continue;
            }
            let answer = served.say(&request(method, &path, JSON, ""));
            let is_documented = methods.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(
                status_of(&answer) != 405,
                is_documented,
                "{method} {path}: {answer}"
            );
            assert!(
                is_documented || answer.contains("\"remedy\":"),
                "{method} {path}: {answer}"
            );
        }
    }
}

#[test]
fn the_document_is_told() {
    let served = served(&config::Api::default());
    let (status, document) = served.json("/v1/openapi.json");
    assert_eq!((status, &document), (200, of_now()));
}
