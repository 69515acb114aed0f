//! A rule's regular expression, determinised when the pack is compiled.
//!
//! A dense DFA is what keeps two promises: a search takes one table look-up a byte whatever the
//! input, and it needs no scratch memory. An expression whose automaton would be too large is refused.

use std::collections::HashSet;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

/// The largest automaton of one rule for one way to start, in bytes.
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
    /// `at`: the pattern will be asked whether a match begins at a given offset, too.
    pub(crate) fn compile(regex: &str, at: bool) -> Result<Self, (String, &'static str)> {
        // Only whether and where the first match ends is asked: sets of states without order are fewer.
        let bytes = if at { 2 * DFA_BYTES } else { DFA_BYTES };
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
                    .start_kind(if at {
                        StartKind::Both
                    } else {
                        StartKind::Unanchored
                    })
                    .dfa_size_limit(Some(bytes))
                    .determinize_size_limit(Some(8 * bytes)),
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

    /// Where the shortest match that begins at `start` ends. Adds the bytes that were looked at to `spent`.
    ///
    /// The pattern must be compiled for it. Text before `start` counts for `^` and `\b`.
    pub(crate) fn find_at(&self, haystack: &[u8], start: usize, spent: &mut u32) -> Option<usize> {
        let dfa = &self.0;
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let mut state = dfa.start_state_forward(&input).ok()?;
        for (at, byte) in haystack.iter().enumerate().skip(start) {
            state = dfa.next_state(state, *byte);
            if dfa.is_special_state(state) {
                // Matches are known one byte late.
                if dfa.is_match_state(state) {
                    *spent += (at - start) as u32 + 1;
                    return Some(at);
                }
                if dfa.is_dead_state(state) {
                    *spent += (at - start) as u32 + 1;
                    return None;
                }
            }
        }
        *spent += (haystack.len() - start) as u32 + 1;
        dfa.is_match_state(dfa.next_eoi_state(state))
            .then_some(haystack.len())
    }

    /// Whether there is a match without a percent-encoded byte. Takes time and memory for all of
    /// the automaton.
    pub(crate) fn matches_without_escapes(&self) -> bool {
        let dfa = &self.0;
        let Ok(first) = dfa.start_state_forward(&Input::new(b"")) else {
            return true;
        };
        // States, and how many bytes of an escape are there.
        let mut reached = HashSet::from([(first, 0u8)]);
        let mut open = vec![(first, 0)];
        while let Some((state, escape)) = open.pop() {
            if dfa.is_match_state(state) || dfa.is_match_state(dfa.next_eoi_state(state)) {
                return true;
            }
            for byte in 0..=u8::MAX {
                // `%XX` and `%uXXXX`.
                let escape = match (escape, byte) {
                    (_, b'%') => 1,
                    (1, b'u' | b'U') => 3,
                    (2 | 6, _) if byte.is_ascii_hexdigit() => continue,
                    (1 | 3..=5, _) if byte.is_ascii_hexdigit() => escape + 1,
                    _ => 0,
                };
                let next = (dfa.next_state(state, byte), escape);
                if !dfa.is_dead_state(next.0) && reached.insert(next) {
                    open.push(next);
                }
            }
        }
        false
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
        let pattern = Pattern::compile(r"\bunion\s+select\b", false).unwrap();
        assert_eq!(pattern.find(b"\xff UNION\n Select 1"), Some(15));
        assert_eq!(pattern.find(b"reunion select"), None);
    }

    #[test]
    fn finds_what_begins_at_an_offset() {
        let pattern = Pattern::compile(r"\bab+c\b", true).unwrap();
        let mut spent = 0;
        let text = b"xabc abbc";
        assert_eq!(pattern.find_at(text, 1, &mut spent), None, "in a word");
        assert_eq!(pattern.find_at(text, 5, &mut spent), Some(9), "at the end");
        assert_eq!(pattern.find_at(text, 4, &mut spent), None);
        assert_eq!(pattern.find_at(b"abc-", 0, &mut spent), Some(3));
        assert_eq!(pattern.find(text), Some(9));
        assert!(spent < 20);
    }

    #[test]
    fn refuses_what_explodes_or_does_not_parse() {
        assert!(
            Pattern::compile("a.{0,60}b.{0,60}c", false)
                .unwrap_err()
                .1
                .contains("too large")
        );
        assert!(Pattern::compile("(a", false).unwrap_err().1.contains("correct"));
    }

    #[test]
    fn patterns_about_escapes() {
        for (regex, without) in [
            ("%00", false),
            ("%(?:25)*00(?:$|/)", false),
            ("[^a]%[0-9a-f]{2}", false),
            ("%u00[0-9a-f]{2}", false),
            ("%u00", true),
            ("<%[@=\\s]*(?:eval|page)", true),
            ("(?:/|%2f)etc", true),
            ("100%", true),
            ("^%", true),
        ] {
            let pattern = Pattern::compile(regex, false).expect("right");
            assert_eq!(pattern.matches_without_escapes(), without, "{regex}");
        }
    }
}
