//! Training on little made-up data: the same bytes every time, and a model that has learned something.

use std::sync::Arc;

use filter_score::train::{Corpus, Options, Sample, train};
use filter_score::{Model, OfflineScorer, Policy, RequestParts, RuleSet, Verdict, builtin_packs};

fn sample(bytes: String, source: &str, category: &str) -> Sample {
    Sample {
        bytes: bytes.into_bytes(),
        source: source.to_owned(),
        category: category.to_owned(),
    }
}

/// Attacks of a language that no rule knows: `zork!!` commands behind a quote.
fn corpus() -> Corpus {
    let words = [
        "lamp", "sword", "house", "mailbox", "leaflet", "window", "forest", "troll",
    ];
    let word = |at: usize| words[at % words.len()];
    let mut corpus = Corpus::default();
    for at in 0..500 {
        let (one, other) = (word(at), word(at / 8 + 3));
        corpus.values.push(sample(
            format!("the {one}'s (old) {other} no. {at}"),
            &format!("benign {}", at % 5),
            "",
        ));
        corpus.payloads.push(sample(
            format!("{one}'; zork!!{{take:{other}}} {at}"),
            &format!("attack {}", at % 5),
            "zork",
        ));
        corpus.requests.push(
            format!(
                "GET /{one}?q={other}'s+{at} HTTP/1.1\r\nHost: www.site{}.example\r\n\r\n",
                at % 9
            )
            .into_bytes(),
        );
    }
    corpus
}

#[test]
fn the_same_data_give_the_same_bytes_and_a_model_that_knows_them() {
    let rules = Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile"));
    let corpus = corpus();
    let mut steps = 0;
    let (model, report) = train(&rules, &corpus, Options::default(), |_| steps += 1).expect("enough data");
    let (again, _) = train(&rules, &corpus, Options::default(), |_| ()).expect("enough data");
    assert_eq!(model.to_bytes(), again.to_bytes());
    assert!(steps > 5);
    assert_eq!(
        (report.requests.0, report.values.0, report.payloads.0),
        (500, 500, 500)
    );
    assert_eq!(report.version, model.version().to_string());
    assert!(report.to_string().contains("| zork |"));

    let read = Model::from_bytes(&model.to_bytes()).expect("it was just written");
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let mut scorer = OfflineScorer::new(
        Arc::new(rules.with_model(Some(Arc::new(read)))),
        Policy::default(),
    );
    let mut score = |value: &str| {
        let request = RequestParts {
            query_params: &[("q", value)],
            ..RequestParts::default()
        };
        scorer.score_request(&request.to_bytes())
    };
    let attack = score("rope'; zork!!{take:rope} 7");
    assert_ne!(attack.decision, Verdict::Allow, "{}", attack.explanation);
    let inference = attack.model.expect("the model said so");
    assert_eq!(
        (inference.target.as_str(), inference.decoding.as_str()),
        ("query:q", "url")
    );
    assert!(!inference.ngrams.is_empty() && attack.explanation.contains("Model "));
    let benign = score("the rope's (old) lamp no. 7");
    assert_eq!((benign.decision, benign.model), (Verdict::Allow, None));
}

#[test]
fn too_little_is_an_error() {
    let rules = Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile"));
    let error =
        train(&rules, &Corpus::default(), Options::default(), |_| ()).expect_err("nothing to learn from");
    assert!(error.to_string().contains("at least 20"));
}
