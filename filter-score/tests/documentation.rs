//! The examples of docs/rules.md are right.

use std::sync::Arc;

use filter_score::{PackSource, RuleSet, builtin_packs};

const RULES: &str = include_str!("../../docs/rules.md");

#[test]
fn packs_compile_and_agree_with_their_samples() {
    let packs: Vec<_> = RULES
        .split("```toml pack\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("it ends"))
        .collect();
    assert!(packs.len() >= 3);
    let own = packs.iter().map(|text| PackSource {
        name: "rules.md",
        text,
    });
    let all: Vec<_> = builtin_packs().iter().copied().chain(own).collect();
    let rules = Arc::new(RuleSet::compile(&all).unwrap_or_else(|errors| panic!("{errors:?}")));
    let oddities = rules.lint();
    let dead = oddities
        .iter()
        .find(|oddity| oddity.message.contains("can never hit"));
    assert_eq!(dead, None, "also of the built-in rules");
    for errors in [rules.check_samples(), oddities] {
        let own: Vec<_> = errors.iter().filter(|error| error.file == "rules.md").collect();
        assert!(own.is_empty(), "{own:?}");
    }
}
