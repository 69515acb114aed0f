//! A rule's regular expression, determinised when the pack is compiled.
//!
//! A dense DFA is what keeps two promises: a search takes one table look-up a byte whatever the
//! input, and it needs no scratch memory. An expression whose automaton would be too large is refused.

use regex_automata::dfa::dense;
use regex_automata::dfa::regex::{Builder, Regex};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

/// The largest automaton (forward or reverse) of one rule, in bytes.
const DFA_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Pattern(Regex);

/// Case-insensitive, over bytes, `.` matches every byte.
pub(crate) fn syntax_config() -> syntax::Config {
    syntax::Config::new().case_insensitive(true).unicode(false).utf8(false).dot_matches_new_line(true)
}

impl Pattern {
    /// Errors are sentences for the author of the rule: message and remedy.
    pub(crate) fn compile(regex: &str) -> Result<Self, (String, &'static str)> {
        let compiled = Builder::new()
            .syntax(syntax_config())
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(DFA_BYTES)))
            .dense(
                dense::Config::new()
                    .dfa_size_limit(Some(DFA_BYTES))
                    .determinize_size_limit(Some(4 * DFA_BYTES)),
            )
            .build(regex);
        match compiled {
            Ok(regex) => Ok(Self(regex)),
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

    /// Byte range of the leftmost match.
    pub(crate) fn find(&self, haystack: &[u8]) -> Option<std::ops::Range<usize>> {
        // A search fails only on quit bytes, and none are configured.
        self.0.try_search(&regex_automata::Input::new(haystack)).ok().flatten().map(|found| found.range())
    }

    pub(crate) fn memory(&self) -> usize {
        self.0.forward().memory_usage() + self.0.reverse().memory_usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bytes_regardless_of_case() {
        let pattern = Pattern::compile(r"\bunion\s+select\b").unwrap();
        assert_eq!(pattern.find(b"\xff UNION\n Select 1"), Some(2..15));
        assert_eq!(pattern.find(b"reunion select"), None);
    }

    #[test]
    fn refuses_what_explodes_or_does_not_parse() {
        assert!(Pattern::compile("a.{0,60}b.{0,60}c").unwrap_err().1.contains("too large"));
        assert!(Pattern::compile("(a").unwrap_err().1.contains("correct"));
    }
}
