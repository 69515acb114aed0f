//! What was found in one request so far.

use std::sync::Arc;

use crate::decode::DecodingSet;
use crate::excerpt::Excerpt;
use crate::model::{FamilySet, Model, Suspicion};
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
    /// The shape a detector found, in a few words; empty for other rules.
    pub shape: &'static str,
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
    families: FamilySet,
    suspicion: Suspicion,
}

impl Findings {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            hits: Vec::with_capacity(MAX_HITS),
            seen: RuleBits::new(rules),
            omitted: 0,
            anomaly: 0,
            families: FamilySet::default(),
            suspicion: Suspicion::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        if self.anomaly > 0 {
            self.hits.clear();
            self.seen.clear();
            self.omitted = 0;
            self.anomaly = 0;
            self.families = FamilySet::default();
        }
        self.suspicion.clear();
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

    /// Families of the rules that hit.
    pub(crate) fn families(&self) -> FamilySet {
        self.families
    }

    /// What the model makes of the request so far.
    pub(crate) fn suspicion(&self) -> &Suspicion {
        &self.suspicion
    }

    /// Whether neither rules nor model found anything.
    pub(crate) fn is_clean(&self) -> bool {
        self.anomaly == 0 && self.suspicion.is_none()
    }

    /// What changes with every hit and with every field that the model weighs.
    pub(crate) fn mark(&self) -> (u32, u16) {
        (self.anomaly, self.suspicion.fields())
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
        shape: &'static str,
        decodings: DecodingSet,
    ) {
        if !self.seen.insert(index) {
            return;
        }
        self.anomaly += rule.info.severity.points();
        self.families.insert(rule.info.family);
        if self.hits.len() < MAX_HITS {
            self.hits.push(Hit {
                rule: Arc::clone(&rule.info),
                target: place.target,
                name: Excerpt::of(place.name),
                matched: Excerpt::of(matched),
                shape,
                decodings,
            });
        } else {
            self.omitted += 1;
        }
    }

    /// Has the model weigh an interesting field.
    pub(crate) fn weigh(&mut self, model: &Model, place: Place<'_>, text: &[u8], decodings: DecodingSet) {
        self.suspicion
            .weigh(model, place, text, decodings, self.anomaly, self.families);
    }

    /// Carries the hits over to other rules: what was found stays, and a rule with the same id does not
    /// count again.
    pub(crate) fn adopt(&mut self, rules: &RuleSet) {
        self.suspicion.forget_reasons();
        self.seen = RuleBits::new(rules.rules.len());
        for (index, rule) in rules.rules.iter().enumerate() {
            if self.hits.iter().any(|hit| hit.rule.id == rule.info.id) {
                self.seen.insert(index);
            }
        }
    }
}
