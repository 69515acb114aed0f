//! What the second tier is given of a request.

use super::doubts::Doubts;
use crate::cache::LONGEST;
use crate::findings::{Hit, MAX_HITS};

/// One undecided request: its doubtful fields, and what the first tier made of it. Made once and filled again and
/// again: [`Decision::copy_doubts`](crate::Decision::copy_doubts) allocates nothing. About 4 KiB.
#[derive(Debug)]
pub struct DeepJob {
    pub(super) doubts: Doubts,
    /// The first tier's score.
    pub(super) score: f32,
    /// The first tier's anomaly sum.
    pub(super) anomaly: u32,
    /// The rules that the first tier has counted.
    rules: Vec<u32>,
}

impl Default for DeepJob {
    fn default() -> Self {
        Self {
            doubts: Doubts::new(),
            score: 0.0,
            anomaly: 0,
            rules: Vec::with_capacity(MAX_HITS),
        }
    }
}

impl DeepJob {
    pub(crate) fn fill(&mut self, doubts: &Doubts, score: f32, anomaly: u32, hits: &[Hit]) {
        self.doubts.copy_from(doubts);
        self.score = score;
        self.anomaly = anomaly;
        self.rules.clear();
        self.rules
            .extend(hits.iter().take(MAX_HITS).map(|hit| hit.rule.id));
    }

    /// Whether some of the doubtful fields did not fit, so that the second tier sees only a part of them.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.doubts.is_cut()
    }

    pub(super) fn has_rule(&self, id: u32) -> bool {
        self.rules.contains(&id)
    }

    /// All that the verdict depends on, in one text; lengths come first, so that no two jobs have the same.
    pub(super) fn identity(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend(self.score.to_bits().to_le_bytes());
        out.extend(self.anomaly.to_le_bytes());
        out.push(self.rules.len() as u8);
        self.rules.iter().for_each(|rule| out.extend(rule.to_le_bytes()));
        for (doubt, text) in self.doubts.iter() {
            let name = doubt.name.as_bytes();
            out.extend([
                doubt.target as u8,
                u8::from(doubt.plus) | u8::from(doubt.name.is_truncated()) << 1,
                name.len() as u8,
            ]);
            out.extend((text.len() as u16).to_le_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(text);
        }
    }
}

/// The longest identity: numbers, rules, and for each field five bytes, a name and its text.
const LONGEST_IDENTITY: usize = 9 + 4 * MAX_HITS + super::DOUBT_FIELDS * (5 + 32) + super::DOUBT_BYTES;
const _: () = assert!(LONGEST_IDENTITY <= LONGEST);
