//! What was found in one request so far.

use std::sync::Arc;

use crate::decode::DecodingSet;
use crate::deep::Doubts;
use crate::excerpt::Excerpt;
use crate::rules::{Rule, RuleBits, RuleInfo, RuleSet};
use crate::target::Target;

/// Hits that are kept for the explanation; the anomaly sum counts them all.
pub(crate) const MAX_HITS: usize = 16;

/// One rule that hit, the first time it did.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<RuleInfo>,
    /// Where it hit.
    pub target: Target,
    /// Name of the header or parameter, empty where there is none.
    pub name: Excerpt<32>,
    /// The bytes that matched, after decoding.
    pub matched: Excerpt<64>,
    /// What the field had been decoded by.
    pub decodings: DecodingSet,
}

/// A field's place: target and the name of the header or parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) target: Target,
    pub(crate) name: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct Findings {
    hits: Vec<Hit>,
    seen: RuleBits,
    omitted: u32,
    anomaly: u32,
    /// Hits, and fields in which a rule that has hit may hit again.
    reasons: u32,
    doubts: Doubts,
}

impl Findings {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            hits: Vec::with_capacity(MAX_HITS),
            seen: RuleBits::new(rules),
            omitted: 0,
            anomaly: 0,
            reasons: 0,
            doubts: Doubts::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        if !self.doubts.is_empty() {
            self.doubts.clear();
        }
        if self.anomaly > 0 {
            self.reasons = 0;
            self.hits.clear();
            self.seen.clear();
            self.omitted = 0;
            self.anomaly = 0;
        }
    }

    /// Changes whenever something makes the field at hand doubtful.
    pub(crate) fn reasons(&self) -> u32 {
        self.reasons
    }

    /// A rule that has hit may hit in this field, too.
    pub(crate) fn again(&mut self) {
        self.reasons = self.reasons.wrapping_add(1);
    }

    /// A field, as it was sent, is worth a second look. `plus`: a plus sign means a space.
    pub(crate) fn doubt(&mut self, place: Place<'_>, text: &[u8], plus: bool) {
        self.doubts.keep(place, text, plus);
    }

    /// The fields that are worth a second look.
    pub(crate) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Lets rules count for nothing: someone else has counted them.
    pub(crate) fn exclude(&mut self, rules: &RuleSet, counted: impl Fn(&RuleInfo) -> bool) {
        self.seen.clear();
        for (index, rule) in rules.rules.iter().enumerate() {
            if counted(&rule.info) {
                self.seen.insert(index);
            }
        }
    }

    pub(crate) fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// Hits beyond those kept.
    pub(crate) fn omitted(&self) -> u32 {
        self.omitted
    }

    /// Sum of the severities of the distinct rules that hit.
    pub(crate) fn anomaly(&self) -> u32 {
        self.anomaly
    }

    pub(crate) fn has(&self, rule: usize) -> bool {
        self.seen.contains(rule)
    }

    pub(crate) fn record(
        &mut self,
        index: usize,
        rule: &Rule,
        place: Place<'_>,
        matched: &[u8],
        decodings: DecodingSet,
    ) {
        if !self.seen.insert(index) {
            return;
        }
        self.again();
        self.anomaly += rule.info.severity.points();
        if self.hits.len() < MAX_HITS {
            self.hits.push(Hit {
                rule: Arc::clone(&rule.info),
                target: place.target,
                name: Excerpt::of(place.name),
                matched: Excerpt::of(matched),
                decodings,
            });
        } else {
            self.omitted += 1;
        }
    }

    /// Carries the hits over to other rules: what was found stays, and a rule with the same id does not
    /// count again.
    pub(crate) fn adopt(&mut self, rules: &RuleSet) {
        self.seen = RuleBits::new(rules.rules.len());
        for (index, rule) in rules.rules.iter().enumerate() {
            if self.hits.iter().any(|hit| hit.rule.id == rule.info.id) {
                self.seen.insert(index);
            }
        }
    }
}
