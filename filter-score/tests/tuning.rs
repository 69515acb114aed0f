//! What operators tune: exclusions, paranoia levels and policies of single services.

use std::sync::{Arc, LazyLock};

use filter_score::{
    Disposition, Exclusion, Family, Glob, Limits, Mode, Model, OfflineScorer, OpaqueKind, OwnedDecision,
    PackSource, PathPattern, Policies, Policy, RuleSet, Scorer, Stream, TargetSet, Tuning, Verdict,
    builtin_packs,
};
use proptest::prelude::*;

/// `attack` at level 1, `oddity` at level 2 and `rarity` at level 3.
const PACK: &str = r#"
family = "sqli"
[[rule]]
id = 1
message = "Attack"
severity = "critical"
targets = ["inputs"]
tags = ["language", "quotes"]
regex = 'attack'
samples.match = ["attack", "an attack"]
samples.pass = ["a tack", "ack"]

[[rule]]
id = 2
message = "Oddity"
severity = "error"
family = "xss"
paranoia = 2
targets = ["inputs"]
tags = ["language"]
regex = 'oddity'
samples.match = ["oddity", "an oddity"]
samples.pass = ["odd", "it"]

[[rule]]
id = 3
message = "Rarity"
severity = "critical"
family = "cmdi"
paranoia = 3
targets = ["inputs"]
regex = 'rarity'
samples.match = ["rarity", "a rarity"]
samples.pass = ["rare", "ity"]
"#;

fn rules(text: &str) -> Arc<RuleSet> {
    Arc::new(
        RuleSet::compile(&[PackSource {
            name: "own.toml",
            text,
        }])
        .expect("the pack compiles"),
    )
}

fn policies(exclusions: Vec<Exclusion>) -> Result<Policies, String> {
    let tuning = Tuning {
        policy: Policy::default(),
        exclusions,
        ..Tuning::default()
    };
    Policies::compile(rules(PACK), &tuning, &[]).map_err(|errors| {
        errors
            .iter()
            .map(|(_, error)| error.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// An exclusion of everything for a reason, to be narrowed.
fn reason() -> Exclusion {
    Exclusion {
        reason: "known".to_owned(),
        ..Exclusion::default()
    }
}

fn score(policies: &Policies, source: &str, raw: &str) -> OwnedDecision {
    OfflineScorer::with_policies(policies.clone())
        .from_source(Some(source.parse().expect("an address")), 0)
        .score_request(raw.as_bytes())
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// An exclusion in short: `rules=1-9 tags=a path=/b name=q target=form source=192.0.2.0/24`.
fn exclusion(text: &str) -> Exclusion {
    let mut exclusion = reason();
    for (key, value) in text.split_whitespace().filter_map(|part| part.split_once('=')) {
        match key {
            "rules" => {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                exclusion
                    .rules
                    .push(first.parse().expect("an id")..=last.parse().expect("an id"));
            }
            "tag" => exclusion.tags.push(value.to_owned()),
            "family" => {
                let family = Family::ALL.iter().find(|family| family.name() == value);
                exclusion.families.push(*family.expect("a family"));
            }
            "path" => exclusion.paths.push(PathPattern::new(value).expect("a path")),
            "name" => exclusion.names.push(Glob::new(value).expect("a name")),
            "target" => exclusion.targets = TargetSet::parse(value).expect("a target"),
            "source" => exclusion.sources.push(value.parse().expect("a network")),
            _ => panic!("{key}"),
        }
    }
    exclusion
}

#[test]
fn hits_are_excluded_where_all_conditions_hold() {
    let form = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 8\r\n\r\nq=attack";
    let header = "GET / HTTP/1.1\r\nHost: a\r\nx-note: attack\r\n\r\n";
    let cookie = "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; sid=attack\r\n\r\n";
    // The exclusion, the request (a target, or all of it), and whether the hit is excluded.
    let table = [
        ("rules=1", "/?q=attack", true),
        ("rules=1-2", "/?q=attack", true),
        ("rules=2-9", "/?q=attack", false),
        ("rules=2 rules=1", "/?q=attack", true),
        ("tag=quotes", "/?q=attack", true),
        ("family=xss", "/?q=attack", false),
        ("family=sqli tag=language", "/?q=attack", true),
        ("path=/wiki", "/wiki/a?q=attack", true),
        ("path=/wiki", "/wikia?q=attack", false),
        ("path=/wiki", "/%77iki?q=attack", true),
        ("path=/wiki", "/wiki/%2e%2e/a?q=attack", false),
        ("path=/wiki", "/wiki/..;/a?q=attack", false),
        ("path=/wiki", "/a/../wiki?q=attack", true),
        ("path=/wiki", "http://a/wiki?q=attack", true),
        ("path=/wiki/*/edit", "/wiki/x/edit?q=attack", true),
        ("path=/wiki path=*.php", "/a.php?q=attack", true),
        ("path=/p target=form", form, true),
        ("path=/q target=form", form, false),
        ("target=form", "/?q=attack", false),
        ("target=args", "/?q=attack", true),
        ("target=query-name", "/?attack=q", true),
        ("name=q", "/?q=attack", true),
        ("name=q", "/?p=attack", false),
        ("name=Q", "/?q=attack", false),
        ("name=user[*]", "/?user%5Bn%5D=attack", true),
        ("name=X-Note target=header", header, true),
        ("name=X-Note target=cookie", header, false),
        ("name=sid target=cookie", cookie, true),
        ("source=192.0.2.0/24", "/?q=attack", true),
        ("source=198.51.100.0/24", "/?q=attack", false),
        ("source=2001:db8::/32 source=192.0.2.7/32", "/?q=attack", true),
        (
            "rules=1 path=/p name=q target=query source=192.0.2.0/24",
            "/p?q=attack",
            true,
        ),
        (
            "rules=1 path=/p name=q target=query source=192.0.2.0/24",
            "/p?r=attack",
            false,
        ),
        // The rule goes on looking: what it finds elsewhere counts.
        ("name=q", "/?q=attack&p=attack", false),
    ];
    for (text, request, excluded) in table {
        let policies = policies(vec![exclusion(text)]).expect(text);
        let raw = if request.contains("HTTP") {
            request.to_owned()
        } else {
            get(request)
        };
        let decision = score(&policies, "::ffff:192.0.2.7", &raw);
        let expected = if excluded { Verdict::Allow } else { Verdict::Block };
        assert_eq!(decision.decision, expected, "{text}\n{raw}\n{decision:?}");
        if excluded {
            assert_eq!((decision.score, decision.anomaly), (0.0, 0));
            assert!(decision.rules.is_empty() && decision.categories.is_empty());
            assert_eq!(decision.excluded[0].hit.id, 1);
            assert_eq!(decision.excluded[0].reason, "known");
            assert!(decision.explanation.contains("excluded (known)"), "{decision:?}");
        }
    }
}

#[test]
fn each_mistake_is_named() {
    let table = [
        (
            "rules=1 rules=7",
            "exclusions.0.rules.1: there is no rule 7",
            "rules list",
        ),
        (
            "rules=70-79",
            "exclusions.0.rules.0: there is no rule from 70 to 79",
            "rules list",
        ),
        ("rules=2-1", "exclusions.0.rules.0: the range ends before", ""),
        (
            "tag=slang",
            "exclusions.0.tags.0: no rule has the tag `slang`",
            "",
        ),
        ("family=ssti", "exclusions.0.families.0: no rule is of", ""),
        (
            "family=xss tag=quotes",
            "exclusions.0: no rule meets all",
            "leave out",
        ),
        ("", "exclusions.0: it has no conditions", "name `rules`"),
        (
            "rules=1-9",
            "exclusions.0: it excludes everything",
            "mode = \"detect\"",
        ),
        ("path=/", "exclusions.0: it excludes everything", "narrow it"),
        (
            "source=0.0.0.0/0",
            "exclusions.0: it excludes everything",
            "narrow it",
        ),
        (
            "name=* target=inputs",
            "exclusions.0: it excludes everything",
            "narrow it",
        ),
    ];
    for (text, message, remedy) in table {
        let shown = policies(vec![exclusion(text)])
            .map(|_| ())
            .expect_err("a mistake");
        assert!(
            shown.starts_with(message) && shown.contains(remedy),
            "{text}\n{shown}"
        );
        assert_eq!(shown.lines().count(), 1, "one error for one mistake: {shown}");
    }
    let silent = Exclusion {
        reason: " ".to_owned(),
        ..exclusion("rules=1")
    };
    let shown = policies(vec![exclusion("rules=1"), silent])
        .map(|_| ())
        .expect_err("a mistake");
    assert!(shown.starts_with("exclusions.1: no reason"), "{shown}");
    assert!(policies(vec![exclusion("rules=1"); 1025]).is_err(), "too many");
}

#[test]
fn rules_between_the_levels_are_only_detected() {
    let policy = |paranoia, detect_paranoia| Policy {
        paranoia,
        detect_paranoia,
        ..Policy::default()
    };
    // The levels, the ids that hit (those only detected in brackets), and the anomaly sum.
    let table = [
        (policy(1, 1), "1", 5),
        (policy(1, 2), "1 (2)", 5),
        (policy(1, 3), "1 (2) (3)", 5),
        (policy(2, 3), "1 2 (3)", 9),
        (policy(3, 1), "1 2 3", 14),
    ];
    for (policy, expected, anomaly) in table {
        let policy = Policy {
            anomaly: 100,
            block: 1.0,
            ..policy
        };
        let raw = get("/?a=attack&b=oddity&c=rarity");
        let decision = OfflineScorer::new(rules(PACK), policy).score_request(raw.as_bytes());
        let shown: Vec<_> = decision
            .rules
            .iter()
            .map(|hit| {
                if hit.detect_only {
                    format!("({})", hit.id)
                } else {
                    hit.id.to_string()
                }
            })
            .collect();
        assert_eq!((shown.join(" ").as_str(), decision.anomaly), (expected, anomaly));
    }
    let alone = OfflineScorer::new(rules(PACK), policy(1, 4)).score_request(get("/?q=rarity").as_bytes());
    assert_eq!((alone.decision, alone.anomaly), (Verdict::Allow, 0));
    assert!(alone.categories.is_empty());
    assert!(
        alone.explanation.starts_with("detect only: Rarity"),
        "{}",
        alone.explanation
    );
}

#[test]
fn what_counts_keeps_its_place_in_the_explanation() {
    let rule = |id| {
        let paranoia = if id < 20 { 2 } else { 1 };
        format!(
            "[[rule]]\nid = {id}\nmessage = \"m\"\nseverity = \"critical\"\nparanoia = {paranoia}\ntargets = [\"inputs\"]\n\
             regex = 'w{id}x'\nsamples.match = [\"w{id}x\", \"-w{id}x\"]\nsamples.pass = [\"a\", \"b\"]\n"
        )
    };
    let text = "family = \"custom\"\n".to_owned() + &(1..=20).map(rule).collect::<Vec<_>>().concat();
    let policy = Policy {
        detect_paranoia: 2,
        ..Policy::default()
    };
    let query: Vec<_> = (1..=20).map(|id| format!("w{id}x")).collect();
    let raw = get(&format!("/?{}", query.join("&")));
    let decision = OfflineScorer::new(rules(&text), policy).score_request(raw.as_bytes());
    assert_eq!((decision.decision, decision.rules.len()), (Verdict::Block, 16));
    assert!(decision.rules.iter().any(|hit| hit.id == 20 && !hit.detect_only));
    assert!(
        decision.explanation.contains("and 4 more"),
        "{}",
        decision.explanation
    );
}

#[test]
fn each_stream_has_its_service_s_policy() {
    let general = Tuning::from(Policy::default());
    let lenient = Tuning {
        policy: Policy {
            mode: Mode::Detect,
            ..Policy::default()
        },
        exclusions: vec![exclusion("name=q")],
        ..Tuning::default()
    };
    let paranoid = Tuning::from(Policy {
        paranoia: 3,
        limits: Limits {
            head_bytes: 64 * 1024,
            ..Limits::default()
        },
        ..Policy::default()
    });
    let policies = Arc::new(
        Policies::compile(rules(PACK), &general, &[Some(lenient), None, Some(paranoid)]).expect("right"),
    );
    // With the cache: what is clean under one policy is not known under another.
    let mut scorer = Scorer::with_policies(Arc::clone(&policies), 2).with_cache(64, &[9; 16]);
    let mut verdict = |policy: u16, raw: &str| {
        let mut stream = Stream::new().under(policy);
        let mut verdict = None;
        let disposition = scorer.feed(&mut stream, raw.as_bytes(), |decision| {
            verdict = Some(decision.verdict);
        });
        scorer.release(&mut stream);
        (verdict.expect("a decision"), disposition)
    };
    let long = get(&format!("/{}", "a".repeat(40_000)));
    for _ in 0..2 {
        assert_eq!(
            verdict(0, &get("/?q=attack")),
            (Verdict::Block, Disposition::Block)
        );
        assert_eq!(
            verdict(1, &get("/?q=attack")),
            (Verdict::Allow, Disposition::Accept)
        );
        assert_eq!(
            verdict(1, &get("/?p=attack")),
            (Verdict::Block, Disposition::Accept),
            "only detected"
        );
        assert_eq!(
            verdict(0, &get("/?q=rarity")),
            (Verdict::Allow, Disposition::Accept)
        );
        assert_eq!(
            verdict(3, &get("/?q=rarity")),
            (Verdict::Block, Disposition::Block)
        );
        assert_eq!(verdict(0, &long).1, Disposition::Opaque(OpaqueKind::Unframed));
        assert_eq!(verdict(3, &long).1, Disposition::Accept);
        assert_eq!(
            verdict(77, &get("/?q=rarity")),
            (Verdict::Allow, Disposition::Accept),
            "the general one"
        );
    }
}

/// What an exclusion keeps from the model for one source is not known to be clean for others.
#[test]
fn what_the_model_was_kept_from_is_not_remembered() {
    let model = Model::builtin().expect("the built-in model is sound");
    let rules = RuleSet::compile(&[PackSource {
        name: "own.toml",
        text: PACK,
    }])
    .expect("the pack compiles");
    let rules = Arc::new(rules.with_model(Some(Arc::new(model))));
    let tuning = Tuning {
        exclusions: vec![exclusion("source=192.0.2.1/32")],
        ..Tuning::default()
    };
    let policies = Policies::compile(rules, &tuning, &[]).expect("right");
    let value = "'%20or%201%3D1%20union%20select%20char(58)--%20";
    for request in [
        get(&format!("/?q={value}")),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Query: {}\r\n\r\n",
            value.replace("%20", " ")
        ),
        format!("GET /?q={value} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"),
    ] {
        let mut scorer = Scorer::with_policies(Arc::new(policies.clone()), 2).with_cache(64, &[9; 16]);
        let mut verdict = |source: [u8; 4]| {
            let mut stream = Stream::new().from_source(source.into());
            let mut verdict = None;
            scorer.feed(&mut stream, request.as_bytes(), |decision| {
                verdict = Some(decision.verdict);
            });
            scorer.release(&mut stream);
            verdict.expect("a decision")
        };
        for _ in 0..2 {
            assert_eq!(verdict([192, 0, 2, 1]), Verdict::Allow, "{request}");
            assert_ne!(verdict([192, 0, 2, 2]), Verdict::Allow, "{request}");
        }
    }
}

static BUILTIN: LazyLock<Arc<RuleSet>> =
    LazyLock::new(|| Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile")));

fn any_exclusion() -> impl Strategy<Value = Exclusion> {
    let part = |parts: &'static [&'static str]| prop::sample::select(parts);
    (
        part(&["", "path=/p", "path=/*q", "path=/a/"]),
        part(&["", "name=q", "name=*a*", "name=x-v"]),
        part(&["", "source=192.0.2.0/24", "target=args"]),
        part(&[
            "rules=100000-399999",
            "family=sqli family=protocol",
            "rules=100000-999999",
        ]),
    )
        .prop_map(|(path, name, source, rules)| exclusion(&format!("{path} {name} {source} {rules}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A request in which nothing is found is judged the same under any exclusions, and one in which something is
    /// found has all of it either counted or excluded.
    #[test]
    fn exclusions_touch_hits_alone(
        exclusions in prop::collection::vec(any_exclusion(), 1..4),
        path in prop_oneof![Just("/p"), Just("/p/x%20q"), Just("/other")],
        query in prop_oneof!["[a-z0-9]{0,12}", Just("1%27+or+1=1--+".to_owned()), Just("%3Cscript%3Ealert(1)%3C/script%3E".to_owned())],
        header in "[ -~]{0,30}",
    ) {
        let raw = format!("GET {path}?q={query}&b=c HTTP/1.1\r\nHost: a\r\nX-V: {header}\r\n\r\n");
        let plain = OfflineScorer::new(Arc::clone(&BUILTIN), Policy::default()).score_request(raw.as_bytes());
        let tuning = Tuning { exclusions, ..Tuning::default() };
        let Ok(policies) = Policies::compile(Arc::clone(&BUILTIN), &tuning, &[]) else { return Ok(()) };
        let tuned = score(&policies, "192.0.2.1", &raw);
        if plain.rules.is_empty() {
            prop_assert_eq!(&tuned, &plain);
        }
        prop_assert!(tuned.anomaly <= plain.anomaly);
        for hit in &plain.rules {
            let counted = tuned.rules.iter().any(|other| other.id == hit.id);
            let excluded = tuned.excluded.iter().any(|other| other.hit.id == hit.id);
            prop_assert!(counted || excluded, "{} is lost", hit.id);
        }
    }
}
