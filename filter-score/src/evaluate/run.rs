//! Rules on one reading of a field: where their literals stand, and what their patterns and detectors find there.

use super::Evaluator;
use super::inside::Frame;
use super::readings::Chain;
use crate::decode::DecodingSet;
use crate::decode::changes::Changes;
use crate::detect::{Evidence, Grade, READINGS, Reading};
use crate::findings::{Match, Place};
use crate::rules::Check;
use crate::rules::classes::Classes;
use crate::target::Target;

/// Bytes that a rule may look at more than once in a field, beyond the field's own length.
const FREE: usize = 256;

/// Whether a detector's reading was asked for, and what it found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    NotYet,
    Found(Option<(Grade, Evidence)>),
}

/// How a text is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As a target may see it.
    Whole,
    /// No target sees it as it stands, but what is decoded of it next: patterns see it, and what reads escapes.
    Encoded,
    /// A text whose parts are looked at on their own: patterns see it.
    Frame(Frame),
}

impl View {
    /// Whether a detector reads the text. `sql`: there are words of SQL in it; then the quotes of a JSON text may be those of a string
    /// in a statement, too.
    fn is_for(self, reading: Reading, sql: bool) -> bool {
        match self {
            Self::Whole => true,
            Self::Encoded => reading == Reading::Path,
            Self::Frame(Frame::Json) => sql && reading == Reading::SqlQuoted,
            Self::Frame(Frame::Form) => false,
        }
    }
}

impl<'a> Evaluator<'a> {
    /// Looks for what rules begin with, and returns the classes of a reading's bytes.
    pub(super) fn search(&mut self, place: Place<'_>, text: &[u8]) -> Classes {
        self.scratch.changed = None;
        self.rules
            .prefilter
            .search(place, text, &mut self.scratch.candidates)
    }

    /// The same for what the last decoding has made of a text with the classes `before`; what has not changed was searched.
    pub(super) fn search_changes(&mut self, place: Place<'_>, chain: &Chain<'_>, before: Classes) -> Classes {
        if chain.changes.are_everywhere() {
            self.search(place, chain.text())
        } else {
            self.search_parts(place, chain.text(), &chain.changes, before)
        }
    }

    pub(super) fn search_parts(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        changes: &Changes,
        before: Classes,
    ) -> Classes {
        let mut seen = Classes::default();
        let candidates = &mut self.scratch.candidates;
        for part in changes.parts() {
            candidates.in_part(part.start);
            seen = seen.or(self.rules.prefilter.search(place, &text[part], candidates));
        }
        candidates.in_part(0);
        // A literal in one of the parts may belong to a mark anywhere.
        self.scratch.changed = candidates.is_empty().then_some(seen);
        before.or(seen)
    }

    /// Scores one reading of a field as it is.
    #[inline(never)]
    pub(crate) fn look(&mut self, place: Place<'_>, text: &[u8], decodings: DecodingSet) -> Classes {
        let classes = self.search(place, text);
        self.confirm_any(place, text, classes, decodings, View::Whole);
        classes
    }

    /// Runs rules on a reading that was searched, if there is reason to. `classes`: those of all its bytes, at least.
    pub(super) fn confirm_any(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        classes: Classes,
        decodings: DecodingSet,
        view: View,
    ) {
        let changed = self.scratch.changed.take().unwrap_or(classes);
        if !self.scratch.candidates.is_empty() || changed.intersects(self.rules.gated_classes(place.target)) {
            self.confirm(place, text, (classes, changed), decodings, view);
        }
    }

    /// Runs the patterns of the candidates. `classes`: those of all bytes of the text, and of those that may make a difference.
    #[cold]
    #[inline(never)]
    fn confirm(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        (classes, changed): (Classes, Classes),
        decodings: DecodingSet,
        view: View,
    ) {
        for (gate, rule) in &self.rules.gated {
            if changed.intersects(*gate) {
                self.scratch.candidates.everywhere(*rule);
            }
        }
        let mut index = 0;
        while let Some(sighting) = self.scratch.candidates.sighting(index) {
            index += 1;
            let rule = usize::from(sighting.rule);
            if self.scratch.candidates.is_everywhere(sighting.rule)
                || !self.applies(rule, place, classes, decodings)
            {
                continue;
            }
            self.scratch.noted |= self.scratch.candidates.is_told(rule);
            let Some(Check::Pattern(pattern)) = self.runnable(rule) else {
                continue;
            };
            let spent = &mut self.scratch.spent[rule];
            let found = (sighting.from as usize..=sighting.to as usize)
                .find_map(|start| pattern.find_at(text, start, spent));
            if let Some(end) = found {
                self.record(rule, place, evidence(text, end), "", decodings);
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
        self.scratch.found = [Asked::NotYet; READINGS];
        let spans_strings = view == View::Frame(Frame::Json) && self.has_words_of_sql();
        let mut index = 0;
        while let Some(rule) = self.scratch.candidates.everywhere_at(index) {
            index += 1;
            if !self.applies(rule, place, classes, decodings) {
                continue;
            }
            self.scratch.noted |= self.scratch.candidates.is_told(rule);
            match self.runnable(rule) {
                Some(Check::Pattern(pattern)) => {
                    if let Some(end) = pattern.find(text) {
                        self.record(rule, place, evidence(text, end), "", decodings);
                    }
                }
                Some(Check::Detector(detector))
                    if !detector.reading.sees(decodings) || !view.is_for(detector.reading, spans_strings) => {
                }
                Some(Check::Detector(detector)) => {
                    let asked = &mut self.scratch.found[detector.reading as usize];
                    let found = match *asked {
                        Asked::Found(found) => found,
                        Asked::NotYet => {
                            let found = detector.reading.of(text);
                            *asked = Asked::Found(found);
                            found
                        }
                    };
                    if let Some((grade, Evidence { start, end, label })) = found
                        && grade == detector.grade
                    {
                        self.record(rule, place, &text[start..end], label, decodings);
                    }
                }
                Some(Check::Violation) | None => {}
            }
        }
        self.scratch.candidates.clear();
    }

    /// Whether something in the text at hand may be SQL.
    fn has_words_of_sql(&self) -> bool {
        let rules = (0..).map_while(|index| self.scratch.candidates.everywhere_at(index));
        rules
            .map(|rule| &self.rules.rules[rule].check)
            .any(|check| matches!(check, Check::Detector(detector) if detector.reading == Reading::SqlBare))
    }

    /// Whether a rule is about this reading of the field.
    fn applies(&self, index: usize, place: Place<'_>, classes: Classes, decodings: DecodingSet) -> bool {
        let rule = &self.rules.rules[index];
        let named = || {
            rule.headers.is_empty()
                || place.target != Target::Header
                || rule
                    .headers
                    .iter()
                    .any(|header| place.name.eq_ignore_ascii_case(header.as_bytes()))
        };
        rule.targets.contains(place.target)
            && rule.decodings.contains(decodings.optional())
            && rule.gates.iter().all(|gate| classes.intersects(*gate))
            && named()
    }

    /// What a rule that applies looks for, if it is in force and has not hit yet.
    fn runnable(&mut self, index: usize) -> Option<&'a Check> {
        if !self.ruling.active.contains(index) {
            return None;
        }
        if self.findings.has(index) {
            // It counts once, but a field that it may hit as well is as doubtful as the first.
            self.findings.again();
            return None;
        }
        Some(&self.rules.rules[index].check)
    }

    pub(super) fn record(
        &mut self,
        index: usize,
        place: Place<'_>,
        text: &[u8],
        shape: &'static str,
        decodings: DecodingSet,
    ) {
        let found = Match {
            text,
            shape,
            decodings,
        };
        self.findings.record(self.rules, self.ruling, index, place, found);
    }
}

/// What is shown of a match: the bytes up to where it became certain, and a few more.
fn evidence(text: &[u8], end: usize) -> &[u8] {
    &text[end.saturating_sub(48)..text.len().min(end + 16)]
}
