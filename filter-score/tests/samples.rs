//! The built-in packs compile, and every rule stands by its samples.

use std::sync::Arc;

use filter_score::{RuleSet, Violation, builtin_packs};

#[test]
fn every_rule_finds_and_leaves_what_it_says() {
    let rules = match RuleSet::compile(builtin_packs()) {
        Ok(rules) => Arc::new(rules),
        Err(errors) => {
            panic!(
                "{}",
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        }
    };
    let errors = rules.check_samples();
    assert!(
        errors.is_empty(),
        "{}",
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn every_violation_has_a_rule() {
    let protocol = builtin_packs()
        .iter()
        .find(|pack| pack.name == "protocol.toml")
        .unwrap();
    for violation in Violation::ALL {
        let line = format!("violation = \"{}\"", violation.name());
        assert!(protocol.text.contains(&line), "{line}");
    }
}
