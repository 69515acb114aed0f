//! Recorded requests.

use std::sync::Arc;

use filter_score::{Family, Model, OfflineScorer, Policy, RequestParts, RuleSet, Verdict, builtin_packs};

fn scorer() -> OfflineScorer {
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    OfflineScorer::new(Arc::new(rules), Policy::default())
}

#[test]
fn parts_become_a_request() {
    let parts = RequestParts {
        method: "POST",
        path: "/a?x=1",
        query_params: &[("q", "a b&c")],
        headers: &[("X-Y", "z")],
        body: b"hello",
    };
    assert_eq!(
        String::from_utf8(parts.to_bytes()).unwrap(),
        "POST /a?x=1&q=a%20b%26c HTTP/1.1\r\nHost: localhost\r\nX-Y: z\r\nContent-Length: 5\r\n\r\nhello"
    );
    let empty = RequestParts::default().to_bytes();
    assert_eq!(empty, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

#[test]
fn a_block_explains_itself() {
    let parts = RequestParts {
        query_params: &[("q", "1' or 1=1--")],
        ..RequestParts::default()
    };
    let decision = scorer().score_request(&parts.to_bytes());
    assert_eq!(decision.decision, Verdict::Block);
    assert_eq!(decision.categories, [Family::Sqli]);
    assert!(decision.anomaly >= 5 && decision.score >= 0.7);
    assert!(
        decision
            .explanation
            .contains("in query:q: comparison of constants: 1\\' or 1=1"),
        "{}",
        decision.explanation
    );
    assert!(
        decision
            .rules
            .iter()
            .all(|hit| hit.target == "query:q" && hit.decoding == "url")
    );
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!(json["decision"], "block");
    assert_eq!(json["categories"][0], "sqli");
}

#[test]
fn what_does_not_parse_gets_a_decision_too() {
    let mut scorer = scorer();
    for raw in [
        &b""[..],
        b"\r\n",
        b"\x16\x03\x01",
        b"GET",
        b"GET / HTTP/1.1\r\nHost: a",
        b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    ] {
        let decision = scorer.score_request(raw);
        assert_eq!(
            decision.categories,
            [Family::Protocol],
            "{raw:?}: {}",
            decision.explanation
        );
    }
}

#[test]
fn what_is_remembered_changes_no_decision() {
    let model = Model::builtin().expect("the built-in model is sound");
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let rules = Arc::new(rules.with_model(Some(Arc::new(model))));
    let mut plain = OfflineScorer::new(Arc::clone(&rules), Policy::default());
    let mut remembering = OfflineScorer::new(rules, Policy::default()).with_cache(64, &[7; 16]);
    let values = [
        "garden chairs",
        "1' or 1=1--",
        "select a table from the catalogue",
        "<b>bold</b>",
        "../../etc/passwd",
        "..",
    ];
    // Each beside each, so that what is found stands behind what is known, and the other way round.
    for (first, second) in values
        .iter()
        .flat_map(|first| values.map(|second| (first, second)))
    {
        let body = format!("{{\"text\":\"{second}\",\"more\":[\"{first}\"]}}");
        let parts = RequestParts {
            method: "POST",
            path: "/notes",
            query_params: &[("q", first), ("r", second)],
            headers: &[
                ("User-Agent", "Mozilla/5.0"),
                ("Referer", second),
                ("Content-Type", "application/json"),
            ],
            body: body.as_bytes(),
        };
        let bytes = parts.to_bytes();
        let expected = serde_json::to_value(plain.score_request(&bytes)).unwrap();
        for time in 0..3 {
            let decision = serde_json::to_value(remembering.score_request(&bytes)).unwrap();
            assert_eq!(decision, expected, "{first}, {second}, time {time}");
        }
    }
}
