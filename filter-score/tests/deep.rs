//! The second tier: what it is given, and what it makes of it.

use std::sync::Arc;

use filter_score::{
    DeepJob, DeepScorer, DeepVerdict, Disposition, Exclusion, Glob, Mode, Model, OfflineScorer,
    OwnedDecision, PackSource, Policies, Policy, RuleSet, Scorer, SecondLook, Stream, Tuning, Verdict,
    percent_encode,
};

const PACK: &str = r#"
family = "sqli"

[[rule]]
id = 1
message = "a doubtful word"
severity = "error"
targets = ["inputs"]
regex = 'doubtful'
samples.match = ["doubtful", "a doubtful one"]
samples.pass = ["clear", "sure"]

[[rule]]
id = 2
message = "a bad word that few decodings reveal"
severity = "critical"
targets = ["inputs"]
regex = '<evil>'
samples.match = ["<evil>", "an <evil> one"]
samples.pass = ["evil", "good"]

[[rule]]
id = 3
message = "a word that proves little"
severity = "warning"
paranoia = 2
targets = ["inputs"]
regex = 'perhaps'
samples.match = ["perhaps", "or perhaps"]
samples.pass = ["never", "always"]

[[rule]]
id = 4
message = "a word that proves next to nothing"
severity = "warning"
paranoia = 4
targets = ["inputs"]
regex = 'maybe'
samples.match = ["maybe", "or maybe"]
samples.pass = ["never", "always"]
"#;

fn rules() -> Arc<RuleSet> {
    let source = PackSource {
        name: "test.toml",
        text: PACK,
    };
    Arc::new(RuleSet::compile(&[source]).expect("the pack compiles"))
}

fn policies() -> Policies {
    Policies::single(rules(), Policy::default())
}

fn get(query: &str) -> Vec<u8> {
    format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn offline(query: &str, policy: Policy) -> OwnedDecision {
    OfflineScorer::new(rules(), policy).score_request(&get(query))
}

#[test]
fn what_the_first_tier_suspects_the_second_decides() {
    // Query, verdict with and without the second tier.
    let cases = [
        ("q=clear", Verdict::Allow, Verdict::Allow),
        // Nothing more is found: it stays suspicious.
        ("q=doubtful", Verdict::Suspicious, Verdict::Suspicious),
        // 4 + 3/2.
        ("q=doubtful+or+perhaps", Verdict::Block, Verdict::Suspicious),
        // 4 + 3/8.
        ("q=doubtful+or+maybe", Verdict::Suspicious, Verdict::Suspicious),
        // 4 + 3/2 + 3/8: sums are of whole points.
        ("q=doubtful+maybe+perhaps", Verdict::Block, Verdict::Suspicious),
        // Entity, then percent-encoding: an order that the first tier does not try.
        ("q=doubtful+%26%2337;3Cevil>", Verdict::Block, Verdict::Suspicious),
        // Without a doubt there is no second look, whatever the field holds.
        ("q=perhaps+%26%2337;3Cevil>", Verdict::Allow, Verdict::Allow),
        // Only doubtful fields are looked at again...
        ("q=doubtful&r=perhaps", Verdict::Suspicious, Verdict::Suspicious),
        // ...and a field with the same word is as doubtful as the first.
        (
            "q=doubtful&r=doubtful+perhaps",
            Verdict::Block,
            Verdict::Suspicious,
        ),
        // Certain at once.
        ("q=<evil>", Verdict::Block, Verdict::Block),
    ];
    for (query, both, first) in cases {
        assert_eq!(offline(query, Policy::default()).decision, both, "{query}");
        let alone = Policy {
            deep: false,
            ..Policy::default()
        };
        assert_eq!(offline(query, alone).decision, first, "{query}, alone");
    }
}

#[test]
fn at_a_higher_paranoia_level_its_rules_count_in_full() {
    let policy = Policy {
        paranoia: 3,
        anomaly: 7,
        block: 0.9,
        ..Policy::default()
    };
    // 4 + 3/2.
    assert_eq!(offline("q=doubtful+maybe", policy).decision, Verdict::Suspicious);
    // 4 + 3 in the first tier.
    assert_eq!(offline("q=doubtful+perhaps", policy).decision, Verdict::Block);
}

#[test]
fn a_second_look_explains_itself() {
    let decision = offline("q=doubtful+or+perhaps", Policy::default());
    assert_eq!(decision.anomaly, 5);
    assert!(decision.score > 0.7 && decision.score < 0.8, "{}", decision.score);
    assert_eq!(
        decision.rules.iter().map(|rule| rule.id).collect::<Vec<_>>(),
        [1, 3]
    );
    let (first, second) = decision
        .explanation
        .split_once("; on a second look: ")
        .expect("both tiers have something to say");
    assert!(
        first.contains("sqli 1") && second.contains("sqli 3"),
        "{first} | {second}"
    );
}

/// Feeds a stream as the engine does, in segments of `size` bytes, and says what became of it.
fn online(stream: &[u8], size: usize) -> (Vec<(Verdict, f32)>, usize) {
    let mut scorer = Scorer::new(rules(), Policy::default(), 2);
    let mut deep = DeepScorer::new(&policies(), 16, &[1; 16]);
    let (mut job, mut verdict) = (DeepJob::default(), DeepVerdict::default());
    let (mut decided, mut forwarded) = (Vec::new(), 0);
    let mut parser = Stream::new();
    for segment in stream.chunks(size) {
        let mut at = 0;
        loop {
            let mut last = None;
            let disposition = scorer.feed(&mut parser, &segment[at..], |decision| {
                if decision.is_undecided() {
                    decision.copy_doubts(&mut job);
                    last = Some(decision.to_owned());
                } else {
                    decided.push((decision.verdict, decision.score));
                }
            });
            match disposition {
                Disposition::Accept => break,
                Disposition::Undecided { taken } => {
                    at += taken;
                    deep.score(&job, &mut verdict);
                    let mut decision = last.expect("what is undecided was reported");
                    decision.settle(&verdict);
                    decided.push((decision.decision, decision.score));
                    if verdict.block {
                        return (decided, forwarded);
                    }
                }
                Disposition::Block => return (decided, forwarded),
                other => panic!("{other:?}"),
            }
        }
        forwarded += segment.len();
    }
    (decided, forwarded)
}

#[test]
fn decisions_do_not_depend_on_segments_and_agree_with_those_offline() {
    let queries = [
        "q=clear",
        "q=doubtful",
        "q=doubtful+maybe",
        "q=doubtful",
        "a=doubtful&b=doubtful+perhaps",
        "q=clear",
    ];
    let stream: Vec<u8> = queries.iter().flat_map(|query| get(query)).collect();
    let end: usize = queries[..5].iter().map(|query| get(query).len()).sum();
    let expected: Vec<_> = queries[..5]
        .iter()
        .map(|query| offline(query, Policy::default()))
        .map(|decision| (decision.decision, decision.score))
        .collect();
    assert_eq!(expected[4].0, Verdict::Block);
    for size in 1..=stream.len() {
        let (decided, forwarded) = online(&stream, size);
        assert_eq!(decided, expected, "segments of {size}");
        assert_eq!(
            forwarded,
            (end - 1) / size * size,
            "all before the segment that completes the attack"
        );
    }
}

#[test]
fn nothing_waits_where_nothing_is_blocked() {
    for (mode, deep) in [(Mode::Detect, true), (Mode::Block, false)] {
        let policy = Policy {
            mode,
            deep,
            ..Policy::default()
        };
        let mut scorer = Scorer::new(rules(), policy, 1);
        let mut stream = Stream::new();
        let mut undecided = Vec::new();
        let disposition = scorer.feed(&mut stream, &get("q=doubtful"), |decision| {
            undecided.push(decision.is_undecided());
        });
        assert_eq!((disposition, undecided), (Disposition::Accept, vec![deep]));
    }
}

#[test]
fn a_request_that_the_end_of_the_stream_cuts_short_is_looked_at_again_too() {
    let mut scorer = Scorer::new(rules(), Policy::default(), 1);
    let mut look = SecondLook::new(&policies());
    let mut stream = Stream::new();
    let start = b"GET /?q=doubtful+perhaps HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(scorer.feed(&mut stream, start, |_| ()), Disposition::Accept);
    let mut decided = None;
    let disposition = scorer.finish(&mut stream, |decision| decided = Some(look.decide(decision)));
    assert_eq!(disposition, Disposition::Undecided { taken: 0 });
    assert_eq!(decided.expect("it is reported").decision, Verdict::Block);
    assert_eq!(scorer.finish(&mut stream, |_| ()), Disposition::Accept);
}

fn job(query: &str) -> DeepJob {
    let mut job = DeepJob::default();
    let mut stream = Stream::new();
    let disposition = Scorer::new(rules(), Policy::default(), 1).feed(&mut stream, &get(query), |decision| {
        decision.copy_doubts(&mut job);
    });
    assert!(matches!(disposition, Disposition::Undecided { .. }), "{query}");
    job
}

#[test]
fn what_is_known_is_what_was_computed() {
    let mut deep = DeepScorer::new(&policies(), 64, &[7; 16]);
    let queries = [
        "q=doubtful",
        "r=doubtful",
        "q=doubtful+perhaps",
        "q=doubtful+%26%2337;3Cevil>",
    ];
    let score = |deep: &mut DeepScorer, query| {
        let mut verdict = DeepVerdict::default();
        deep.score(&job(query), &mut verdict);
        format!("{verdict:?}")
    };
    let first: Vec<_> = queries.iter().map(|query| score(&mut deep, query)).collect();
    assert_eq!(deep.known(), 0, "names and bytes tell them apart");
    let again: Vec<_> = queries.iter().map(|query| score(&mut deep, query)).collect();
    assert_eq!((first, deep.known()), (again, 4));

    // Other rules: nothing is known, and nothing is found.
    let none = RuleSet::compile(&[]).expect("no rules are rules");
    deep.replace(&Policies::single(Arc::new(none), Policy::default()));
    let mut verdict = DeepVerdict::default();
    deep.score(&job("q=doubtful+perhaps"), &mut verdict);
    assert_eq!((verdict.block, deep.known()), (false, 4));
}

#[test]
fn fields_that_do_not_fit_are_said_to_be_cut() {
    assert!(!job("q=doubtful").is_cut());
    let many: Vec<_> = (0..9).map(|number| format!("q{number}=doubtful")).collect();
    assert!(!job(&many[..8].join("&")).is_cut());
    assert!(job(&many.join("&")).is_cut());
    assert!(job(&format!("q=doubtful{}", "+x".repeat(2000))).is_cut());
}

#[test]
fn exclusions_hold_in_both_tiers() {
    let exclusion = Exclusion {
        reason: "they write like that".to_owned(),
        rules: vec![3..=3],
        names: vec![Glob::new("q").expect("a pattern")],
        ..Exclusion::default()
    };
    let tuning = Tuning {
        exclusions: vec![exclusion],
        ..Tuning::default()
    };
    let policies = Policies::compile(rules(), &tuning, &[]).expect("the exclusion is right");
    let mut offline = OfflineScorer::with_policies(policies.clone());
    for (query, expected) in [
        ("q=doubtful+perhaps", Verdict::Suspicious),
        ("%71=doubtful+perhaps", Verdict::Suspicious),
        ("r=doubtful+perhaps", Verdict::Block),
        ("q=doubtful+perhaps&r=doubtful+perhaps", Verdict::Block),
    ] {
        assert_eq!(offline.score_request(&get(query)).decision, expected, "{query}");
    }

    // Found under the exclusions of other policies than those in force: nobody can say what they exclude.
    let mut job = DeepJob::default();
    let mut scorer = Scorer::with_policies(Arc::new(policies.clone()), 1);
    let request = get("r=doubtful+perhaps&q=doubtful");
    scorer.feed(&mut Stream::new(), &request, |decision| {
        decision.copy_doubts(&mut job);
    });
    let mut verdict = DeepVerdict::default();
    for (policies, block) in [(policies, true), (self::policies(), false)] {
        DeepScorer::new(&policies, 16, &[7; 16]).score(&job, &mut verdict);
        assert_eq!(verdict.block, block);
        assert!(verdict.score > 0.5, "what the first tier found stays");
    }
}

#[test]
fn what_the_model_suspects_in_the_first_tier_is_not_counted_again() {
    let source = PackSource {
        name: "test.toml",
        text: PACK,
    };
    let model = Model::builtin().expect("it is sound");
    let rules = RuleSet::compile(&[source])
        .expect("the pack compiles")
        .with_model(Some(Arc::new(model)));
    let policy = Policy {
        block: 1.0,
        anomaly: 100,
        ..Policy::default()
    };
    let policies = Policies::single(Arc::new(rules), policy);
    let mut first = Scorer::with_policies(Arc::new(policies.clone()), 1);
    let mut deep = DeepScorer::new(&policies, 0, &[7; 16]);
    for value in ["doubtful ' or '1", "doubtful &#37;27--"] {
        let mut request = b"GET /?q=".to_vec();
        percent_encode(value.as_bytes(), &mut request);
        request.extend(b" HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut job, mut verdict, mut score) = (DeepJob::default(), DeepVerdict::default(), 0.0);
        first.feed(&mut Stream::new(), &request, |decision| {
            score = decision.score;
            decision.copy_doubts(&mut job);
        });
        deep.score(&job, &mut verdict);
        assert!(
            score > filter_score::score(3) + 0.01,
            "the model has a say: {score}"
        );
        assert!(
            (verdict.score - score).abs() < 0.02,
            "{} after {score}",
            verdict.score
        );
    }
}

#[test]
fn a_reload_in_the_middle_of_a_request_excludes_what_the_new_policy_says() {
    let policies = |rule: u32, name: &str| {
        let exclusion = Exclusion {
            reason: "they write like that".to_owned(),
            rules: vec![rule..=rule],
            names: vec![Glob::new(name).expect("a pattern")],
            ..Exclusion::default()
        };
        let tuning = Tuning {
            exclusions: vec![exclusion],
            ..Tuning::default()
        };
        Policies::compile(rules(), &tuning, &[]).expect("the exclusion is right")
    };
    for (name, block) in [("other", true), ("q", false)] {
        // The first policy's only exclusion holds for the field, the second one's is about another rule.
        let (before, after) = (policies(4, "q"), policies(3, name));
        let mut look = SecondLook::new(&after);
        let mut scorer = Scorer::with_policies(Arc::new(before), 1);
        let mut stream = Stream::new();
        let request = get("q=doubtful+perhaps");
        let (head, end) = request.split_at(request.len() - 2);
        scorer.feed(&mut stream, head, |_| ());
        scorer.replace_all(Arc::new(after));
        let mut decided = None;
        scorer.feed(&mut stream, end, |decision| decided = Some(look.decide(decision)));
        let decision = decided.expect("the request has ended");
        assert_eq!(
            decision.decision == Verdict::Block,
            block,
            "{}",
            decision.explanation
        );
    }
}
