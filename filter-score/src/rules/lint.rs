//! Rules that compile and yet are not what their author meant.

use std::collections::HashSet;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input, MatchKind};

use super::condition::{Condition, When};
use super::error::PackError;
use super::literals;
use super::pack::Located;
use super::pattern::syntax_config;
use super::set::{Check, Rule, RuleSet};
use crate::target::{Target, TargetSet};

/// Larger automata fall out of the CPU's caches, in bytes.
const LARGE: usize = 256 << 10;

impl RuleSet {
    /// What is odd about the rules, in the order of the packs: literals that cannot be of use, large automata, rules that
    /// can never hit, samples given twice. Takes about a millisecond a rule.
    #[must_use]
    pub fn lint(&self) -> Vec<PackError> {
        let mut oddities = Vec::new();
        for rule in &self.rules {
            let mut linter = Linter {
                rule,
                oddities: &mut oddities,
            };
            linter.literals();
            linter.cost();
            linter.targets();
            linter.samples();
            linter.conditions(self);
        }
        oddities
    }
}

struct Linter<'a> {
    rule: &'a Rule,
    oddities: &'a mut Vec<PackError>,
}

impl Linter<'_> {
    fn report(&mut self, message: &str, remedy: &str) {
        let message = format!("rule {} {message}", self.rule.info.id);
        let oddity = self.rule.written.place.error(message, remedy);
        self.oddities.push(oddity);
    }

    fn literals(&mut self) {
        let Some(regex) = &self.rule.written.regex else {
            return;
        };
        let given = &self.rule.written.literals;
        if given.is_empty() {
            return;
        }
        if literals::leads(&regex.text).is_some() {
            self.report(
                "does not need its `literals`: every match begins with one of its own",
                "remove `literals`",
            );
            return;
        }
        let folded: Vec<_> = given
            .iter()
            .map(|literal| literal.text.to_ascii_lowercase())
            .collect();
        let language = language(regex);
        for (at, literal) in given.iter().enumerate() {
            let within = |other: &usize| {
                let (one, other) = (&folded[at], &folded[*other]);
                one.contains(other.as_str())
            };
            if let Some(other) = (0..given.len())
                .find(|other| *other != at && within(other) && (folded[at] != folded[*other] || *other < at))
            {
                let message = format!(
                    "rule {}: the literal `{}` holds `{}`, which is looked for as well",
                    self.rule.info.id, literal.text, given[other].text
                );
                self.oddities
                    .push(literal.place.error(message, "remove the longer one"));
            } else if language
                .as_ref()
                .is_some_and(|dfa| !may_contain(dfa, folded[at].as_bytes()))
            {
                let message = format!(
                    "rule {}: no match of the expression has the literal `{}`",
                    self.rule.info.id, literal.text
                );
                self.oddities.push(literal.place.error(
                    message,
                    "remove it, unless the rule is to run only on fields that have it somewhere else",
                ));
            }
        }
    }

    fn cost(&mut self) {
        if let Check::Pattern(pattern) = &self.rule.check
            && pattern.memory() > LARGE
        {
            let message = format!("has an automaton of {} KiB", pattern.memory() >> 10);
            self.report(
                &message,
                "replace counted repetitions such as `.{0,20}` by `*`, or split the rule",
            );
        }
    }

    fn targets(&mut self) {
        if matches!(self.rule.check, Check::Pattern(_)) && self.rule.targets == TargetSet::of(Target::Request)
        {
            self.report(
                "can never hit: no field has the target `request`",
                "name the targets it is to look at, such as `inputs`",
            );
        }
    }

    fn samples(&mut self) {
        let mut seen = HashSet::new();
        for sample in self.rule.matching.iter().chain(&self.rule.passing) {
            if !seen.insert(&sample.text) {
                let message = format!("rule {} has this sample twice", self.rule.info.id);
                self.oddities
                    .push(sample.place.error(message, "give another one"));
            }
        }
    }

    fn conditions(&mut self, rules: &RuleSet) {
        let conditions = &self.rule.conditions;
        let contradictory = conditions.iter().enumerate().any(|(at, one)| {
            conditions[..at]
                .iter()
                .any(|other| one.not != other.not && same(one, other, rules))
        });
        if contradictory {
            self.report(
                "can never hit: one of its conditions is the opposite of another",
                "remove one of the two",
            );
        }
        let repeated = conditions.iter().enumerate().any(|(at, one)| {
            conditions[..at]
                .iter()
                .any(|other| one.not == other.not && same(one, other, rules))
        });
        if repeated {
            self.report("has the same condition twice", "remove one of the two");
        }
        let only_header = self.rule.targets == TargetSet::of(Target::Header) && !self.rule.headers.is_empty();
        let gone = |name: &String| {
            conditions.iter().any(|condition| match condition.when {
                When::HeaderMissing(slot) => !condition.not && rules.watched[usize::from(slot)] == *name,
                _ => false,
            })
        };
        if only_header && self.rule.headers.iter().all(gone) {
            self.report(
                "can never hit: it looks at a header that must be missing",
                "look at another header, or remove the condition",
            );
        }
    }
}

/// Whether two conditions ask the same.
fn same(one: &Condition, other: &Condition, rules: &RuleSet) -> bool {
    match (&one.when, &other.when) {
        (When::Method(one), When::Method(other)) => one == other,
        (When::Path(one), When::Path(other)) => one == other,
        (When::HeaderMissing(one), When::HeaderMissing(other)) => one == other,
        (When::Hit { rule: one, .. }, When::Hit { rule: other, .. }) => {
            let [one, other] = [one, other].map(|rule| &rules.rules[usize::from(*rule)]);
            let text = |rule: &Rule| rule.written.regex.as_ref().map(|regex| regex.text.clone());
            text(one) == text(other)
                && one.targets == other.targets
                && one.headers == other.headers
                && one.decodings == other.decodings
        }
        _ => false,
    }
}

/// Steps of a walk after which nothing can be told.
const MAX_STEPS: usize = 1 << 14;

type Language = dense::DFA<Vec<u32>>;

/// The matches of an expression from their first byte on; none if they are too many to tell.
fn language(regex: &Located) -> Option<Language> {
    dense::Builder::new()
        .syntax(syntax_config())
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .dfa_size_limit(Some(LARGE)),
        )
        .build(&regex.text)
        .ok()
}

/// Whether some match of the expression contains the lower-case literal: a walk through the product of the
/// expression's automaton and that of the literal. Says yes where it cannot be told.
fn may_contain(dfa: &Language, literal: &[u8]) -> bool {
    // What came before the match, a letter or not, decides about `\b`.
    let starts = ["", "a", " "].map(|before| {
        let text = format!("{before}x");
        dfa.start_state_forward(&Input::new(&text).range(before.len()..).anchored(Anchored::Yes))
    });
    let failure = failures(literal);
    let mut open: Vec<(StateID, usize)> = starts.into_iter().flatten().map(|state| (state, 0)).collect();
    let mut seen: HashSet<_> = open.iter().copied().collect();
    while let Some((state, matched)) = open.pop() {
        if seen.len() > MAX_STEPS {
            return true;
        }
        if matched == literal.len()
            && (dfa.is_match_state(state) || dfa.is_match_state(dfa.next_eoi_state(state)))
        {
            return true;
        }
        if dfa.is_dead_state(state) {
            continue;
        }
        // Most neighbouring bytes lead to the same place.
        let mut last = None;
        for byte in 0..=u8::MAX {
            let next = (
                dfa.next_state(state, byte),
                advance(literal, &failure, matched, byte),
            );
            if last.replace(next) != Some(next) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// Knuth, Morris, Pratt: for each prefix, the length of the longest one that also ends it.
fn failures(literal: &[u8]) -> Vec<usize> {
    let mut failure = vec![0; literal.len() + 1];
    let mut length = 0;
    for at in 1..literal.len() {
        while length > 0 && literal[at] != literal[length] {
            length = failure[length];
        }
        length += usize::from(literal[at] == literal[length]);
        failure[at + 1] = length;
    }
    failure
}

fn advance(literal: &[u8], failure: &[usize], mut matched: usize, byte: u8) -> usize {
    if matched == literal.len() {
        return matched;
    }
    let byte = byte.to_ascii_lowercase();
    while matched > 0 && literal[matched] != byte {
        matched = failure[matched];
    }
    matched + usize::from(literal[matched] == byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::PackSource;

    fn lint(fields: &str) -> Vec<String> {
        let text = format!(
            "family = \"custom\"\n[[rule]]\nid = 1\nmessage = \"m\"\nseverity = \"error\"\n\
             samples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n{fields}"
        );
        let rules = RuleSet::compile(&[PackSource {
            name: "own.toml",
            text: &text,
        }]);
        let oddities = rules.expect("it compiles").lint();
        oddities.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_oddity_is_named() {
        let inputs = "targets = [\"inputs\"]\n";
        for (fields, message) in [
            (
                format!("{inputs}regex = 'abc'\nliterals = [\"abc\"]\n"),
                "own.toml:3:6: rule 1 does not need its `literals`",
            ),
            (
                format!("{inputs}regex = '[a-z]+=.*sel[a-z]*ect'\nliterals = [\"sel\", \"select\"]\n"),
                "own.toml:10:20: rule 1: the literal `select` holds `sel`",
            ),
            (
                format!("{inputs}regex = '[a-z]+=.*sel[a-z]*ect'\nliterals = [\"ect\", \"in=to\", \"#-\"]\n"),
                "",
            ),
            (
                format!("{inputs}regex = '[a-z]+=[0-9]+'\nliterals = [\"=1\", \"=x\"]\n"),
                "own.toml:10:19: rule 1: no match of the expression has the literal `=x`",
            ),
            (
                "targets = [\"request\"]\nregex = 'abc'\n".to_owned(),
                "own.toml:3:6: rule 1 can never hit: no field",
            ),
            (
                format!(
                    "{inputs}regex = 'abc'\n[[rule.and]]\nmethod = [\"GET\"]\n[[rule.and]]\nnot = true\nmethod = [\"GET\"]\n"
                ),
                "rule 1 can never hit: one of its conditions is the opposite",
            ),
            (
                format!("{inputs}regex = 'abc'\n[[rule.and]]\npath = \"/a\"\n[[rule.and]]\npath = \"/a\"\n"),
                "rule 1 has the same condition twice",
            ),
            (
                "targets = [\"header:x-a\"]\nregex = 'abc'\n[[rule.and]]\nheader-missing = \"X-A\"\n"
                    .to_owned(),
                "rule 1 can never hit: it looks at a header",
            ),
            (format!("{inputs}regex = 'abc'\n"), ""),
        ] {
            let oddities = lint(&fields);
            if message.is_empty() {
                assert!(oddities.is_empty(), "{fields}\n{oddities:?}");
            } else {
                assert!(
                    oddities.len() == 1 && oddities[0].contains(message),
                    "{fields}\n{oddities:?}"
                );
            }
        }
    }
}
