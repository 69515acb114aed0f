//! A rule pack: compiled or refused with places and remedies, and what compiles can be described, linted and run.

use std::sync::Arc;

use filter_score::{OfflineScorer, PackSource, Policy, RuleSet};

/// The pack's text.
pub(crate) fn pack(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let source = PackSource {
        name: "fuzz.toml",
        text,
    };
    match RuleSet::compile(&[source]) {
        Ok(rules) => {
            for rule in rules.rules() {
                assert!(rules.describe(rule.id).is_some(), "rule {}", rule.id);
            }
            let _ = rules.lint();
            let rules = Arc::new(rules);
            let _ = rules.check_samples();
            OfflineScorer::new(rules, Policy::default())
                .score_request(b"GET /?q=a'b HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.lines().count().max(1) + 1;
            for error in errors {
                assert!(error.line <= lines && !error.remedy.is_empty(), "{error:?}");
            }
        }
    }
}
