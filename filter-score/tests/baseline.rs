//! What a service's parameters usually hold, learnt through the scorer from whole requests.

use std::sync::{Arc, LazyLock};

use filter_score::{
    BaselineFill, BaselineUse, Disposition, Exclusion, Glob, Mode, Model, OwnedDecision, Policies, Policy,
    RuleSet, Scorer, Stream, TargetSet, Tuning, Verdict, builtin_packs,
};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let model = Model::builtin().expect("the built-in model is sound");
    Arc::new(rules.with_model(Some(Arc::new(model))))
});

const KEY: [u8; 16] = *b"nobody knows it!";

/// Unlike a number, and nothing that rules or model would mind.
const UNUSUAL: &str = "id=17-<b>%22&page=1";

fn policy(baseline: BaselineUse) -> Policy {
    Policy {
        baseline,
        ..Policy::default()
    }
}

fn scorer(baseline: BaselineUse) -> Scorer {
    Scorer::new(Arc::clone(&RULES), policy(baseline), 4).with_baseline(1024, &KEY)
}

fn ask(scorer: &mut Scorer, service: u16, request: &str) -> OwnedDecision {
    let mut stream = Stream::new().under(service);
    let mut decision = None;
    scorer.feed(&mut stream, request.as_bytes(), |one| {
        decision = Some(one.to_owned());
    });
    scorer.release(&mut stream);
    decision.expect("a whole request is decided")
}

fn get(scorer: &mut Scorer, query: &str) -> OwnedDecision {
    ask(
        scorer,
        0,
        &format!("GET /item?{query} HTTP/1.1\r\nHost: a\r\n\r\n"),
    )
}

/// Numbers, as a shop's item page gets them.
fn teach(scorer: &mut Scorer, requests: u32) {
    for number in 0..requests {
        let decision = get(scorer, &format!("id={}&page={}", 100 + number, number % 7));
        assert_eq!(decision.decision, Verdict::Allow);
    }
}

fn mature(scorer: &Scorer) -> (u64, u64) {
    let BaselineFill { profiles, mature, .. } = scorer.baseline();
    (profiles, mature)
}

#[test]
fn what_a_parameter_never_holds_is_suspicious_and_says_why() {
    let mut scorer = scorer(BaselineUse::On);
    assert_eq!(
        get(&mut scorer, UNUSUAL).decision,
        Verdict::Allow,
        "nothing is known yet"
    );
    teach(&mut scorer, 100);
    let unlike = get(&mut scorer, UNUSUAL);
    assert_eq!(unlike.decision, Verdict::Suspicious, "{unlike:?}");
    assert_eq!(unlike.anomaly, 0);
    assert_eq!(
        unlike.explanation,
        "Unlike what query:id usually holds (digits): letters, hyphens or dots, double quotes, angle brackets"
    );
    // The same in a parameter that nobody has seen, and a value of the usual kind.
    for benign in ["note=17-<b>%22&page=1", "id=4711&page=3", "id=4711-a&page=3"] {
        let decision = get(&mut scorer, benign);
        assert_eq!(decision.decision, Verdict::Allow, "{benign}: {decision:?}");
        assert!(decision.score.abs() < f32::EPSILON, "{benign}: {decision:?}");
    }
    // A name that is written otherwise is the same to the target.
    let encoded = get(&mut scorer, &UNUSUAL.replace("id=", "%69d="));
    assert_eq!(encoded.decision, Verdict::Suspicious);
}

#[test]
fn suspicious_requests_wait_for_the_second_tier_and_are_never_blocked_here() {
    let mut scorer = scorer(BaselineUse::On);
    teach(&mut scorer, 100);
    let marks = "id='%22%60%3C(%7B;%5C*&page='%22%60%3C(%7B;%5C*";
    let request = format!("GET /item?{marks} HTTP/1.1\r\nHost: a\r\n\r\n");
    let plain = get(&mut self::scorer(BaselineUse::Off), marks);
    let mut stream = Stream::new();
    let mut decided = None;
    let disposition = scorer.feed(&mut stream, request.as_bytes(), |one| {
        assert!(one.is_undecided());
        decided = Some((one.verdict, one.score, one.deviation.is_some()));
    });
    let taken = request.len();
    assert_eq!(disposition, Disposition::Undecided { taken });
    let (verdict, score, deviates) = decided.expect("decided");
    assert!(verdict == Verdict::Suspicious && deviates);
    assert!(
        score > plain.score && score < Policy::default().block,
        "{score}, {plain:?}"
    );
}

#[test]
fn rules_count_as_before_whatever_is_usual() {
    let attacks = ["id=1'+or+1%3D1--", "id=%3Cscript%3Ealert(1)%3C/script%3E"];
    for baseline in [BaselineUse::Off, BaselineUse::Learn, BaselineUse::On] {
        let mut scorer = scorer(baseline);
        for number in 0..200 {
            // Everything these attacks are made of.
            get(&mut scorer, &format!("id=it's+{number}+(or%3D)+less-/;+%3C3"));
        }
        for attack in attacks {
            let decision = get(&mut scorer, attack);
            assert_eq!(decision.decision, Verdict::Block, "{baseline:?}: {decision:?}");
        }
    }
}

#[test]
fn what_is_usual_is_less_suspicious_to_the_model() {
    // Only the model minds it.
    let doubtful = "q=select+a+from+b+where+(c+%3D+'d')+and+e";
    let before = get(&mut scorer(BaselineUse::Off), doubtful);
    let score = before.model.as_ref().expect("the model suspects it").score;
    let mut scorer = scorer(BaselineUse::On);
    for number in 0..100 {
        for value in ["it's+a+word+or+more", "that+one+(or+another)", "what+x+%3D+y+is"] {
            let decision = get(&mut scorer, &format!("q={value}+and+many+more+words+{number}"));
            assert!(decision.score.abs() < f32::EPSILON, "{decision:?}");
        }
    }
    assert_eq!(mature(&scorer), (1, 1));
    let mut stream = Stream::new();
    let request = format!("GET /item?{doubtful} HTTP/1.1\r\n\r\n");
    let mut lowered = None;
    scorer.feed(&mut stream, request.as_bytes(), |one| {
        lowered = one.model.map(|model| model.score());
    });
    let lowered = lowered.expect("it still suspects it");
    assert!((lowered - score * 0.75).abs() < 0.001, "{lowered} of {score}");
}

#[test]
fn only_clean_requests_teach() {
    let mut scorer = scorer(BaselineUse::Learn);
    for _ in 0..100 {
        // Found by a rule, by the model at least a little, malformed, or ended early.
        get(&mut scorer, "a=1'+or+1%3D1--");
        get(&mut scorer, "b=select+a+from+b+where+(c+%3D+'d')+and+e");
        ask(&mut scorer, 0, "GET /?c=1 HTTP/1.1\r\nHost : a\r\n\r\n");
        let mut stream = Stream::new();
        scorer.feed(&mut stream, b"GET /?d=1 HTTP/1.1\r\nHost: a\r\n", |_| ());
        scorer.finish(&mut stream, |_| ());
    }
    assert_eq!(mature(&scorer), (0, 0));
    // One request is one sighting, however often it names a parameter.
    for _ in 0..31 {
        get(&mut scorer, &"id=1&".repeat(100));
    }
    assert_eq!(mature(&scorer), (1, 0));
    get(&mut scorer, "id=1");
    assert_eq!(mature(&scorer), (1, 1));
}

#[test]
fn learning_alone_changes_no_decision() {
    let mut learning = scorer(BaselineUse::Learn);
    teach(&mut learning, 100);
    assert_eq!(mature(&learning), (2, 2));
    assert_eq!(
        get(&mut learning, UNUSUAL),
        get(&mut scorer(BaselineUse::Off), UNUSUAL)
    );
}

#[test]
fn nothing_is_learnt_when_it_is_off_or_has_no_room() {
    let mut off = scorer(BaselineUse::Off);
    teach(&mut off, 100);
    assert_eq!(off.baseline(), BaselineFill::default());
    for mut none in [
        Scorer::new(Arc::clone(&RULES), policy(BaselineUse::On), 4),
        Scorer::new(Arc::clone(&RULES), policy(BaselineUse::On), 4).with_baseline(0, &KEY),
    ] {
        teach(&mut none, 100);
        assert_eq!(none.baseline(), BaselineFill::default());
        assert_eq!(get(&mut none, UNUSUAL).decision, Verdict::Allow);
    }
}

#[test]
fn the_table_does_not_grow_and_floods_of_names_leave_what_is_in_use() {
    let mut scorer = scorer(BaselineUse::On);
    teach(&mut scorer, 200);
    let BaselineFill { capacity, .. } = scorer.baseline();
    assert_eq!(capacity, 1024);
    for flood in 0..2000 {
        let names = (0..32).map(|name| format!("n{}=1", flood * 32 + name));
        get(&mut scorer, &names.collect::<Vec<_>>().join("&"));
    }
    let BaselineFill { profiles, mature, .. } = scorer.baseline();
    assert_eq!((profiles, mature), (capacity, 2));
    assert_eq!(get(&mut scorer, UNUSUAL).decision, Verdict::Suspicious);
}

#[test]
fn a_service_that_changes_is_learnt_anew() {
    let mut scorer = scorer(BaselineUse::On);
    teach(&mut scorer, 200);
    let mut suspicious = 0;
    while get(&mut scorer, UNUSUAL).decision == Verdict::Suspicious {
        suspicious += 1;
        assert!(suspicious < 1000);
    }
    assert!(suspicious > 100, "not at once: {suspicious}");
    for _ in 0..100 {
        assert_eq!(get(&mut scorer, UNUSUAL).decision, Verdict::Allow);
    }
}

#[test]
fn each_service_has_its_own_and_its_own_mode() {
    let on = Tuning::from(policy(BaselineUse::On));
    let learn = Tuning::from(policy(BaselineUse::Learn));
    // The second service is under the general policy, and yet a service of its own.
    let services = [Some(learn), None];
    let policies = Policies::compile(Arc::clone(&RULES), &on, &services).expect("right policies");
    let mut scorer = Scorer::with_policies(Arc::new(policies), 4).with_baseline(64, &KEY);
    let request = |query: &str| format!("GET /item?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
    for service in [1, 2] {
        for number in 0..40 {
            ask(&mut scorer, service, &request(&format!("id={number}&page=1")));
        }
    }
    assert_eq!(scorer.baseline().capacity, 3 * 64);
    assert_eq!(mature(&scorer), (4, 4));
    let verdicts = [0, 1, 2].map(|service| ask(&mut scorer, service, &request(UNUSUAL)).decision);
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Allow, Verdict::Suspicious]);
    // A number that nobody has given out falls under the general policy and has no baseline.
    assert_eq!(ask(&mut scorer, 9, &request(UNUSUAL)).decision, Verdict::Allow);
}

#[test]
fn a_reload_keeps_what_was_learnt_unless_it_is_switched_off() {
    let mut scorer = scorer(BaselineUse::Learn);
    teach(&mut scorer, 100);
    let mut put = |baseline| {
        scorer.replace(Arc::clone(&RULES), policy(baseline));
        mature(&scorer)
    };
    assert_eq!(put(BaselineUse::Learn), (2, 2));
    assert_eq!(put(BaselineUse::On), (2, 2));
    assert_eq!(get(&mut scorer, UNUSUAL).decision, Verdict::Suspicious);
    scorer.replace(Arc::clone(&RULES), policy(BaselineUse::Off));
    assert_eq!(scorer.baseline(), BaselineFill::default());
    scorer.replace(Arc::clone(&RULES), policy(BaselineUse::On));
    assert_eq!(mature(&scorer), (0, 0));
    assert_eq!(scorer.baseline().capacity, 1024);
}

#[test]
fn known_requests_are_not_counted_again() {
    let mut scorer = scorer(BaselineUse::On).with_cache(64, &KEY);
    for _ in 0..100 {
        get(&mut scorer, "id=1&page=2");
    }
    assert_eq!(scorer.cache_hits(), 99);
    assert_eq!(mature(&scorer), (2, 0));
    teach(&mut scorer, 100);
    for _ in 0..3 {
        let decision = get(&mut scorer, UNUSUAL);
        assert_eq!(decision.decision, Verdict::Suspicious, "it is not kept as clean");
    }
}

#[test]
fn where_everything_is_excluded_nothing_is_unusual() {
    let tuning = Tuning {
        exclusions: vec![Exclusion {
            reason: "free text".to_owned(),
            names: vec![Glob::new("id").expect("a name")],
            targets: TargetSet::parse("query").expect("a target"),
            ..Exclusion::default()
        }],
        ..Tuning::from(policy(BaselineUse::On))
    };
    let policies = Policies::compile(Arc::clone(&RULES), &tuning, &[]).expect("a right policy");
    let mut scorer = Scorer::with_policies(Arc::new(policies), 4).with_baseline(64, &KEY);
    teach(&mut scorer, 100);
    assert_eq!(get(&mut scorer, UNUSUAL).decision, Verdict::Allow);
}

#[test]
fn forms_cookies_and_json_are_learnt_under_their_own_names() {
    let mut scorer = scorer(BaselineUse::On);
    let post = |media: &str, cookie: &str, body: &str| {
        format!(
            "POST /p HTTP/1.1\r\nHost: a\r\nCookie: id={cookie}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let form =
        |cookie: &str, id: &str| post("application/x-www-form-urlencoded", cookie, &format!("id={id}"));
    let json = |id: &str| post("application/json", "1", &format!("{{\"id\": \"{id}\"}}"));
    for number in 0..50 {
        let number = number.to_string();
        ask(&mut scorer, 0, &form(&number, &number));
        ask(&mut scorer, 0, &json(&number));
    }
    assert_eq!(mature(&scorer), (3, 3));
    for (request, place) in [
        (form("1", "7-<b>`"), "form:id"),
        (form("7-<b>`", "1"), "cookie:id"),
        (json("7-<b>`"), "json:id"),
    ] {
        let decision = ask(&mut scorer, 0, &request);
        assert_eq!(decision.decision, Verdict::Suspicious, "{decision:?}");
        let begin = format!("Unlike what {place} usually holds (digits): ");
        assert!(decision.explanation.contains(&begin), "{decision:?}");
    }
}

#[test]
fn detect_mode_reports_and_lets_go() {
    let detect = Policy {
        mode: Mode::Detect,
        ..policy(BaselineUse::On)
    };
    let mut scorer = Scorer::new(Arc::clone(&RULES), detect, 4).with_baseline(64, &KEY);
    teach(&mut scorer, 100);
    let request = format!("GET /item?{UNUSUAL} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut stream = Stream::new();
    let mut verdict = None;
    let disposition = scorer.feed(&mut stream, request.as_bytes(), |one| verdict = Some(one.verdict));
    assert_eq!(
        (disposition, verdict),
        (Disposition::Accept, Some(Verdict::Suspicious))
    );
}
