//! Rules against one field, under every decoding that changes it.

use std::mem::take;

use crate::baseline::Service;
use crate::cache::{Fingerprint, Known};
use crate::decode::changes::Changes;
use crate::decode::encoding::Encoding;
use crate::decode::{
    DecodingSet, base64, comment, entity, escape, form, json, path, percent, shell, unicode,
};
use crate::detect::{Evidence, Grade, READINGS, Reading};
use crate::findings::{Findings, Match, Place};
use crate::http::Violation;
use crate::model::{self, Model};
use crate::policies::Ruling;
use crate::policy::BaselineUse;
use crate::rules::candidates::Candidates;
use crate::rules::classes::Classes;
use crate::rules::{Check, Part, RuleSet};
use crate::target::Target;
use crate::train::Tap;

/// Fields up to this length are read in every way, whatever is found, in bytes.
const SHORT: usize = 512;
/// Percent-decoding is repeated this often at most.
const URL_ROUNDS: usize = 4;

/// Bytes that a rule may look at more than once in a field, beyond the field's own length.
const FREE: usize = 256;
/// Base64 is looked for in values and in what they hold, and no deeper.
const NESTING: usize = 2;
/// JSON texts and forms are looked for in values and in the parts of those, and no deeper.
const LEVELS: usize = 2;

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

/// Whether a detector's reading was asked for, and what it found.
#[derive(Clone, Copy, Debug)]
enum Asked {
    NotYet,
    Found(Option<(Grade, Evidence)>),
}

/// How a text is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// As a target may see it.
    Whole,
    /// No target sees it as it stands, but what is decoded of it next: patterns see it, and what reads escapes.
    Encoded,
    /// A text whose parts are looked at on their own: patterns see it.
    Frame(Frame),
}

/// What the parts of a text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// The strings of a JSON text.
    Json,
    /// The values of a form, and the address before it.
    Form,
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

/// Working memory of one thread.
#[derive(Debug)]
pub(crate) struct Scratch {
    candidates: Candidates,
    /// Bytes that each rule has looked at by following its literals; zero between fields.
    spent: Vec<u32>,
    /// What was detected in the text at hand.
    found: [Asked; READINGS],
    current: Vec<u8>,
    next: Vec<u8>,
    /// What a value holds in base64, and what that holds.
    nested: [Vec<u8>; NESTING],
    unescaped: Vec<u8>,
    /// Texts in several parts that fields hold, one in the other, and how many of them are being read.
    frames: [Vec<u8>; LEVELS],
    level: usize,
    /// The field at hand is one, after these decodings.
    frame: Option<(Frame, DecodingSet)>,
    /// Whether the first of `nested` has what the field at hand holds, if that was looked up already.
    unpacked: Option<bool>,
    /// Classes of the bytes that a decoding has changed in the text at hand, if only these were searched, and in vain.
    changed: Option<Classes>,
    /// The field at hand has a literal of a rule that applies to it, and not one that ordinary requests are full of.
    noted: bool,
    /// Where interesting fields go when a model is trained.
    pub(crate) tap: Option<Tap>,
}

impl Scratch {
    /// `longest`: bytes of the longest field that will be decoded.
    pub(crate) fn new(rules: usize, longest: usize) -> Self {
        Self {
            candidates: Candidates::new(rules),
            spent: vec![0; rules],
            found: [Asked::NotYet; READINGS],
            current: Vec::with_capacity(longest),
            next: Vec::with_capacity(longest),
            nested: std::array::from_fn(|_| Vec::with_capacity(longest)),
            unescaped: Vec::with_capacity(longest),
            frames: std::array::from_fn(|_| Vec::with_capacity(longest)),
            level: 0,
            frame: None,
            unpacked: None,
            changed: None,
            noted: false,
            tap: None,
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
    /// The raw field was not looked at.
    skipped: bool,
    /// Where the last decoding has changed the text.
    changes: Changes,
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
            self.changes = if decoding == DecodingSet::URL {
                Changes::EVERYWHERE
            } else {
                Changes::between(self.text(), &self.next)
            };
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
    /// The model, if the policy lets it have a say.
    pub(crate) model: Option<&'a Model>,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) findings: &'a mut Findings,
    /// What is known of the service that the request is for.
    pub(crate) service: Option<Service<'a>>,
    /// What was found clean before, in the first tier.
    pub(crate) known: Option<&'a mut Known>,
}

impl<'a> Evaluator<'a> {
    /// Scores a field. `plus`: a plus sign means a space. Returns the classes of its raw bytes that say something about a
    /// line; other classes may be missing.
    pub(crate) fn field(&mut self, place: Place<'_>, raw: &[u8], plus: bool) -> Classes {
        let encoding = Encoding::of(place.target, plus);
        self.part(place, raw, encoding, DecodingSet::default())
    }

    /// Scores a field, or a part of one which `applied` has made of it.
    fn part(&mut self, place: Place<'_>, raw: &[u8], encoding: Encoding, applied: DecodingSet) -> Classes {
        let fingerprint = self.fingerprint(place, raw, encoding, applied);
        if let (Some(fingerprint), Some(known)) = (fingerprint, &mut self.known) {
            if known.is_clean_field(fingerprint) {
                return Classes::default();
            }
            known.missed_field();
        }
        let classes = self.unknown_part(place, raw, encoding, applied);
        if let (Some(fingerprint), Some(known)) = (fingerprint, &mut self.known)
            && self.findings.is_unremarkable()
            && !classes.intersects(Classes::OF_LINES)
        {
            known.keep_field(fingerprint);
        }
        classes
    }

    /// The fingerprint of a field that may be known. Its context must be that of any request in which nothing was found: what the
    /// model makes of a field depends on the hits before it.
    #[inline]
    fn fingerprint(
        &self,
        place: Place<'_>,
        raw: &[u8],
        encoding: Encoding,
        applied: DecodingSet,
    ) -> Option<Fingerprint> {
        let known = self
            .known
            .as_ref()
            .filter(|known| known.keeps(place.target, raw))?;
        let alone = self.ruling.policy.baseline == BaselineUse::Off && self.findings.is_unremarkable();
        alone.then(|| known.field(place.target, raw, encoding, applied, self.ruling.index))
    }

    fn unknown_part(
        &mut self,
        place: Place<'_>,
        raw: &[u8],
        encoding: Encoding,
        applied: DecodingSet,
    ) -> Classes {
        let reasons = self.findings.reasons();
        let classes = self.reading(place, raw, encoding, applied);
        let frame = self.scratch.frame.take();
        if frame.is_some() {
            // Its parts may hold base64, each for itself.
            self.scratch.unpacked = None;
        } else if may_hold_base64(place, raw) {
            self.base64(place, raw, classes, applied, 0);
        }
        if self.findings.reasons() != reasons {
            self.findings
                .doubt(self.ruling, place, raw, encoding == Encoding::Form);
        }
        if let Some((frame, applied)) = frame {
            self.parts(place, frame, applied);
        }
        classes
    }

    /// Scores the parts of the text that was found last, which `applied` has made of the field.
    #[inline(never)]
    fn parts(&mut self, place: Place<'_>, frame: Frame, applied: DecodingSet) {
        let level = self.scratch.level;
        let text = take(&mut self.scratch.frames[level]);
        self.scratch.level = level + 1;
        match frame {
            Frame::Json => {
                for string in json::strings(&text).filter(|string| !string.is_empty()) {
                    self.part(place, string, Encoding::Json, applied | DecodingSet::JSON);
                }
            }
            Frame::Form => {
                let applied = applied | DecodingSet::FORM;
                let (address, values) = form::parts(&text);
                if !address.is_empty() {
                    self.part(place, address, Encoding::Plain, applied);
                }
                for value in values.filter(|value| !value.is_empty()) {
                    self.part(place, value, Encoding::Form, applied);
                }
            }
        }
        self.scratch.level = level;
        self.scratch.frames[level] = text;
    }

    /// Whether a reading of a field, which was searched, is a text in several parts. Then these are fields of their own: it is kept
    /// for [`Self::parts`], and seen as a whole only by what may span them.
    #[inline]
    fn is_frame(&mut self, place: Place<'_>, text: &[u8], classes: Classes, applied: DecodingSet) -> bool {
        classes.intersects(Classes::STRING.or(Classes::PAIR)) && self.has_parts(place, text, classes, applied)
    }

    #[inline(never)]
    fn has_parts(&mut self, place: Place<'_>, text: &[u8], classes: Classes, applied: DecodingSet) -> bool {
        let level = self.scratch.level;
        if level == LEVELS || !place.target.may_hold_base64() {
            return false;
        }
        let frame = if classes.intersects(Classes::STRING) && json::is_text(text) {
            Frame::Json
        } else if classes.intersects(Classes::PAIR) && form::is_text(text) {
            Frame::Form
        } else {
            return false;
        };
        self.scratch.frames[level].clear();
        self.scratch.frames[level].extend_from_slice(text);
        self.scratch.frame = Some((frame, applied));
        self.confirm_any(place, text, classes, applied, View::Frame(frame));
        if self.ruling.policy.baseline != BaselineUse::Off {
            self.is_usual(place, text, applied);
        }
        // A model that has learnt from whole forms, too, knows more of what is benign.
        if let Some(tap) = &mut self.scratch.tap
            && frame == Frame::Form
            && model::interesting(place, text, classes, self.scratch.noted)
        {
            tap.field(place, text, applied, self.findings);
        }
        true
    }

    /// Scores binary content: as it is, as no target decodes it.
    pub(crate) fn binary(&mut self, place: Place<'_>, content: &[u8]) {
        self.look(place, content, DecodingSet::default());
    }

    /// Scores what a value holds in base64.
    #[inline(never)]
    fn base64(&mut self, place: Place<'_>, raw: &[u8], classes: Classes, applied: DecodingSet, depth: usize) {
        let mut inner = take(&mut self.scratch.nested[depth]);
        let found = self.scratch.unpacked.take().unwrap_or_else(|| {
            let unescaped = &mut self.scratch.unescaped;
            let escaped =
                classes.intersects(Classes::PERCENT) && percent::decode(raw, false, unescaped).changed;
            base64::decode(if escaped { unescaped } else { raw }, &mut inner)
        });
        let mut frame = None;
        if found {
            let applied = applied | DecodingSet::BASE64;
            let classes = self.reading(place, &inner, Encoding::Plain, applied);
            frame = self.scratch.frame.take();
            if frame.is_none() && depth + 1 < NESTING {
                self.base64(place, &inner, classes, applied, depth + 1);
            }
        }
        self.scratch.nested[depth] = inner;
        if let Some((frame, applied)) = frame {
            self.parts(place, frame, applied);
        }
    }

    /// Looks in time for what a value holds in base64, while it is there without percent-encoding.
    fn unpack(&mut self, place: Place<'_>, raw: &[u8], unescaped: &[u8]) {
        if may_hold_base64(place, raw) {
            self.scratch.unpacked = Some(base64::decode(unescaped, &mut self.scratch.nested[0]));
        }
    }

    /// Scores one reading of a field, which `applied` has made of it, under every decoding.
    #[inline]
    fn reading(&mut self, place: Place<'_>, raw: &[u8], encoding: Encoding, applied: DecodingSet) -> Classes {
        self.scratch.noted = false;
        let plus = encoding == Encoding::Form;
        // What every target decodes first, rules need not see as it is, unless they are about escapes.
        let skipping = plus && !self.rules.encoded.contains(place.target);
        let skipped = skipping && percent::changes(raw, true);
        let classes = if skipped {
            Classes::of_text(raw)
        } else {
            self.search(place, raw)
        };
        let superseded = skipped || (!skipping && encoding.changes(raw, classes));
        if !superseded && self.is_frame(place, raw, classes, applied) {
            return classes;
        }
        if !skipped {
            let view = if superseded { View::Encoded } else { View::Whole };
            self.confirm_any(place, raw, classes, applied, view);
        }
        let spaces = plus && classes.intersects(Classes::PLUS);
        let segments = classes.intersects(Classes::SLASH) && place.target != Target::Header;
        if spaces || segments || classes.intersects(DECODABLE) {
            let mut chain = Chain {
                raw,
                current: take(&mut self.scratch.current),
                next: take(&mut self.scratch.next),
                changed: false,
                skipped,
                changes: Changes::EVERYWHERE,
                applied,
            };
            self.decoded(place, &mut chain, classes, plus);
            self.scratch.current = chain.current;
            self.scratch.next = chain.next;
        } else {
            self.weigh(place, raw, classes, applied);
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
            self.record(index, place, evidence, "", DecodingSet::default());
        }
    }

    #[inline(never)]
    fn decoded(&mut self, place: Place<'_>, chain: &mut Chain<'_>, classes: Classes, plus: bool) {
        if let Some(classes) = self.readings(place, chain, classes, plus) {
            self.weigh(place, chain.text(), classes, chain.applied);
        }
    }

    /// Scores every reading that decoding makes of a field and returns the classes of the last one's bytes; `None` if one
    /// of them settles the request, or is a text in several parts.
    fn readings(
        &mut self,
        place: Place<'_>,
        chain: &mut Chain<'_>,
        mut classes: Classes,
        plus: bool,
    ) -> Option<Classes> {
        let unpacked = chain.applied;
        for round in 0..URL_ROUNDS {
            self.unsettled(chain.raw)?;
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
            // Base64 is looked for in the same text, unless a plus sign, which is a digit there, has become a space.
            if round == 0 && unpacked.is_empty() && !(plus && classes.intersects(Classes::PLUS)) {
                self.unpack(place, chain.raw, chain.text());
            }
            if round == 0 && chain.skipped && is_odd(chain.text()) {
                let classes = self.search(place, chain.raw);
                self.confirm_any(place, chain.raw, classes, unpacked, View::Encoded);
            }
            classes = self.search_changes(place, chain, classes);
            if self.is_frame(place, chain.text(), classes, chain.applied) {
                return None;
            }
            self.confirm_any(place, chain.text(), classes, chain.applied, View::Whole);
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
            if classes.intersects(needed) {
                self.unsettled(chain.raw)?;
                if chain.apply(decoding, decode) {
                    classes = self.search_changes(place, chain, classes);
                    if decoding == DecodingSet::ESCAPE
                        && self.is_frame(place, chain.text(), classes, chain.applied)
                    {
                        return None;
                    }
                    self.confirm_any(place, chain.text(), classes, chain.applied, View::Whole);
                }
            }
        }
        let path = place.target != Target::Header;
        let variants: [(bool, Classes, DecodingSet, Decoder); 3] = [
            (
                path,
                Classes::SLASH.or(Classes::BACKSLASH),
                DecodingSet::PATH,
                path::normalise,
            ),
            (
                true,
                Classes::STAR.or(Classes::LINE),
                DecodingSet::SQL,
                comment::strip,
            ),
            (
                true,
                Classes::QUOTE.or(Classes::BACKSLASH).or(Classes::EXPANSION),
                DecodingSet::SHELL,
                shell::unquote,
            ),
        ];
        for (wanted, needed, decoding, decode) in variants {
            if wanted && classes.intersects(needed) {
                self.unsettled(chain.raw)?;
                self.variant(place, chain, classes, decoding, decode);
            }
        }
        Some(classes)
    }

    /// `None` if the request is blocked already, whatever else is found, and the field is long: then no other reading of it is
    /// worth its time. What a short one is besides is worth knowing.
    fn unsettled(&self, field: &[u8]) -> Option<()> {
        let anomaly = self.findings.anomaly();
        (anomaly == 0 || field.len() <= SHORT || !self.ruling.policy.blocks(anomaly)).then_some(())
    }

    /// Compares a field, decoded, with its service's baseline. What a value holds inside is no field of its own.
    #[inline(never)]
    fn is_usual(&mut self, place: Place<'_>, text: &[u8], decodings: DecodingSet) -> bool {
        match &mut self.service {
            Some(service) if !decodings.is_inside() => {
                self.findings.compare(service, self.ruling, place, text)
            }
            _ => false,
        }
    }

    /// Shows a field, decoded, to the baseline, and to the model if it is worth a look.
    #[inline]
    fn weigh(&mut self, place: Place<'_>, text: &[u8], classes: Classes, decodings: DecodingSet) {
        let usual = self.ruling.policy.baseline != BaselineUse::Off && self.is_usual(place, text, decodings);
        if model::interesting(place, text, classes, self.scratch.noted) {
            self.show(place, text, decodings, usual);
        }
    }

    #[inline(never)]
    fn show(&mut self, place: Place<'_>, text: &[u8], decodings: DecodingSet, usual: bool) {
        if let Some(model) = self.model {
            self.findings
                .weigh(model, self.ruling, place, text, decodings, usual);
        }
        if let Some(tap) = &mut self.scratch.tap {
            tap.field(place, text, decodings, self.findings);
        }
    }

    /// Looks at one more reading of the decoded text, from which no others are made.
    fn variant(
        &mut self,
        place: Place<'_>,
        chain: &mut Chain<'_>,
        classes: Classes,
        decoding: DecodingSet,
        decode: Decoder,
    ) {
        let mut reading = take(&mut chain.next);
        if decode(chain.text(), &mut reading) {
            let changes = Changes::between(chain.text(), &reading);
            let classes = self.search_parts(place, &reading, &changes, classes);
            self.confirm_any(place, &reading, classes, chain.applied | decoding, View::Whole);
        }
        chain.next = reading;
    }

    /// Looks for what rules begin with, and returns the classes of a reading's bytes.
    fn search(&mut self, place: Place<'_>, text: &[u8]) -> Classes {
        self.scratch.changed = None;
        self.rules
            .prefilter
            .search(place, text, &mut self.scratch.candidates)
    }

    /// The same for what the last decoding has made of a text with the classes `before`; what has not changed was searched.
    fn search_changes(&mut self, place: Place<'_>, chain: &Chain<'_>, before: Classes) -> Classes {
        if chain.changes.are_everywhere() {
            self.search(place, chain.text())
        } else {
            self.search_parts(place, chain.text(), &chain.changes, before)
        }
    }

    fn search_parts(&mut self, place: Place<'_>, text: &[u8], changes: &Changes, before: Classes) -> Classes {
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
    fn confirm_any(
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

    fn record(
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

/// Whether the escapes of a field are worth a look of their own, by what is decoded of them: bytes of characters that are spelt
/// in too many.
fn is_odd(decoded: &[u8]) -> bool {
    memchr::memchr2(0xc0, 0xc1, decoded).is_some()
}

fn may_hold_base64(place: Place<'_>, raw: &[u8]) -> bool {
    raw.len() >= base64::MIN_TOKEN && place.target.may_hold_base64()
}

/// What is shown of a match: the bytes up to where it became certain, and a few more.
fn evidence(text: &[u8], end: usize) -> &[u8] {
    &text[end.saturating_sub(48)..text.len().min(end + 16)]
}

/// Removes NUL and other control bytes except tabs and line ends.
pub(crate) fn strip_control(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend(
        input
            .iter()
            .filter(|byte| !matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)),
    );
    out.len() != input.len()
}
