//! The readings of a field: what every decoding that changes it makes of it.

use std::mem::take;

use super::Evaluator;
use super::run::View;
use crate::decode::changes::Changes;
use crate::decode::encoding::Encoding;
use crate::decode::{DecodingSet, comment, control, entity, escape, path, percent, shell, unicode};
use crate::findings::Place;
use crate::model;
use crate::policy::BaselineUse;
use crate::rules::classes::Classes;
use crate::target::Target;

/// Fields up to this length are read in every way, whatever is found, in bytes.
const SHORT: usize = 512;
/// Percent-decoding is repeated this often at most.
const URL_ROUNDS: usize = 4;

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

/// Writes the decoded text and says whether anything changed.
type Decoder = fn(&[u8], &mut Vec<u8>) -> bool;

/// A field while it is decoded step by step.
pub(super) struct Chain<'a> {
    raw: &'a [u8],
    current: Vec<u8>,
    next: Vec<u8>,
    changed: bool,
    /// The raw field was not looked at.
    skipped: bool,
    /// Where the last decoding has changed the text.
    pub(super) changes: Changes,
    applied: DecodingSet,
}

impl Chain<'_> {
    pub(super) fn text(&self) -> &[u8] {
        if self.changed { &self.current } else { self.raw }
    }

    pub(super) fn apply(
        &mut self,
        decoding: DecodingSet,
        decode: impl FnOnce(&[u8], &mut Vec<u8>) -> bool,
    ) -> bool {
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

impl Evaluator<'_> {
    /// Scores one reading of a field, which `applied` has made of it, under every decoding.
    #[inline]
    pub(super) fn reading(
        &mut self,
        place: Place<'_>,
        raw: &[u8],
        encoding: Encoding,
        applied: DecodingSet,
    ) -> Classes {
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
                control::strip,
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
    pub(super) fn is_usual(&mut self, place: Place<'_>, text: &[u8], decodings: DecodingSet) -> bool {
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
}

/// Whether the escapes of a field are worth a look of their own, by what is decoded of them: bytes of characters that are spelt
/// in too many.
fn is_odd(decoded: &[u8]) -> bool {
    memchr::memchr2(0xc0, 0xc1, decoded).is_some()
}
