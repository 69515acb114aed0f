//! The prefilters of a rule set: one for every field, and one for the headers that rules name.
//!
//! What rules look for in a few headers, such as `//` in `X-Original-Url`, is common in all others.

use super::candidates::Candidates;
use super::classes::Classes;
use super::prefilter::{Literal, Owner, Prefilter};
use super::set::{Check, Rule};
use crate::findings::Place;
use crate::target::{Target, TargetSet};

/// Headers that nearly all requests have: a second pass over them costs more than it saves.
const USUAL: [&str; 6] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "host",
    "referer",
    "user-agent",
];

#[derive(Debug)]
pub(crate) struct Sieve {
    every: Prefilter,
    named: Prefilter,
    /// Lower-case names of the headers that `named` is about.
    names: Vec<String>,
    /// Their first letters and their lengths, a bit each: most other names are told from them by that.
    firsts: u32,
    lengths: u32,
}

impl Sieve {
    /// `literals`: folded to lower case, at least two bytes each, with the rule they belong to.
    pub(crate) fn new(literals: Vec<(Vec<u8>, Owner)>, rules: &[Rule]) -> Self {
        let by_name = |rule: &Rule| {
            let usual = rule.headers.iter().any(|name| USUAL.contains(&name.as_str()));
            rule.targets == TargetSet::of(Target::Header) && !rule.headers.is_empty() && !usual
        };
        let (named, every): (Vec<_>, Vec<_>) = literals
            .into_iter()
            .map(|(bytes, owner)| {
                let rule = &rules[usize::from(owner.rule)];
                let literal = Literal {
                    word: is_word(rule, &bytes),
                    detector: matches!(rule.check, Check::Detector(_)),
                    targets: rule.targets,
                    bytes,
                    owner,
                };
                (by_name(rule), literal)
            })
            .partition(|(by_name, _)| *by_name);
        let literals = |part: Vec<(bool, Literal)>| part.into_iter().map(|(_, literal)| literal).collect();
        let mut headers: Vec<_> = rules
            .iter()
            .filter(|rule| by_name(rule))
            .flat_map(|rule| rule.headers.iter().cloned())
            .collect();
        headers.sort();
        headers.dedup();
        let bits = |bit: fn(&String) -> u32| headers.iter().map(bit).fold(0, |all, bit| all | bit);
        Self {
            firsts: bits(|name| first_bit(name.as_bytes())),
            lengths: bits(|name| length_bit(name.as_bytes())),
            every: Prefilter::new(literals(every)),
            named: Prefilter::new(literals(named)),
            names: headers,
        }
    }

    /// Adds the rules whose literals occur in a field to `candidates` and returns the classes of bytes that occur.
    #[inline]
    pub(crate) fn search(&self, place: Place<'_>, text: &[u8], candidates: &mut Candidates) -> Classes {
        if place.target == Target::Header && self.is_named(place.name) {
            self.search_named(text, candidates);
        }
        self.every.search(text, place.target, candidates)
    }

    #[cold]
    #[inline(never)]
    fn search_named(&self, text: &[u8], candidates: &mut Candidates) {
        self.named.search(text, Target::Header, candidates);
    }

    fn is_named(&self, name: &[u8]) -> bool {
        self.firsts & first_bit(name) != 0
            && self.lengths & length_bit(name) != 0
            && self
                .names
                .iter()
                .any(|known| known.len() == name.len() && name.eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// Letters of both cases have the same one.
fn first_bit(name: &[u8]) -> u32 {
    1 << (name.first().unwrap_or(&0) & 31)
}

fn length_bit(name: &[u8]) -> u32 {
    1 << (name.len() & 31)
}

/// Whether a literal counts only as a word of its own.
fn is_word(rule: &Rule, literal: &[u8]) -> bool {
    match rule.check {
        Check::Detector(detector) => detector.words.iter().any(|word| word.as_bytes() == literal),
        Check::Pattern(_) | Check::Violation => false,
    }
}
