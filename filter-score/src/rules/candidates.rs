//! Rules that are worth running on the field at hand, and where.

use super::set::RuleBits;

/// Places that are remembered in one field; a rule seen beyond that runs over the whole field.
const MAX_PLACES: usize = 512;

/// A literal of a rule, seen in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) rule: u16,
    /// First and last offset at which a match with this literal may begin.
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// What the prefilter saw. Its memory is fixed when it is made.
#[derive(Debug)]
pub(crate) struct Candidates {
    everywhere: Vec<u16>,
    in_everywhere: RuleBits,
    /// Rules with a literal that tells something.
    told: RuleBits,
    any_told: bool,
    sightings: Vec<Sighting>,
    /// Where in the field the part at hand begins.
    base: u32,
}

impl Candidates {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            everywhere: Vec::with_capacity(rules),
            in_everywhere: RuleBits::new(rules),
            told: RuleBits::new(rules),
            any_told: false,
            sightings: Vec::with_capacity(MAX_PLACES),
            base: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.sightings.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.base = 0;
        self.sightings.clear();
        for rule in self.everywhere.drain(..) {
            self.in_everywhere.remove(usize::from(rule));
        }
        if std::mem::take(&mut self.any_told) {
            self.told.clear();
        }
    }

    /// The rule may match anywhere.
    pub(crate) fn everywhere(&mut self, rule: u16) {
        if self.in_everywhere.insert(usize::from(rule)) {
            self.everywhere.push(rule);
        }
    }

    /// A literal of the rule was seen that ordinary requests are not full of.
    pub(crate) fn tell(&mut self, rule: u16) {
        self.told.insert(usize::from(rule));
        self.any_told = true;
    }

    /// Whether a literal of the rule was seen that ordinary requests are not full of.
    pub(crate) fn is_told(&self, rule: usize) -> bool {
        self.told.contains(rule)
    }

    /// What is seen next is in a part of the field that begins at `base`.
    pub(crate) fn in_part(&mut self, base: usize) {
        self.base = base as u32;
    }

    /// A match of the rule may begin at the offsets of the sighting, in the part at hand.
    pub(crate) fn at(&mut self, sighting: Sighting) {
        if self.sightings.len() < MAX_PLACES {
            self.sightings.push(Sighting {
                from: sighting.from + self.base,
                to: sighting.to + self.base,
                ..sighting
            });
        } else {
            self.everywhere(sighting.rule);
        }
    }

    /// The sightings of a rule need not be followed one by one: it runs over the whole field.
    pub(crate) fn is_everywhere(&self, rule: u16) -> bool {
        self.in_everywhere.contains(usize::from(rule))
    }

    pub(crate) fn sighting(&self, index: usize) -> Option<Sighting> {
        self.sightings.get(index).copied()
    }

    pub(crate) fn everywhere_at(&self, index: usize) -> Option<usize> {
        self.everywhere.get(index).map(|rule| usize::from(*rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_places_become_the_whole_field() {
        let mut candidates = Candidates::new(3);
        let at = |rule, from| Sighting { rule, from, to: from };
        for place in 0..MAX_PLACES as u32 {
            candidates.at(at(1, place));
        }
        assert!(!candidates.is_everywhere(1));
        candidates.at(at(2, 7));
        assert!(candidates.is_everywhere(2) && !candidates.is_everywhere(1));
        assert_eq!(candidates.sighting(0), Some(at(1, 0)));
        assert_eq!(candidates.sighting(MAX_PLACES), None);
        candidates.clear();
        assert!(candidates.is_empty() && !candidates.is_everywhere(2));
    }
}
