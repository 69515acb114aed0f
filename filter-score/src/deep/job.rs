//! What the second tier is given of a request.

use super::doubts::Doubt;
use super::{DOUBT_BYTES, DOUBT_FIELDS};
use crate::cache::LONGEST;
use crate::findings::MAX_HITS;
use crate::model::FamilySet;
use crate::policies::Policies;
use crate::request::Request;

/// One undecided request: its doubtful fields, and what the first tier made of it. Made once and filled again and
/// again: [`Decision::copy_doubts`](crate::Decision::copy_doubts) allocates nothing. About 6 KiB.
#[derive(Debug)]
pub struct DeepJob {
    /// All that the verdict depends on but policy and exclusions, in one text: numbers, rules, and the doubtful fields.
    /// Lengths come first, so that no two requests have the same.
    identity: Vec<u8>,
    /// Their texts are in `identity`.
    fields: Vec<Doubt>,
    is_cut: bool,
    has_exclusions: bool,
    /// The number of the policy that it is judged by, and which policies that is one of.
    pub(super) policy: u16,
    pub(super) policies: u64,
    /// What the first tier's model makes of it, 0..1.
    pub(super) model: f32,
    /// Families of the rules that hit.
    pub(super) families: FamilySet,
    /// The first tier's anomaly sum.
    pub(super) anomaly: u32,
    /// The rules that the first tier has counted.
    rules: Vec<u32>,
}

impl Default for DeepJob {
    fn default() -> Self {
        Self {
            identity: Vec::with_capacity(LONGEST_IDENTITY),
            fields: Vec::with_capacity(DOUBT_FIELDS),
            is_cut: false,
            has_exclusions: false,
            policy: 0,
            policies: 0,
            model: 0.0,
            families: FamilySet::default(),
            anomaly: 0,
            rules: Vec::with_capacity(MAX_HITS),
        }
    }
}

impl DeepJob {
    pub(crate) fn fill(&mut self, request: &Request, policies: &Policies) {
        let Request { findings, policy, .. } = request;
        self.policy = *policy;
        self.policies = policies.id();
        self.model = findings.suspicion().score();
        self.families = findings.families();
        self.anomaly = findings.anomaly();
        let counted = findings.hits().iter().filter(|hit| !hit.detect_only);
        self.rules.clear();
        self.rules.extend(counted.take(MAX_HITS).map(|hit| hit.rule.id));

        let Self { identity, fields, .. } = self;
        identity.clear();
        identity.extend(self.model.to_bits().to_le_bytes());
        identity.extend(self.anomaly.to_le_bytes());
        identity.push(self.rules.len() as u8);
        identity.extend(self.rules.iter().flat_map(|rule| rule.to_le_bytes()));
        fields.clear();
        let doubts = findings.doubts();
        for (doubt, text) in doubts.iter() {
            let name = doubt.name.as_bytes();
            identity.extend([
                doubt.target as u8,
                u8::from(doubt.plus) | u8::from(doubt.name.is_truncated()) << 1,
                name.len() as u8,
            ]);
            identity.extend((text.len() as u16).to_le_bytes());
            identity.extend_from_slice(name);
            fields.push(doubt.moved_to(identity.len()));
            identity.extend_from_slice(text);
        }
        self.is_cut = doubts.is_cut();
        self.has_exclusions = doubts.iter().any(|(doubt, _)| !doubt.excluded.is_empty());
    }

    /// The doubtful fields and their texts.
    pub(super) fn doubts(&self) -> impl Iterator<Item = (&Doubt, &[u8])> {
        self.fields
            .iter()
            .map(|doubt| (doubt, doubt.text_in(&self.identity)))
    }

    /// Whether the policies that it was found under exclude anything in it.
    pub(super) fn has_exclusions(&self) -> bool {
        self.has_exclusions
    }

    /// Whether some of the doubtful fields did not fit, so that the second tier sees only a part of them.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn has_rule(&self, id: u32) -> bool {
        self.rules.contains(&id)
    }

    pub(super) fn identity(&self) -> &[u8] {
        &self.identity
    }
}

/// The longest identity: numbers, rules, and for each field five bytes, a name and its text.
const LONGEST_IDENTITY: usize = 9 + 4 * MAX_HITS + DOUBT_FIELDS * (5 + 32) + DOUBT_BYTES;
const _: () = assert!(LONGEST_IDENTITY <= LONGEST);
