//! What was found in one request so far.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::baseline::{Comparison, Deviation, Observations, Service};
use crate::decode::DecodingSet;
use crate::deep::Doubts;
use crate::excerpt::Excerpt;
use crate::exclusion::ExclusionSet;
use crate::model::{Context, FamilySet, Model, Suspicion};
use crate::pending::Pending;
use crate::policies::Ruling;
use crate::rules::{Part, RuleBits, RuleInfo, RuleSet};
use crate::subject::{Subject, Travelling};
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
    /// The rule is above the policy's paranoia level: it is reported, and does not count.
    pub detect_only: bool,
}

/// A hit that does not count because an exclusion says so.
#[derive(Clone, Debug)]
pub struct ExcludedHit {
    /// The hit.
    pub hit: Hit,
    /// The exclusion's reason.
    pub reason: Arc<str>,
}

/// A field's place: target and the name of the header or parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) target: Target,
    pub(crate) name: &'a [u8],
}

/// What a rule has found in a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match<'a> {
    pub(crate) text: &'a [u8],
    /// The shape a detector saw, in a few words.
    pub(crate) shape: &'static str,
    pub(crate) decodings: DecodingSet,
}

/// What was found so far, as another process can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    hits: Vec<FoundHit>,
    events: u32,
    omitted: u32,
    anomaly: u32,
    families: FamilySet,
    suspicion: Suspicion,
    excluded_count: u32,
    silenced: bool,
    subject: Travelling,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundHit {
    rule: u32,
    target: Target,
    name: Excerpt<32>,
    matched: Excerpt<64>,
    decodings: DecodingSet,
    detect_only: bool,
}

#[derive(Debug)]
pub(crate) struct Findings {
    /// Those that count and those that do not.
    hits: Vec<Hit>,
    excluded: Vec<ExcludedHit>,
    seen: RuleBits,
    /// What was recorded of any kind.
    events: u32,
    omitted: u32,
    anomaly: u32,
    families: FamilySet,
    suspicion: Suspicion,
    /// The field that is most unlike what its service usually gets there.
    deviation: Option<Deviation>,
    /// What its service may learn of the request.
    pub(crate) observations: Observations,
    excluded_count: u32,
    pending: Pending,
    pub(crate) subject: Subject,
    /// Hits, fields in which a rule that has hit may hit again, and fields that the model suspects.
    reasons: u32,
    /// An exclusion kept the model from weighing a field.
    silenced: bool,
    doubts: Doubts,
    /// The exclusions that hold for the field at hand, where they were found before; else place and subject decide.
    given: Option<ExclusionSet>,
}

impl Findings {
    /// `rules`: how many there are, conditions included.
    pub(crate) fn new(rules: usize, subject: Subject) -> Self {
        Self {
            hits: Vec::with_capacity(MAX_HITS),
            excluded: Vec::with_capacity(MAX_HITS),
            seen: RuleBits::new(rules),
            events: 0,
            omitted: 0,
            anomaly: 0,
            families: FamilySet::default(),
            suspicion: Suspicion::new(),
            deviation: None,
            observations: Observations::default(),
            excluded_count: 0,
            pending: Pending::new(rules),
            subject,
            reasons: 0,
            silenced: false,
            doubts: Doubts::new(),
            given: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        if !self.doubts.is_empty() {
            self.doubts.clear();
        }
        self.reasons = 0;
        self.silenced = false;
        if self.events > 0 {
            self.hits.clear();
            self.excluded.clear();
            self.seen.clear();
            self.events = 0;
            self.omitted = 0;
            self.anomaly = 0;
            self.families = FamilySet::default();
            self.excluded_count = 0;
        }
        self.suspicion.clear();
        self.deviation = None;
        self.observations.clear();
        self.pending.clear();
        self.subject.clear();
    }

    /// Hits that exclusions keep from counting, the first of each rule.
    pub(crate) fn excluded(&self) -> &[ExcludedHit] {
        &self.excluded
    }

    /// How many fields exclusions kept from counting.
    pub(crate) fn excluded_count(&self) -> u32 {
        self.excluded_count
    }

    /// Changes whenever something makes the field at hand doubtful.
    pub(crate) fn reasons(&self) -> u32 {
        self.reasons
    }

    /// Something makes the field at hand doubtful, such as that a rule which has hit may hit in it, too.
    pub(crate) fn again(&mut self) {
        self.reasons = self.reasons.wrapping_add(1);
    }

    /// A field, as it was sent, is worth a second look. `plus`: a plus sign means a space.
    pub(crate) fn doubt(&mut self, ruling: &Ruling, place: Place<'_>, text: &[u8], plus: bool) {
        let excluded = ruling.exclusions.holding(place, &mut self.subject);
        self.doubts.keep(place, text, plus, excluded);
    }

    /// The fields that are worth a second look.
    pub(crate) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// For the fields that follow, these exclusions hold and no others.
    pub(crate) fn give(&mut self, excluded: ExclusionSet) {
        self.given = Some(excluded);
    }

    /// Lets rules count for nothing: someone else has counted them.
    pub(crate) fn discount(&mut self, rules: &RuleSet, counted: impl Fn(&RuleInfo) -> bool) {
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

    /// Families of the rules that hit.
    pub(crate) fn families(&self) -> FamilySet {
        self.families
    }

    /// What the model makes of the request so far.
    pub(crate) fn suspicion(&self) -> &Suspicion {
        &self.suspicion
    }

    /// The field that is most unlike what its service usually gets there.
    pub(crate) fn deviation(&self) -> Option<&Deviation> {
        self.deviation.as_ref()
    }

    /// Whether neither rules nor model nor baseline found anything that is worth a word.
    pub(crate) fn is_clean(&self) -> bool {
        self.events == 0 && self.suspicion.is_none() && self.deviation.is_none()
    }

    /// Whether nothing was found, and nothing would have been found in the same bytes from another source or under another name.
    pub(crate) fn is_unremarkable(&self) -> bool {
        self.is_clean() && !self.silenced
    }

    /// Whether neither rules nor model found anything, counting or not.
    pub(crate) fn is_innocent(&self) -> bool {
        self.hits.is_empty() && self.excluded.is_empty() && self.suspicion.is_none()
    }

    /// What changes with everything that is found, whether it counts or not.
    pub(crate) fn mark(&self) -> (u32, u32) {
        (self.events, self.reasons)
    }

    pub(crate) fn has(&self, rule: usize) -> bool {
        self.seen.contains(rule)
    }

    /// Notes a hit. A rule whose hit is excluded stays on the watch: it may hit elsewhere.
    pub(crate) fn record(
        &mut self,
        rules: &RuleSet,
        ruling: &Ruling,
        index: usize,
        place: Place<'_>,
        found: Match<'_>,
    ) {
        if self.seen.contains(index) {
            self.again();
            return;
        }
        self.events = self.events.saturating_add(1);
        let rule = &rules.rules[index];
        if let Some(owner) = rule.owner {
            self.seen.insert(index);
            self.settle(rules, ruling, owner);
            return;
        }
        let hit = Hit {
            rule: Arc::clone(&rule.info),
            target: place.target,
            name: Excerpt::of(place.name),
            matched: Excerpt::of(found.text),
            shape: found.shape,
            decodings: found.decodings,
            detect_only: !ruling.counting.contains(index),
        };
        let reason = match &self.given {
            Some(excluded) => ruling.exclusions.find_among(index, excluded),
            None => ruling.exclusions.find(index, place, &mut self.subject),
        };
        if let Some(reason) = reason {
            self.exclude(hit, reason);
            return;
        }
        self.seen.insert(index);
        if !hit.detect_only {
            self.again();
        }
        if rule.conditions.is_empty() {
            self.count(hit);
        } else if self.pending.wait(index as u16, hit) {
            self.settle(rules, ruling, index as u16);
        }
    }

    /// Notes a header of the head.
    pub(crate) fn header(&mut self, rules: &RuleSet, name: &[u8]) {
        let is = |watched: &String| watched.as_bytes().eq_ignore_ascii_case(name);
        if let Some(slot) = rules.watched.iter().position(is) {
            self.events = self.events.saturating_add(1);
            self.pending.header(slot);
        }
    }

    /// A part of the request has ended: what was to come in it has not.
    pub(crate) fn end_of(&mut self, rules: &RuleSet, ruling: &Ruling, part: Part) {
        if self.pending.end_of(part) {
            for &owner in &rules.chained {
                self.settle(rules, ruling, owner);
            }
        }
    }

    /// Decides about the hit of a rule with conditions, if it can be.
    fn settle(&mut self, rules: &RuleSet, ruling: &Ruling, owner: u16) {
        let Self {
            pending,
            seen,
            subject,
            ..
        } = self;
        if let Some(hit) = pending.settle(rules, ruling, owner, seen, subject) {
            self.count(hit);
        }
    }

    fn exclude(&mut self, hit: Hit, reason: &Arc<str>) {
        self.excluded_count = self.excluded_count.saturating_add(1);
        let known = self.excluded.iter().any(|known| known.hit.rule.id == hit.rule.id);
        if !known && self.excluded.len() < MAX_HITS {
            let reason = Arc::clone(reason);
            self.excluded.push(ExcludedHit { hit, reason });
        }
    }

    fn count(&mut self, hit: Hit) {
        if !hit.detect_only {
            self.anomaly += hit.rule.severity.points();
            self.families.insert(hit.rule.family);
        }
        if self.hits.len() < MAX_HITS {
            self.hits.push(hit);
            return;
        }
        self.omitted += 1;
        // Those that count are worth more than those that do not.
        if !hit.detect_only
            && let Some(at) = self.hits.iter().rposition(|kept| kept.detect_only)
        {
            self.hits.remove(at);
            self.hits.push(hit);
        }
    }

    /// Compares a field with what its service usually gets there. Returns whether all of it is usual.
    pub(crate) fn compare(
        &mut self,
        service: &mut Service<'_>,
        ruling: &Ruling,
        place: Place<'_>,
        text: &[u8],
    ) -> bool {
        match service.compare(place, text, ruling.policy.baseline, &mut self.observations) {
            Comparison::Open => false,
            Comparison::Usual => true,
            Comparison::Unlike(deviation) => {
                if !ruling.exclusions.silence_model(place, &mut self.subject) {
                    self.again();
                    if (self.deviation).is_none_or(|most| most.score() < deviation.score()) {
                        self.deviation = Some(deviation);
                    }
                }
                false
            }
        }
    }

    /// Has the model weigh an interesting field, which is `usual` for its service, unless everything that is found in it is excluded.
    pub(crate) fn weigh(
        &mut self,
        model: &Model,
        ruling: &Ruling,
        place: Place<'_>,
        text: &[u8],
        decodings: DecodingSet,
        usual: bool,
    ) {
        if ruling.exclusions.silence_model(place, &mut self.subject) {
            self.silenced = true;
            return;
        }
        let context = Context {
            target: place.target,
            decodings,
            anomaly: self.anomaly,
            families: self.families,
        };
        if self.suspicion.weigh(model, place, text, context, usual) {
            self.again();
        }
    }

    /// What was found, for another process.
    pub(crate) fn found(&self) -> Found {
        let hits = self.hits.iter().map(|hit| FoundHit {
            rule: hit.rule.id,
            target: hit.target,
            name: hit.name,
            matched: hit.matched,
            decodings: hit.decodings,
            detect_only: hit.detect_only,
        });
        Found {
            hits: hits.collect(),
            events: self.events,
            omitted: self.omitted,
            anomaly: self.anomaly,
            families: self.families,
            suspicion: self.suspicion.clone(),
            excluded_count: self.excluded_count,
            silenced: self.silenced,
            subject: self.subject.travelling(),
        }
    }

    /// Goes on with what was found elsewhere, as [`Findings::adopt`] does with what was found by other rules. Hits of rules that are
    /// not known here still count, and are not shown.
    pub(crate) fn restore(&mut self, found: Found, rules: &RuleSet, ruling: &Ruling) {
        self.events = found.events;
        self.omitted = found.omitted;
        self.anomaly = found.anomaly;
        self.families = found.families;
        self.suspicion = found.suspicion;
        self.excluded_count = found.excluded_count;
        self.silenced = found.silenced;
        self.subject.restore(&found.subject);
        for hit in found.hits.into_iter().take(MAX_HITS) {
            match rules.rules().find(|rule| rule.id == hit.rule) {
                Some(rule) => self.hits.push(Hit {
                    rule: Arc::clone(rule),
                    target: hit.target,
                    name: hit.name,
                    matched: hit.matched,
                    shape: "",
                    decodings: hit.decodings,
                    detect_only: hit.detect_only,
                }),
                None => self.omitted = self.omitted.saturating_add(1),
            }
        }
        self.adopt(rules, ruling);
    }

    /// Carries the hits over to other rules: what was found stays, and a rule with the same id does not
    /// count again. Doubtful fields are excluded as the other policy says. Rules with conditions are silent for the rest
    /// of the request: what came before is gone.
    pub(crate) fn adopt(&mut self, rules: &RuleSet, ruling: &Ruling) {
        let Self { doubts, subject, .. } = self;
        doubts.exclude(|place| ruling.exclusions.holding(place, subject));
        self.suspicion.forget_reasons();
        self.seen = RuleBits::new(rules.rules.len());
        self.pending.void(rules.rules.len());
        for (index, rule) in rules.rules.iter().enumerate() {
            if rule.owner.is_none() && self.hits.iter().any(|hit| hit.rule.id == rule.info.id) {
                self.seen.insert(index);
            }
        }
    }
}
