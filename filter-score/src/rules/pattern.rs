//! A rule's regular expression, determinised when the pack is compiled.
//!
//! A dense DFA is what keeps two promises: a search takes one table look-up a byte whatever the
//! input, and it needs no scratch memory. An expression whose automaton would be too large is refused.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

/// The largest automaton of one rule, in bytes.
const DFA_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Pattern(dense::DFA<Vec<u32>>);

/// Case-insensitive, over bytes, `.` matches every byte.
pub(crate) fn syntax_config() -> syntax::Config {
    syntax::Config::new()
        .case_insensitive(true)
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
}

impl Pattern {
    /// Errors are sentences for the author of the rule: message and remedy.
    pub(crate) fn compile(regex: &str) -> Result<Self, (String, &'static str)> {
        // Only whether and where the first match ends is asked: sets of states without order are fewer.
        let compiled = dense::Builder::new()
            .syntax(syntax_config())
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(DFA_BYTES)),
            )
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(DFA_BYTES))
                    .determinize_size_limit(Some(8 * DFA_BYTES)),
            )
            .build(regex);
        match compiled {
            Ok(dfa) => Ok(Self(dfa)),
            Err(error) => {
                let mut message = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    message = cause.to_string();
                    source = cause.source();
                }
                let remedy = if error.is_size_limit_exceeded() {
                    "its automaton is too large: replace counted repetitions such as `.{0,50}` by `*`, or split the rule"
                } else {
                    "correct the expression (Rust regex syntax; no look-around, no back-references)"
                };
                Err((message.replace('\n', " "), remedy))
            }
        }
    }

    /// Where the match that ends first ends.
    pub(crate) fn find(&self, haystack: &[u8]) -> Option<usize> {
        // A search fails only on quit bytes, and none are configured.
        self.0
            .try_search_fwd(&Input::new(haystack).earliest(true))
            .ok()
            .flatten()
            .map(|found| found.offset())
    }

    pub(crate) fn memory(&self) -> usize {
        self.0.memory_usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bytes_regardless_of_case() {
        let pattern = Pattern::compile(r"\bunion\s+select\b").unwrap();
        assert_eq!(pattern.find(b"\xff UNION\n Select 1"), Some(15));
        assert_eq!(pattern.find(b"reunion select"), None);
    }

    #[test]
    fn refuses_what_explodes_or_does_not_parse() {
        assert!(
            Pattern::compile("a.{0,60}b.{0,60}c")
                .unwrap_err()
                .1
                .contains("too large")
        );
        assert!(Pattern::compile("(a").unwrap_err().1.contains("correct"));
    }
}
