//! The profiles of one service: a set-associative table of fixed size.

use super::profile::{Fit, Profile, Shape};

/// Profiles of one set.
pub(super) const WAYS: usize = 4;

/// Two cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(128))]
struct Set([Profile; WAYS]);

/// Its memory is fixed, 32 bytes a profile. A parameter that is not known takes the place of the profile in its set with the
/// fewest sightings, unless that is mature, too: then that one loses a sighting, and the new one is not kept. So names that
/// are made up and come once displace each other, and of four mature profiles one at most, after dozens to hundreds of them.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Set]>,
    used: u32,
    mature: u32,
}

impl Table {
    /// A table for `entries` profiles, rounded up to a power of two; at least one set.
    pub(super) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: vec![Set::default(); sets].into(),
            used: 0,
            mature: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Profiles, and how many of them are mature.
    pub(super) fn fill(&self) -> (u32, u32) {
        (self.used, self.mature)
    }

    /// How a value of the parameter with this hash compares with what was seen.
    pub(super) fn fit(&self, hash: u64, shape: Shape) -> Fit {
        let Set(ways) = &self.sets[self.index(hash)];
        let profile = ways.iter().find(|profile| is_of(profile, hash));
        profile.map_or(Fit::Open, |profile| profile.fit(shape))
    }

    /// The parameter was in a clean request.
    pub(super) fn see(&mut self, hash: u64, shape: Shape) {
        let index = self.index(hash);
        let Set(ways) = &mut self.sets[index];
        let way = ways.iter().position(|profile| is_of(profile, hash));
        let way = way.unwrap_or_else(|| {
            // The first of those with the fewest: an empty place, if there is one.
            let least = (0..WAYS).min_by_key(|way| ways[*way].sightings());
            least.unwrap_or(0)
        });
        let profile = &mut ways[way];
        let before = *profile;
        if is_of(profile, hash) {
            profile.see(shape);
        } else if profile.is_mature() {
            profile.lose();
        } else {
            *profile = Profile::new(tag(hash));
            profile.see(shape);
        }
        let after = *profile;
        self.count(&before, &after);
    }

    /// A value of the parameter was unlike its profile, in a request in which nothing else was found.
    pub(super) fn contradict(&mut self, hash: u64) {
        let index = self.index(hash);
        let Set(ways) = &mut self.sets[index];
        if let Some(profile) = ways.iter_mut().find(|profile| is_of(profile, hash)) {
            let before = *profile;
            profile.lose();
            let after = *profile;
            self.count(&before, &after);
        }
    }

    fn count(&mut self, before: &Profile, after: &Profile) {
        let change = |count: u32, before: bool, after: bool| count + u32::from(after) - u32::from(before);
        self.used = change(self.used, before.sightings() > 0, after.sightings() > 0);
        self.mature = change(self.mature, before.is_mature(), after.is_mature());
    }

    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }
}

/// The half of the hash that does not choose the set.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn is_of(profile: &Profile, hash: u64) -> bool {
    profile.tag == tag(hash) && profile.sightings() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::profile::MATURE;

    fn number() -> Shape {
        Shape::of(b"17")
    }

    /// A parameter of the first set.
    fn hash(parameter: u64) -> u64 {
        parameter << 32
    }

    fn see(table: &mut Table, parameter: u64, times: u32) {
        (0..times).for_each(|_| table.see(hash(parameter), number()));
    }

    fn is_known(table: &Table, parameter: u64) -> bool {
        table.fit(hash(parameter), number()) == Fit::Usual
    }

    #[test]
    fn the_least_trusted_makes_room() {
        let mut table = Table::new(WAYS);
        assert_eq!(table.capacity(), WAYS);
        let mature = u32::from(MATURE);
        for parameter in 0..3 {
            see(&mut table, parameter, mature);
        }
        see(&mut table, 3, mature - 1);
        assert_eq!(table.fill(), (4, 3));
        // Any number of names that come once share the place of the one that is not mature.
        (100..10_000).for_each(|parameter| see(&mut table, parameter, 1));
        assert_eq!(table.fill(), (4, 3));
        assert!((0..3).all(|parameter| is_known(&table, parameter)));
        see(&mut table, 3, mature);
        assert!(is_known(&table, 3), "one that comes again gets through");
    }

    #[test]
    fn mature_profiles_lose_their_place_slowly() {
        let mut table = Table::new(WAYS);
        for parameter in 0..4 {
            see(&mut table, parameter, 250);
        }
        (100..300).for_each(|parameter| see(&mut table, parameter, 1));
        assert!((0..4).all(|parameter| is_known(&table, parameter)));
        // Each takes one sighting of the least trusted; when that has lost its place, names that come once share it.
        (300..100_000).for_each(|parameter| see(&mut table, parameter, 1));
        assert_eq!((0..4).filter(|parameter| is_known(&table, *parameter)).count(), 3);
        assert_eq!(table.fill(), (4, 3));
    }

    #[test]
    fn contradiction_ends_in_learning_anew() {
        let mut table = Table::new(64);
        see(&mut table, 7, 200);
        assert_eq!(table.fill(), (1, 1));
        (0..168).for_each(|_| table.contradict(hash(7)));
        assert!(is_known(&table, 7));
        table.contradict(hash(7));
        assert!(!is_known(&table, 7));
        assert_eq!(table.fill(), (1, 0));
        table.contradict(hash(8));
        (0..1000).for_each(|_| table.contradict(hash(7)));
        assert_eq!(table.fill(), (0, 0));
    }

    #[test]
    fn tells_parameters_apart() {
        let mut table = Table::new(1024);
        for parameter in 0..64u64 {
            let hash = parameter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..40).for_each(|_| table.see(hash, number()));
            assert_eq!(table.fit(!hash, number()), Fit::Open);
        }
        assert_eq!(table.fill(), (64, 64));
    }
}
