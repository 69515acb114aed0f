//! Rules against one field, under every decoding that changes it.

mod inside;
mod readings;
mod run;

use self::inside::{Frame, LEVELS, NESTING, may_hold_base64};
use self::run::Asked;
use crate::baseline::Service;
use crate::cache::{Fingerprint, Known};
use crate::decode::DecodingSet;
use crate::decode::encoding::Encoding;
use crate::detect::READINGS;
use crate::findings::{Findings, Place};
use crate::http::Violation;
use crate::model::Model;
use crate::policies::Ruling;
use crate::policy::BaselineUse;
use crate::rules::candidates::Candidates;
use crate::rules::classes::Classes;
use crate::rules::{Part, RuleSet};
use crate::target::Target;
use crate::train::Tap;

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

impl Evaluator<'_> {
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

    /// Scores binary content: as it is, as no target decodes it.
    pub(crate) fn binary(&mut self, place: Place<'_>, content: &[u8]) {
        self.look(place, content, DecodingSet::default());
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
}
