//! What a second look costs, computed and known.
//!
//! `cargo run --release -p filter-score --example second_tier`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filter_score::{
    DeepJob, DeepScorer, DeepVerdict, Model, PackSource, Policies, Policy, RuleSet, Scorer, Stream,
    builtin_packs,
};

/// Makes every field with the word doubtful, so that any text can be measured.
const DOUBT: &str = r#"
family = "custom"
[[rule]]
id = 999999
message = "a word that makes a field doubtful"
severity = "error"
targets = ["inputs"]
regex = 'doubtful'
samples.match = ["doubtful", "a doubtful one"]
samples.pass = ["clear", "sure"]
"#;

const REQUESTS: [(&str, &str, usize); 4] = [
    ("a search", "q=the+doubtful+union+of+select+people", 1),
    (
        "a name with a quote",
        "name=O%27Brien+%26+sons,+a+doubtful+firm%3B",
        1,
    ),
    (
        "markup",
        "text=%3Cp+class%3D%22x%22%3Ea+doubtful+%26lt%3Bb%26gt%3B%3C%2Fp%3E",
        4,
    ),
    (
        "3.5 kB of nested encodings",
        "q=doubtful%2526%2523x25%253b%255cu0026%252e%252e//./a%2527b%27/**/",
        60,
    ),
];

fn main() {
    let mut packs = builtin_packs().to_vec();
    packs.push(PackSource {
        name: "doubt.toml",
        text: DOUBT,
    });
    let model = Arc::new(Model::builtin().expect("the built-in model is sound"));
    let rules = RuleSet::compile(&packs).expect("the packs compile");
    let rules = Arc::new(rules.with_model(Some(model)));
    let policy = Policy {
        block: 1.0,
        anomaly: 1000,
        ..Policy::default()
    };
    let policies = Policies::single(Arc::clone(&rules), policy);
    println!("{:<28} {:>12} {:>10} {:>8}", "", "computed", "known", "ratio");
    for (name, query, times) in REQUESTS {
        let request = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", query.repeat(times));
        let mut job = DeepJob::default();
        let mut scorer = Scorer::new(Arc::clone(&rules), policy, 1);
        scorer.feed(&mut Stream::new(), request.as_bytes(), |decision| {
            assert!(decision.is_undecided(), "{name}");
            decision.copy_doubts(&mut job);
        });
        let cost = |entries, rounds| {
            let mut deep = DeepScorer::new(&policies, entries, &[7; 16]);
            let mut verdict = DeepVerdict::default();
            deep.score(&job, &mut verdict);
            (0..5)
                .map(|_| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        deep.score(black_box(&job), &mut verdict);
                        black_box(&verdict);
                    }
                    start.elapsed() / rounds
                })
                .min()
                .unwrap_or(Duration::ZERO)
        };
        let (computed, known) = (cost(0, 200), cost(1024, 100_000));
        let ratio = computed.as_secs_f64() / known.as_secs_f64();
        println!("{name:<28} {computed:>12.2?} {known:>10.2?} {ratio:>7.0}x");
    }
}
