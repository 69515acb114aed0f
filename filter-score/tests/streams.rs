//! Streams: when verdicts fall, what the dispositions mean, what happens at the bounds.

use std::sync::{Arc, LazyLock};

use filter_score::{
    Disposition, Limits, Mode, OpaqueKind, OwnedDecision, PackSource, Policy, RuleSet, Scorer, Stream,
    Verdict, builtin_packs,
};

static RULES: LazyLock<Arc<RuleSet>> =
    LazyLock::new(|| Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile")));

const ATTACK: &[u8] = b"GET /?q=1%27+or+1=1-- HTTP/1.1\r\n";
const BENIGN: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n\r\n";

fn scorer(capacity: usize) -> Scorer {
    Scorer::new(Arc::clone(&RULES), Policy::default(), capacity)
}

fn feed(scorer: &mut Scorer, stream: &mut Stream, bytes: &[u8]) -> (Disposition, Vec<OwnedDecision>) {
    let mut decisions = Vec::new();
    let disposition = scorer.feed(stream, bytes, |decision| decisions.push(decision.to_owned()));
    (disposition, decisions)
}

#[test]
fn an_idle_stream_is_small() {
    assert!(size_of::<Stream>() <= 64, "{}", size_of::<Stream>());
}

#[test]
fn the_segment_that_completes_the_attack_is_blocked() {
    let mut scorer = scorer(1);
    let mut stream = Stream::new();
    let (last, before) = ATTACK.split_last().unwrap();
    assert_eq!(
        feed(&mut scorer, &mut stream, before),
        (Disposition::Accept, vec![])
    );
    let (disposition, decisions) = feed(&mut scorer, &mut stream, &[*last]);
    assert_eq!(disposition, Disposition::Block);
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].decision, Verdict::Block);
    assert!(!decisions[0].complete);
    assert_eq!(decisions[0].bytes, ATTACK.len() as u64);
    assert_eq!(decisions[0].rules[0].target, "query:q");
    assert_eq!(
        feed(&mut scorer, &mut stream, BENIGN),
        (Disposition::Block, vec![])
    );
    assert_eq!(scorer.available(), 1);
}

#[test]
fn what_is_blocked_is_not_read_in_other_ways_if_it_is_long() {
    // SQL as it stands; markup only where percent signs are decoded.
    let both = |length| {
        let padding = "a".repeat(length);
        format!("GET / HTTP/1.1\r\nX-A: {padding} 1' or 1=1-- %3Cscript%3Ealert(1)%3C/script%3E\r\n")
    };
    let families = |mode, length| {
        let policy = Policy {
            mode,
            ..Policy::default()
        };
        let mut scorer = Scorer::new(Arc::clone(&RULES), policy, 1);
        let (_, decisions) = feed(&mut scorer, &mut Stream::new(), both(length).as_bytes());
        let last = decisions.last().expect("it is an attack");
        assert_eq!(last.decision, Verdict::Block);
        last.categories.len()
    };
    assert_eq!((families(Mode::Block, 0), families(Mode::Detect, 0)), (2, 2));
    assert_eq!(
        (families(Mode::Block, 1000), families(Mode::Detect, 1000)),
        (1, 2)
    );
}

#[test]
fn a_parameter_is_judged_at_its_delimiter_while_the_body_goes_on() {
    let mut scorer = scorer(1);
    let mut stream = Stream::new();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10485760\r\n\r\n";
    assert_eq!(feed(&mut scorer, &mut stream, head).0, Disposition::Accept);
    assert_eq!(
        feed(&mut scorer, &mut stream, b"a=b&q=<script>alert(1)</script>").0,
        Disposition::Accept
    );
    assert_eq!(feed(&mut scorer, &mut stream, b"&").0, Disposition::Block);
}

#[test]
fn padding_does_not_hide_an_attack() {
    for padding in [8 << 10, 128 << 10, 1 << 20] {
        for media in [
            "text/plain",
            "application/json",
            "application/x-www-form-urlencoded",
        ] {
            let body = format!("a={}&q=1 union select password from users", "x".repeat(padding));
            let raw = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let (disposition, _) = feed(&mut scorer(1), &mut Stream::new(), raw.as_bytes());
            assert_eq!(disposition, Disposition::Block, "{padding} {media}");
        }
    }
}

#[test]
fn detect_mode_reports_and_accepts() {
    let policy = Policy {
        mode: Mode::Detect,
        ..Policy::default()
    };
    let mut scorer = Scorer::new(Arc::clone(&RULES), policy, 1);
    let mut stream = Stream::new();
    let raw = [ATTACK, b"Host: a\r\n\r\n", BENIGN].concat();
    let (disposition, decisions) = feed(&mut scorer, &mut stream, &raw);
    assert_eq!(disposition, Disposition::Accept);
    let verdicts: Vec<_> = decisions.iter().map(|decision| decision.decision).collect();
    assert_eq!(verdicts, [Verdict::Block, Verdict::Allow]);
}

#[test]
fn when_buffers_run_out_complete_requests_are_still_scored() {
    let mut scorer = scorer(1);
    let mut holder = Stream::new();
    assert_eq!(feed(&mut scorer, &mut holder, b"GET /").0, Disposition::Accept);
    assert_eq!(scorer.available(), 0);
    let mut other = Stream::new();
    let (disposition, decisions) = feed(&mut scorer, &mut other, BENIGN);
    assert_eq!((disposition, decisions.len()), (Disposition::Accept, 1));
    assert_eq!(feed(&mut scorer, &mut other, b"GET /").0, Disposition::Exhausted);
    assert_eq!(
        feed(&mut scorer, &mut other, b"x HTTP/1.1\r\n").0,
        Disposition::Unsynced
    );
    assert_eq!(
        feed(&mut scorer, &mut other, BENIGN).0,
        Disposition::Accept,
        "in step again"
    );
    scorer.release(&mut holder);
    assert_eq!(scorer.available(), 1);
}

#[test]
fn known_requests_get_the_same_decision_until_the_rules_change() {
    let mut scorer = scorer(1).with_cache(64, &[7; 16]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "b".repeat(300));
    for request in [BENIGN, long.as_bytes()] {
        let mut stream = Stream::new();
        let first = feed(&mut scorer, &mut stream, request);
        assert_eq!(first.1[0].decision, Verdict::Allow);
        let hits = scorer.cache_hits();
        for _ in 0..2 {
            assert_eq!(feed(&mut scorer, &mut stream, request), first);
        }
        assert_eq!(scorer.cache_hits(), hits + 2);
    }
    let hits = scorer.cache_hits();
    scorer.replace(Arc::clone(&RULES), Policy::default());
    feed(&mut scorer, &mut Stream::new(), BENIGN);
    assert_eq!(scorer.cache_hits(), hits, "forgotten with the old rules");
}

#[test]
fn only_clean_whole_requests_are_known() {
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let with_body = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    let no_host = b"GET / HTTP/1.1\r\n\r\n";
    let attack = [ATTACK, b"Host: a\r\n\r\n"].concat();
    let two = [BENIGN, BENIGN].concat();
    for request in [&upgrade[..], with_body, no_host, &attack, &two] {
        let mut scorer = scorer(4).with_cache(64, &[7; 16]);
        let first = feed(&mut scorer, &mut Stream::new(), request);
        assert_eq!(feed(&mut scorer, &mut Stream::new(), request), first);
        assert_eq!(scorer.cache_hits(), 0, "{}", request.escape_ascii());
    }
    // A known request is one only where a request begins.
    let mut scorer = scorer(1).with_cache(64, &[7; 16]);
    feed(&mut scorer, &mut Stream::new(), BENIGN);
    let mut stream = Stream::new();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n";
    feed(&mut scorer, &mut stream, head);
    assert!(feed(&mut scorer, &mut stream, BENIGN).1.is_empty(), "a body");
    let mut upgraded = Stream::new();
    feed(&mut scorer, &mut upgraded, upgrade);
    feed(&mut scorer, &mut upgraded, BENIGN);
    assert_eq!(scorer.cache_hits(), 0);
}

#[test]
fn known_header_lines_still_count() {
    let mut scorer = scorer(1).with_cache(64, &[7; 16]);
    let request = |lines: &str| format!("GET /{} HTTP/1.1\r\n{lines}\r\n", lines.len());
    let mut decide = |lines: &str| {
        let decision = feed(&mut scorer, &mut Stream::new(), request(lines).as_bytes())
            .1
            .remove(0);
        let rules: Vec<_> = decision.rules.iter().map(|hit| hit.id).collect();
        (rules, scorer.line_hits().0)
    };
    assert_eq!(decide("Host: a\r\nAccept: */*\r\n"), (vec![], 0));
    assert_eq!(decide("Accept: */*\r\nHost: a\r\n"), (vec![], 2));
    assert_eq!(
        decide("Host: a\r\nhost: b\r\nHost: a\r\n"),
        (vec![900_280], 3),
        "two hosts"
    );
    assert_eq!(
        decide(&("Host: a\r\n".to_owned() + &"Accept: */*\r\n".repeat(200))).0,
        [900_410],
        "too many"
    );
    // What says something about the message, or was found wanting, is looked at each time.
    let hits = decide("Host: a\r\nContent-Length: 0\r\nX: <script>alert(1)</script>\r\n").1;
    let (rules, now) = decide("Host: a\r\nContent-Length: 0\r\nX: <script>alert(1)</script>\r\n");
    assert!(!rules.is_empty());
    assert_eq!(now, hits + 1);
}

/// Known lines that end where the head has to end are not too many yet.
#[test]
fn known_lines_may_fill_the_head() {
    let policy = Policy {
        limits: Limits {
            head_bytes: 27,
            ..Limits::default()
        },
        ..Policy::default()
    };
    for cache in [0, 64] {
        let mut scorer = Scorer::new(Arc::clone(&RULES), policy, 1).with_cache(cache, &[7; 16]);
        let whole = feed(
            &mut scorer,
            &mut Stream::new(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        assert_eq!(whole.1[0].decision, Verdict::Allow);
        let mut stream = Stream::new();
        let full = feed(&mut scorer, &mut stream, b"GET /ab HTTP/1.1\r\nHost: a\r\n");
        assert_eq!((full.0, full.1.len()), (Disposition::Accept, 0), "cache {cache}");
        let more = feed(&mut scorer, &mut stream, b"\r\n");
        assert_eq!(more.1.len(), 1, "one byte too many");
        assert!(!more.1[0].rules.is_empty());
    }
}

#[test]
fn clean_fields_are_known_wherever_they_come_again() {
    let mut scorer = scorer(1).with_cache(64, &[7; 16]);
    let mut decide = |target: &str, body: &str| {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = scorer.field_hits().0;
        let decision = feed(&mut scorer, &mut Stream::new(), request.as_bytes())
            .1
            .remove(0);
        (decision.decision, scorer.field_hits().0 - before)
    };
    assert_eq!(decide("/a?b=O%27Neil", ""), (Verdict::Allow, 0));
    assert_eq!(
        decide("/c?b=O%27Neil", "{\"b\": \"O'Neil\"}"),
        (Verdict::Allow, 2)
    );
    assert_eq!(
        decide("/d?e=O%27Neil", "{\"b\": \"O'Neil\"}"),
        (Verdict::Allow, 3),
        "a value under another name, the rest of the body"
    );
    // Attacks are none, and in a request with one nothing is taken for known.
    for _ in 0..2 {
        let (verdict, known) = decide("/c?b=%3Cscript%3Ealert(1)%3C/script%3E", "");
        assert_eq!((verdict, known), (Verdict::Block, 2), "path and name");
    }
    // The same bytes with plus signs for spaces are another text.
    assert_eq!(decide("/", "{\"a\": \"1'+or+1=1--+\"}").0, Verdict::Block);
    assert_eq!(decide("/?a=1'+or+1=1--+", "").0, Verdict::Block);
}

#[test]
fn mid_stream_pickup_waits_for_a_request_line() {
    let mut scorer = scorer(1);
    let mut stream = Stream::resuming();
    for bytes in [&b"rest of a body"[..], b"GET", b"GETTER /x", b"GET x"] {
        assert_eq!(feed(&mut scorer, &mut stream, bytes).0, Disposition::Unsynced);
    }
    let (disposition, decisions) = feed(&mut scorer, &mut stream, BENIGN);
    assert_eq!((disposition, decisions.len()), (Disposition::Accept, 1));
}

#[test]
fn opaque_streams() {
    let table: &[(&[u8], OpaqueKind)] = &[
        (b"GET /\r\n", OpaqueKind::Http09),
        (
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x81\x85",
            OpaqueKind::Upgraded,
        ),
        (
            b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01",
            OpaqueKind::Upgraded,
        ),
    ];
    for (bytes, kind) in table {
        let mut scorer = scorer(1);
        let mut stream = Stream::new();
        assert_eq!(
            feed(&mut scorer, &mut stream, bytes).0,
            Disposition::Opaque(*kind),
            "{kind:?}"
        );
        assert_eq!(
            feed(&mut scorer, &mut stream, BENIGN).0,
            Disposition::Opaque(*kind)
        );
        assert_eq!(scorer.available(), 1);
    }
}

#[test]
fn an_upgrade_that_did_not_happen_hides_nothing() {
    let raw = [
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        ATTACK,
    ]
    .concat();
    assert_eq!(
        feed(&mut scorer(1), &mut Stream::new(), &raw).0,
        Disposition::Block
    );
}

#[test]
fn replacing_rules_spares_what_was_found() {
    let mut scorer = scorer(2);
    let mut stream = Stream::new();
    let half =
        b"POST /?x=..%2f..%2fadmin HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n";
    assert_eq!(feed(&mut scorer, &mut stream, half).0, Disposition::Accept);
    let pack = PackSource {
        name: "own.toml",
        text: "family = \"custom\"\n[[rule]]\nid = 1\nmessage = \"m\"\nseverity = \"warning\"\ntargets = [\"body\"]\nregex = 'forbidden'\nsamples.match = [\"forbidden\", \"a forbidden b\"]\nsamples.pass = [\"a\", \"b\"]",
    };
    let rules = Arc::new(RuleSet::compile(&[pack]).unwrap());
    let limits = Limits {
        window: 2048,
        ..Limits::default()
    };
    scorer.replace(
        rules,
        Policy {
            limits,
            ..Policy::default()
        },
    );
    let (disposition, decisions) = feed(&mut scorer, &mut stream, b"forbidden, forbidden");
    assert_eq!(
        disposition,
        Disposition::Block,
        "4 of the old rules and 3 of the new ones"
    );
    let ids: Vec<_> = decisions[0].rules.iter().map(|hit| hit.id).collect();
    assert_eq!(ids, [120_112, 1]);
    assert_eq!(scorer.available(), 2);
}

#[test]
fn binary_bodies_are_left_alone() {
    let mut state = 1u32;
    let body: Vec<u8> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for media in ["application/octet-stream", "image/png", "application/x-protobuf"] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let raw = [head.as_bytes(), &body].concat();
        let (_, decisions) = feed(&mut scorer(1), &mut Stream::new(), &raw);
        assert_eq!(decisions[0].anomaly, 0, "{}", decisions[0].explanation);
    }
}

#[test]
fn a_line_that_only_repeats_a_hit_is_not_known_to_be_clean() {
    let text = "family = \"custom\"\n[[rule]]\nid = 1\nmessage = \"m\"\nseverity = \"error\"\ntargets = [\"header\"]\n\
        regex = 'needle'\nsamples.match = [\"needle\", \"a needle\"]\nsamples.pass = [\"hay\", \"stack\"]\n";
    let rules = RuleSet::compile(&[PackSource {
        name: "test.toml",
        text,
    }])
    .expect("the pack compiles");
    let mut scorer = Scorer::new(Arc::new(rules), Policy::default(), 1).with_cache(64, &[7; 16]);
    for lines in ["A: needle\r\nB: needle\r\n", "B: needle\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (_, decisions) = feed(&mut scorer, &mut Stream::new(), request.as_bytes());
        assert_eq!(decisions[0].decision, Verdict::Suspicious, "{lines}");
    }
}

/// The head as it came, cut where the decision fell; behind that, what came in the same bytes.
#[test]
fn a_decision_shows_the_head() {
    let request = b"GET /?q=1%27+or+1=1-- HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\n\r\nrest";
    let end = request.len() - "rest".len();
    let mut shown = Vec::new();
    scorer(1).feed(&mut Stream::new(), request, |decision| {
        shown.push((
            decision.to_owned(),
            decision.to_owned().with_unseen(decision.unseen),
        ));
    });
    let [(cut, whole)] = &shown[..] else {
        panic!("{shown:?}")
    };
    assert_eq!(&*cut.head, ATTACK);
    assert_eq!(&*whole.head, &request[..end]);

    // A clean request, the first time and when it is known; a long head; and the second of two requests.
    let mut scorer = Scorer::new(Arc::clone(&RULES), Policy::default(), 1).with_cache(16, &[7; 16]);
    for _ in 0..2 {
        let (_, decisions) = feed(&mut scorer, &mut Stream::new(), BENIGN);
        assert_eq!(&*decisions[0].head, BENIGN);
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2000));
    let both = [BENIGN, long.as_bytes()].concat();
    let (_, decisions) = feed(&mut scorer, &mut Stream::new(), &both);
    assert_eq!(&*decisions[0].head, BENIGN);
    assert_eq!(&*decisions[1].head, &long.as_bytes()[..1024]);
}
