//! Rules with conditions: when they hit, that segments do not matter, and what is wrong with them.

use std::sync::Arc;

use filter_score::{
    Disposition, OfflineScorer, PackSource, Policy, RuleSet, Scorer, Severity, Stream, Verdict,
};
use proptest::prelude::*;

fn compile(text: &str) -> Result<Arc<RuleSet>, String> {
    RuleSet::compile(&[PackSource {
        name: "own.toml",
        text,
    }])
    .map(Arc::new)
    .map_err(|errors| {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// A rule that looks for `attack` in `targets`, with conditions.
fn pack(targets: &str, conditions: &str) -> String {
    format!(
        "family = \"custom\"\n[[rule]]\nid = 1\nmessage = \"m\"\nseverity = \"critical\"\ntargets = [\"{targets}\"]\n\
         regex = 'attack'\nsamples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n{conditions}"
    )
}

const POST: &str = "[[rule.and]]\nmethod = [\"POST\", \"PUT\"]\n";
const LOGIN: &str = "[[rule.and]]\npath = \"/login\"\n";
const NOT_LOGIN: &str = "[[rule.and]]\nnot = true\npath = \"/login\"\n";
const SPELL: &str = "[[rule.and]]\ntargets = [\"form\"]\nregex = 'spell'\n";
const NO_SPELL: &str = "[[rule.and]]\nnot = true\ntargets = [\"form\"]\nregex = 'spell'\n";
const NO_MARK: &str = "[[rule.and]]\nnot = true\ntargets = [\"header:x-mark\"]\nregex = 'good'\n";
const NO_AGENT: &str = "[[rule.and]]\nheader-missing = \"User-Agent\"\n";
const AGENT: &str = "[[rule.and]]\nnot = true\nheader-missing = \"User-Agent\"\n";

fn request(method: &str, target: &str, headers: &str, form: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

const AGENT_LINE: &str = "User-Agent: x\r\n";
const GOOD_LINE: &str = "X-Mark: good\r\n";
const FOUR: &[&str] = &[POST, LOGIN, SPELL, NO_AGENT];

/// Method, target, header lines and form of a request.
type Parts = [&'static str; 4];

/// Where the main test looks, the conditions, the request, and whether the rule hits.
const CASES: &[(&str, &[&str], Parts, bool)] = &[
    ("query", &[POST], ["POST", "/?q=attack", "", ""], true),
    ("query", &[POST], ["GET", "/?q=attack", "", ""], false),
    ("query", &[POST], ["post", "/?q=attack", "", ""], false),
    ("query", &[LOGIN], ["GET", "/login?q=attack", "", ""], true),
    (
        "query",
        &[LOGIN],
        ["GET", "/x/../%6cogin/a?q=attack", "", ""],
        true,
    ),
    ("query", &[LOGIN], ["GET", "/logins?q=attack", "", ""], false),
    ("query", &[NOT_LOGIN], ["GET", "/logins?q=attack", "", ""], true),
    ("query", &[NOT_LOGIN], ["GET", "/login?q=attack", "", ""], false),
    // A condition on something that comes later, and one on something that came before.
    ("query", &[SPELL], ["POST", "/?q=attack", "", "a=spell"], true),
    ("query", &[SPELL], ["POST", "/?q=attack", "", "a=spelt"], false),
    ("form", &[NO_MARK], ["POST", "/", GOOD_LINE, "a=attack"], false),
    ("form", &[NO_MARK], ["POST", "/", "", "a=attack"], true),
    ("query", &[NO_MARK], ["GET", "/?q=attack", "", ""], true),
    ("query", &[NO_MARK], ["GET", "/?q=attack", GOOD_LINE, ""], false),
    ("query", &[NO_SPELL], ["POST", "/?q=attack", "", "a=spelt"], true),
    (
        "query",
        &[NO_SPELL],
        ["POST", "/?q=attack", "", "a=b&c=spell"],
        false,
    ),
    ("query", &[NO_AGENT], ["GET", "/?q=attack", "", ""], true),
    ("query", &[NO_AGENT], ["GET", "/?q=attack", AGENT_LINE, ""], false),
    ("form", &[AGENT], ["POST", "/", AGENT_LINE, "a=attack"], true),
    ("form", &[AGENT], ["POST", "/", "", "a=attack"], false),
    ("form", FOUR, ["PUT", "/login", "", "a=attack&b=spell"], true),
    (
        "form",
        FOUR,
        ["PUT", "/login", AGENT_LINE, "a=attack&b=spell"],
        false,
    ),
    ("form", FOUR, ["PUT", "/login", "", "a=b&b=spell"], false),
    // Conditions alone are no hit.
    ("query", &[POST], ["POST", "/", "", ""], false),
    ("query", &[SPELL], ["POST", "/", "", "a=spell"], false),
];

#[test]
fn all_conditions_must_hold() {
    for (targets, conditions, [method, target, headers, form], hits) in CASES {
        let raw = request(method, target, headers, form);
        let rules = compile(&pack(targets, &conditions.concat())).expect("a right rule");
        let decision =
            OfflineScorer::new(Arc::clone(&rules), Policy::default()).score_request(raw.as_bytes());
        let expected = if *hits { Verdict::Block } else { Verdict::Allow };
        assert_eq!(decision.decision, expected, "{conditions:?}\n{raw}\n{decision:?}");
        assert_eq!(decision.rules.len(), usize::from(*hits));
        if *hits {
            assert!(decision.rules[0].matched.contains("attack"), "{decision:?}");
        }
        assert_eq!(rules.rules().len(), 1, "conditions are no rules");
    }
}

#[test]
fn a_hit_is_decided_when_it_is_certain() {
    let raw = request("POST", "/login?q=attack", "", "a=b&c=spell&d=e");
    let offset = |text: &str| raw.find(text).expect(text);
    let body = offset("\r\n\r\n") + 4;
    for (condition, at) in [
        (POST, offset("\r\n") + 2),
        (NO_AGENT, body),
        (SPELL, offset("&d=") + 1),
        (NO_MARK, body),
        (
            "[[rule.and]]\nnot = true\ntargets = [\"form\"]\nregex = 'curse'\n",
            raw.len(),
        ),
    ] {
        let rules = compile(&pack("query", condition)).expect("a right rule");
        let mut scorer = Scorer::new(rules, Policy::default(), 1);
        let mut stream = Stream::new();
        let blocked = (0..raw.len())
            .find(|at| scorer.feed(&mut stream, &raw.as_bytes()[*at..=*at], |_| {}) == Disposition::Block);
        assert_eq!(blocked.map(|last| last + 1), Some(at), "{condition}");
    }
}

#[test]
fn a_request_that_is_cut_short_is_judged_by_what_there_is() {
    let rules = compile(&pack("query", NO_SPELL)).expect("a right rule");
    let raw = request("POST", "/?q=attack", "", "a=b&c=spell");
    let decision =
        OfflineScorer::new(rules, Policy::default()).score_request(&raw.as_bytes()[..raw.len() - 5]);
    assert_eq!((decision.decision, decision.complete), (Verdict::Block, false));
}

#[test]
fn known_lines_do_not_hide_what_conditions_ask_for() {
    let rules = compile(&pack("query", &[NO_AGENT, NO_MARK].concat())).expect("a right rule");
    let mut scorer = Scorer::new(rules, Policy::default(), 1).with_cache(64, &[3; 16]);
    let mut verdict = |raw: &str| {
        let mut verdict = None;
        let mut stream = Stream::new();
        scorer.feed(&mut stream, raw.as_bytes(), |decision| {
            verdict = Some(decision.verdict);
        });
        scorer.release(&mut stream);
        verdict.expect("a decision")
    };
    for _ in 0..3 {
        assert_eq!(
            verdict("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n"),
            Verdict::Allow
        );
        assert_eq!(
            verdict("GET / HTTP/1.1\r\nHost: a\r\nX-Mark: good\r\n\r\n"),
            Verdict::Allow
        );
        assert_eq!(
            verdict("GET /?q=attack HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n"),
            Verdict::Allow
        );
        assert_eq!(
            verdict("GET /?q=attack HTTP/1.1\r\nHost: a\r\nX-Mark: good\r\n\r\n"),
            Verdict::Allow
        );
        assert_eq!(
            verdict("GET /?q=attack HTTP/1.1\r\nHost: a\r\nX-Mark: bad\r\n\r\n"),
            Verdict::Block
        );
    }
}

#[test]
fn rules_replaced_in_the_middle_of_a_request_do_not_guess() {
    let rules = compile(&pack("form", NO_AGENT)).expect("a right rule");
    let mut scorer = Scorer::new(Arc::clone(&rules), Policy::default(), 1);
    let raw = request("POST", "/", "User-Agent: x\r\n", "a=attack");
    let (head, body) = raw.split_at(raw.find("a=attack").expect("the body"));
    let mut stream = Stream::new();
    scorer.feed(&mut stream, head.as_bytes(), |_| {});
    scorer.replace(rules, Policy::default());
    assert_eq!(
        scorer.feed(&mut stream, body.as_bytes(), |_| {}),
        Disposition::Accept
    );
    let bare = request("POST", "/", "", "a=attack");
    assert_eq!(
        scorer.feed(&mut stream, bare.as_bytes(), |_| {}),
        Disposition::Block
    );
}

#[test]
fn more_hits_than_are_kept_may_wait() {
    let rule = |id| {
        format!(
            "[[rule]]\nid = {id}\nmessage = \"m\"\nseverity = \"notice\"\ntargets = [\"query\"]\nregex = 'w{id}x'\n\
             samples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n{NO_AGENT}"
        )
    };
    let text = "family = \"custom\"\n".to_owned() + &(1..=30).map(rule).collect::<Vec<_>>().concat();
    let words: Vec<_> = (1..=30).map(|id| format!("w{id}x")).collect();
    let raw = request("GET", &format!("/?q={}", words.join("+")), "", "");
    let policy = Policy {
        anomaly: 1000,
        block: 1.0,
        ..Policy::default()
    };
    let decision =
        OfflineScorer::new(compile(&text).expect("right rules"), policy).score_request(raw.as_bytes());
    assert_eq!(decision.anomaly, 30 * Severity::Notice.points());
}

#[test]
fn mistakes_in_conditions_are_named() {
    let many = POST.repeat(9);
    for (conditions, message, remedy) in [
        (
            "[[rule.and]]\nnot = true\n",
            "own.toml:10:1: a condition asks exactly one thing",
            "header-missing",
        ),
        (
            "[[rule.and]]\nmethod = [\"GET\"]\npath = \"/a\"\n",
            "own.toml:10:1: a condition asks exactly",
            "give one of",
        ),
        (
            "[[rule.and]]\nmethod = []\n",
            "own.toml:10:1: no method is named",
            "method = ",
        ),
        (
            "[[rule.and]]\nmethod = [\"get\"]\n",
            "own.toml:11:11: `get` is no method",
            "capitals",
        ),
        (
            "[[rule.and]]\npath = \"login\"\n",
            "own.toml:11:8: `login` is no path",
            "begins with `/`",
        ),
        (
            "[[rule.and]]\nheader-missing = \"User-Agent:\"\n",
            "own.toml:11:18: `User-Agent:` is no header",
            "alone",
        ),
        (
            "[[rule.and]]\nregex = 'spell'\n",
            "own.toml:10:1: no targets",
            "targets =",
        ),
        (
            "[[rule.and]]\ntargets = [\"form\"]\nregex = '(spell'\n",
            "own.toml:12:9: regex parse error",
            "correct",
        ),
        (
            "[[rule.and]]\ntargets = [\"form\"]\nregex = '.'\n",
            "own.toml:12:9: no literal",
            "literals",
        ),
        (
            "[[rule.and]]\nmehtod = [\"GET\"]\n",
            "own.toml:11:1: unknown field `mehtod`",
            "name",
        ),
        (many.as_str(), "9 conditions", "at most 8"),
    ] {
        let shown = compile(&pack("query", conditions))
            .map(|_| ())
            .expect_err(conditions);
        assert!(
            shown.contains(message) && shown.contains(remedy),
            "{conditions}\n{shown}"
        );
        assert_eq!(shown.lines().count(), 1, "one error for one mistake: {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Segments do not matter, whatever conditions look at.
    #[test]
    fn segments_do_not_matter(
        targets in prop::sample::select(vec!["query", "form", "inputs", "header"]),
        conditions in prop::collection::vec(
            prop::sample::select(vec![POST, LOGIN, NOT_LOGIN, SPELL, NO_SPELL, NO_MARK, NO_AGENT, AGENT]), 1..4),
        method in prop::sample::select(vec!["GET", "POST"]),
        path in prop::sample::select(vec!["/login", "/", "/%6cogin/x"]),
        query in prop::sample::select(vec!["q=attack", "q=1"]),
        headers in prop::collection::vec(
            prop::sample::select(vec!["User-Agent: x\r\n", "X-Mark: good\r\n", "X-Note: attack\r\n"]), 0..3),
        form in prop::sample::select(vec!["a=attack&b=spell", "b=spell&a=attack", "a=attack", "b=spell", ""]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let rules = compile(&pack(targets, &conditions.concat())).expect("a right rule");
        let raw = request(method, &format!("{path}?{query}"), &headers.concat(), form);
        let run = |cuts: &[usize]| {
            let mut scorer = Scorer::new(Arc::clone(&rules), Policy::default(), 1);
            let (mut stream, mut decisions, mut start) = (Stream::new(), Vec::new(), 0);
            let mut disposition = Disposition::Accept;
            for end in cuts.iter().copied().chain([raw.len()]) {
                disposition = scorer.feed(&mut stream, &raw.as_bytes()[start..end], |decision| decisions.push(decision.to_owned()));
                start = end;
            }
            (decisions, disposition)
        };
        let whole = run(&[]);
        let mut cuts: Vec<_> = cuts.iter().map(|index| index.index(raw.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(run(&cuts), whole.clone());
        let every: Vec<_> = (0..raw.len()).collect();
        prop_assert_eq!(run(&every), whole);
    }
}
