//! What fields hold inside: base64, JSON texts and forms, whose parts are fields of their own.

use std::mem::take;

use super::Evaluator;
use super::run::View;
use crate::decode::encoding::Encoding;
use crate::decode::{DecodingSet, base64, form, json, percent};
use crate::findings::Place;
use crate::model;
use crate::policy::BaselineUse;
use crate::rules::classes::Classes;

/// Base64 is looked for in values and in what they hold, and no deeper.
pub(super) const NESTING: usize = 2;
/// JSON texts and forms are looked for in values and in the parts of those, and no deeper.
pub(super) const LEVELS: usize = 2;

/// What the parts of a text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The strings of a JSON text.
    Json,
    /// The values of a form, and the address before it.
    Form,
}

impl Evaluator<'_> {
    /// Scores the parts of the text that was found last, which `applied` has made of the field.
    #[inline(never)]
    pub(super) fn parts(&mut self, place: Place<'_>, frame: Frame, applied: DecodingSet) {
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
    pub(super) fn is_frame(
        &mut self,
        place: Place<'_>,
        text: &[u8],
        classes: Classes,
        applied: DecodingSet,
    ) -> bool {
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

    /// Scores what a value holds in base64.
    #[inline(never)]
    pub(super) fn base64(
        &mut self,
        place: Place<'_>,
        raw: &[u8],
        classes: Classes,
        applied: DecodingSet,
        depth: usize,
    ) {
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
    pub(super) fn unpack(&mut self, place: Place<'_>, raw: &[u8], unescaped: &[u8]) {
        if may_hold_base64(place, raw) {
            self.scratch.unpacked = Some(base64::decode(unescaped, &mut self.scratch.nested[0]));
        }
    }
}

pub(super) fn may_hold_base64(place: Place<'_>, raw: &[u8]) -> bool {
    raw.len() >= base64::MIN_TOKEN && place.target.may_hold_base64()
}
