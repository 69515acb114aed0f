//! Rules against one field, under every decoding that changes it.

use std::mem::take;

use crate::decode::{DecodingSet, comment, entity, escape, path, percent, shell, unicode};
use crate::findings::{Findings, Place};
use crate::http::Violation;
use crate::policies::Ruling;
use crate::rules::candidates::Candidates;
use crate::rules::prefilter::Classes;
use crate::rules::{Check, Part, Pattern, RuleSet};
use crate::target::Target;

/// Percent-decoding is repeated this often at most.
const URL_ROUNDS: usize = 4;

/// Bytes that a rule may look at more than once in a field, beyond the field's own length.
const FREE: usize = 256;

/// Bytes that some decoding might change.
const DECODABLE: Classes = Classes::PERCENT
    .or(Classes::AMPERSAND)
    .or(Classes::BACKSLASH)
    .or(Classes::NUL)
    .or(Classes::CONTROL)
    .or(Classes::HIGH)
    .or(Classes::QUOTE)
    .or(Classes::EXPANSION)
    .or(Classes::STAR)
    .or(Classes::LINE);

/// Working memory of one thread.
#[derive(Debug)]
pub(crate) struct Scratch {
    candidates: Candidates,
    /// Bytes that each rule has looked at by following its literals; zero between fields.
    spent: Vec<u32>,
    current: Vec<u8>,
    next: Vec<u8>,
}

impl Scratch {
    /// `longest`: bytes of the longest field that will be decoded.
    pub(crate) fn new(rules: usize, longest: usize) -> Self {
        Self {
            candidates: Candidates::new(rules),
            spent: vec![0; rules],
            current: Vec::with_capacity(longest),
            next: Vec::with_capacity(longest),
        }
    }
}

/// Writes the decoded text and says whether anything changed.
type Decoder = fn(&[u8], &mut Vec<u8>) -> bool;

/// A field while it is decoded step by step.
struct Chain<'a> {
    raw: &'a [u8],
    current: Vec<u8>,
    next: Vec<u8>,
    changed: bool,
    applied: DecodingSet,
}

impl Chain<'_> {
    fn text(&self) -> &[u8] {
        if self.changed { &self.current } else { self.raw }
    }

    fn apply(&mut self, decoding: DecodingSet, decode: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) -> bool {
        let mut next = take(&mut self.next);
        let changed = decode(self.text(), &mut next);
        self.next = next;
        if changed {
            std::mem::swap(&mut self.current, &mut self.next);
            self.changed = true;
            self.applied = self.applied | decoding;
        }
        changed
    }
}

pub(crate) struct Evaluator<'a> {
    pub(crate) rules: &'a RuleSet,
    /// What the policy makes of them.
    pub(crate) ruling: &'a Ruling,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) findings: &'a mut Findings,
}

impl<'a> Evaluator<'a> {
    /// Scores a field. `plus`: a plus sign means a space. Returns the classes of its raw bytes.
    pub(crate) fn field(&mut self, place: Place<'_>, raw: &[u8], plus: bool) -> Classes {
        let classes = self.look(place, raw, DecodingSet::default());
        let spaces = plus && classes.intersects(Classes::PLUS);
        let segments = classes.intersects(Classes::SLASH) && place.target != Target::Header;
        if spaces || segments || classes.intersects(DECODABLE) {
            self.decoded(place, raw, classes, plus);
        }
        classes
    }

    /// A header line of the head has this name.
    pub(crate) fn header(&mut self, name: &[u8]) {
        if !self.rules.watched.is_empty() {
            self.findings.header(self.rules, name);
        }
    }

    /// A part of the request has ended.
    pub(crate) fn end_of(&mut self, part: Part) {
        self.findings.end_of(self.rules, self.ruling, part);
    }

    pub(crate) fn violation(&mut self, violation: Violation, evidence: &[u8]) {
        if let Some(index) = self.rules.violation(violation)
            && self.ruling.active.contains(index)
        {
            let place = Place {
                target: Target::Request,
                name: b"",
            };
            self.findings.record(
                self.rules,
                self.ruling,
                index,
                place,
                evidence,
                DecodingSet::default(),
            );
        }
    }

    #[inline(never)]
    fn decoded(&mut self, place: Place<'_>, raw: &[u8], mut classes: Classes, plus: bool) {
        let mut chain = Chain {
            raw,
            current: take(&mut self.scratch.current),
            next: take(&mut self.scratch.next),
            changed: false,
            applied: DecodingSet::default(),
        };
        for round in 0..URL_ROUNDS {
            let plus = plus && round == 0;
            let needed = if plus {
                Classes::PERCENT.or(Classes::PLUS)
            } else {
                Classes::PERCENT
            };
            let decoding = if round == 0 {
                DecodingSet::URL
            } else {
                DecodingSet::URL_REPEATED
            };
            if !classes.intersects(needed)
                || !chain.apply(decoding, |text, out| percent::decode(text, plus, out).changed)
            {
                break;
            }
            classes = self.look(place, chain.text(), chain.applied);
        }
        let steps: [(Classes, DecodingSet, Decoder); 4] = [
            (Classes::HIGH, DecodingSet::UNICODE, unicode::decode),
            (Classes::AMPERSAND, DecodingSet::ENTITY, entity::decode),
            (Classes::BACKSLASH, DecodingSet::ESCAPE, escape::decode),
            (
                Classes::NUL.or(Classes::CONTROL),
                DecodingSet::CONTROL,
                strip_control,
            ),
        ];
        for (needed, decoding, decode) in steps {
            if classes.intersects(needed) && chain.apply(decoding, decode) {
                classes = self.look(place, chain.text(), chain.applied);
            }
        }
        if place.target != Target::Header && classes.intersects(Classes::SLASH.or(Classes::BACKSLASH)) {
            self.variant(place, &mut chain, DecodingSet::PATH, path::normalise);
        }
        if classes.intersects(Classes::STAR.or(Classes::LINE)) {
            self.variant(place, &mut chain, DecodingSet::SQL, comment::strip);
        }
        if classes.intersects(Classes::QUOTE.or(Classes::BACKSLASH).or(Classes::EXPANSION)) {
            self.variant(place, &mut chain, DecodingSet::SHELL, shell::unquote);
        }
        self.scratch.current = chain.current;
        self.scratch.next = chain.next;
    }

    /// Looks at one more reading of the decoded text, from which no others are made.
    fn variant(&mut self, place: Place<'_>, chain: &mut Chain<'_>, decoding: DecodingSet, decode: Decoder) {
        let mut reading = take(&mut chain.next);
        if decode(chain.text(), &mut reading) {
            self.look(place, &reading, chain.applied | decoding);
        }
        chain.next = reading;
    }

    fn look(&mut self, place: Place<'_>, text: &[u8], decodings: DecodingSet) -> Classes {
        let classes = self.rules.prefilter.scan(text, &mut self.scratch.candidates);
        if classes.intersects(self.rules.gated_classes) {
            for (gate, rule) in &self.rules.gated {
                if classes.intersects(*gate) {
                    self.scratch.candidates.everywhere(*rule);
                }
            }
        }
        if !self.scratch.candidates.is_empty() {
            self.confirm(place, text, classes, decodings);
            self.scratch.candidates.clear();
        }
        classes
    }

    #[cold]
    fn confirm(&mut self, place: Place<'_>, text: &[u8], classes: Classes, decodings: DecodingSet) {
        let mut index = 0;
        while let Some(sighting) = self.scratch.candidates.sighting(index) {
            index += 1;
            let rule = usize::from(sighting.rule);
            if self.scratch.candidates.is_everywhere(sighting.rule) {
                continue;
            }
            let Some(pattern) = self.runnable(rule, place, classes, decodings) else {
                continue;
            };
            let spent = &mut self.scratch.spent[rule];
            let found = (sighting.from as usize..=sighting.to as usize)
                .find_map(|start| pattern.find_at(text, start, spent));
            if let Some(end) = found {
                self.record(rule, place, text, end, decodings);
            } else if *spent as usize > text.len() + FREE {
                // Following each place would take longer than one run over all of it: the time stays linear.
                self.scratch.candidates.everywhere(sighting.rule);
            }
        }
        for index in 0..index {
            if let Some(sighting) = self.scratch.candidates.sighting(index) {
                self.scratch.spent[usize::from(sighting.rule)] = 0;
            }
        }
        let mut index = 0;
        while let Some(rule) = self.scratch.candidates.everywhere_at(index) {
            index += 1;
            let found = self
                .runnable(rule, place, classes, decodings)
                .and_then(|pattern| pattern.find(text));
            if let Some(end) = found {
                self.record(rule, place, text, end, decodings);
            }
        }
    }

    /// The pattern of a rule that applies to this reading of the field and has not hit yet.
    fn runnable(
        &self,
        index: usize,
        place: Place<'_>,
        classes: Classes,
        decodings: DecodingSet,
    ) -> Option<&'a Pattern> {
        let rule = &self.rules.rules[index];
        let named = || {
            rule.headers.is_empty()
                || place.target != Target::Header
                || rule
                    .headers
                    .iter()
                    .any(|header| place.name.eq_ignore_ascii_case(header.as_bytes()))
        };
        let runs = rule.targets.contains(place.target)
            && rule.decodings.contains(decodings.optional())
            && !self.findings.has(index)
            && self.ruling.active.contains(index)
            && rule.gates.iter().all(|gate| classes.intersects(*gate))
            && named();
        match &rule.check {
            Check::Pattern(pattern) if runs => Some(pattern),
            _ => None,
        }
    }

    fn record(&mut self, index: usize, place: Place<'_>, text: &[u8], end: usize, decodings: DecodingSet) {
        self.findings.record(
            self.rules,
            self.ruling,
            index,
            place,
            evidence(text, end),
            decodings,
        );
    }
}

/// What is shown of a match: the bytes up to where it became certain, and a few more.
fn evidence(text: &[u8], end: usize) -> &[u8] {
    &text[end.saturating_sub(48)..text.len().min(end + 16)]
}

/// Removes NUL and other control bytes except tabs and line ends.
fn strip_control(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend(
        input
            .iter()
            .filter(|byte| !matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)),
    );
    out.len() != input.len()
}
