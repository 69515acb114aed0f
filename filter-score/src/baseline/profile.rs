//! What one parameter usually holds.

use super::kind::{KINDS, Kinds};

/// Clean requests in which a parameter must have been seen before its profile counts for anything.
pub(super) const MATURE: u8 = 32;

/// At so many sightings all counts are halved: what is not seen any more is forgotten in the end.
const FULL: u8 = u8::MAX;

/// What at least one of so many sightings has is known.
const KNOWN: u16 = 64;

/// What at least one of so many sightings has is usual.
const USUAL: u16 = 16;

/// Lengths are told apart by powers of four, up to 8192 bytes.
const LENGTHS: usize = 8;

/// Which of the lengths this is: 1, 2 to 7, 8 to 31, …, 2048 to 8191, and more.
pub(super) fn length(bytes: usize) -> u8 {
    let bits = usize::BITS - bytes.leading_zeros();
    (bits / 2).min(LENGTHS as u32 - 1) as u8
}

/// One value, as a profile sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kinds: Kinds,
    pub(super) length: u8,
}

impl Shape {
    pub(super) fn of(text: &[u8]) -> Self {
        Self {
            kinds: Kinds::of(text),
            length: length(text.len()),
        }
    }

    /// What has the characters of both, and is as long as the longer one.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            kinds: self.kinds.or(other.kinds),
            length: self.length.max(other.length),
        }
    }
}

/// How a value compares with what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Too little is known, or the value is neither usual nor unlike what is known.
    Open,
    /// All of it is usual.
    Usual,
    /// It has marks that are not known there.
    Unlike(Difference),
}

/// What is new in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) new: Kinds,
    /// It is longer than anything known.
    pub(super) longer: bool,
    /// What is known.
    pub(super) known: Kinds,
}

/// Counts of what was seen in one parameter, each saturating. 32 bytes; one without sightings is an empty place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Tells it from others of its set.
    pub(super) tag: u32,
    sightings: u8,
    lengths: [u8; LENGTHS],
    kinds: [u8; KINDS],
}

const _: () = assert!(size_of::<Profile>() == 32);

impl Profile {
    pub(super) fn new(tag: u32) -> Self {
        Self {
            tag,
            ..Self::default()
        }
    }

    /// How far it is to be trusted.
    pub(super) fn sightings(&self) -> u8 {
        self.sightings
    }

    pub(super) fn is_mature(&self) -> bool {
        self.sightings >= MATURE
    }

    /// The parameter was in a clean request.
    pub(super) fn see(&mut self, shape: Shape) {
        let add = |count: &mut u8| *count = count.saturating_add(1);
        add(&mut self.sightings);
        add(&mut self.lengths[usize::from(shape.length)]);
        shape.kinds.iter().for_each(|kind| add(&mut self.kinds[kind]));
        if self.sightings == FULL {
            let counts = self.lengths.iter_mut().chain(&mut self.kinds);
            counts.chain([&mut self.sightings]).for_each(|count| *count /= 2);
        }
    }

    /// It loses a sighting: what came was unlike it, or wants its place.
    pub(super) fn lose(&mut self) {
        self.sightings = self.sightings.saturating_sub(1);
    }

    pub(super) fn fit(&self, shape: Shape) -> Fit {
        if !self.is_mature() {
            return Fit::Open;
        }
        let (known, longest) = self.seen(KNOWN);
        let difference = Difference {
            new: shape.kinds.without(known),
            longer: shape.length > longest,
            known,
        };
        if difference.new.marks() > 0 {
            return Fit::Unlike(difference);
        }
        let (usual, longest) = self.seen(USUAL);
        if shape.kinds.without(usual).is_empty() && shape.length <= longest {
            Fit::Usual
        } else {
            Fit::Open
        }
    }

    /// The kinds that at least one of `share` sightings has, and the greatest length.
    fn seen(&self, share: u16) -> (Kinds, u8) {
        let enough = |count: u8| count > 0 && u16::from(count) * share >= u16::from(self.sightings);
        let longest = self.lengths.iter().rposition(|count| enough(*count));
        (
            Kinds::choose(|kind| enough(self.kinds[kind])),
            longest.unwrap_or(0) as u8,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(times: u32, text: &str) -> Profile {
        let mut profile = Profile::new(1);
        (0..times).for_each(|_| profile.see(Shape::of(text.as_bytes())));
        profile
    }

    fn fit(profile: &Profile, text: &str) -> Fit {
        profile.fit(Shape::of(text.as_bytes()))
    }

    #[test]
    fn lengths_are_powers_of_four() {
        let table = [
            (1, 0),
            (2, 1),
            (7, 1),
            (8, 2),
            (31, 2),
            (32, 3),
            (2048, 6),
            (8191, 6),
            (8192, 7),
        ];
        for (bytes, expected) in table {
            assert_eq!(length(bytes), expected, "{bytes}");
        }
        assert_eq!(usize::from(length(usize::MAX)), LENGTHS - 1);
    }

    #[test]
    fn says_nothing_before_it_is_mature() {
        let young = seen(u32::from(MATURE) - 1, "17");
        assert_eq!(fit(&young, "17"), Fit::Open);
        assert_eq!(fit(&young, "'<"), Fit::Open);
        let mature = seen(u32::from(MATURE), "17");
        assert_eq!(fit(&mature, "42"), Fit::Usual);
        let Fit::Unlike(difference) = fit(&mature, "1'<b>") else {
            panic!("{:?}", fit(&mature, "1'<b>"));
        };
        assert_eq!((difference.new.marks(), difference.new.plain()), (2, 1));
        assert_eq!(difference.known.to_string(), "digits");
        assert!(!difference.longer);
    }

    #[test]
    fn other_letters_or_a_greater_length_alone_are_nothing() {
        let mature = seen(40, "17");
        assert_eq!(fit(&mature, "abc def"), Fit::Open);
        assert_eq!(fit(&mature, &"1".repeat(100)), Fit::Open);
        assert!(matches!(
            fit(&mature, &"1'".repeat(100)),
            Fit::Unlike(Difference { longer: true, .. })
        ));
    }

    #[test]
    fn a_few_sightings_among_many_do_not_make_something_known() {
        let mut profile = seen(200, "17");
        (0..3).for_each(|_| profile.see(Shape::of(b"'")));
        assert!(matches!(fit(&profile, "1'"), Fit::Unlike(_)));
        profile.see(Shape::of(b"'"));
        assert_eq!(fit(&profile, "1'"), Fit::Open, "known, but not usual");
        (0..20).for_each(|_| profile.see(Shape::of(b"'")));
        assert_eq!(fit(&profile, "1'"), Fit::Usual);
    }

    #[test]
    fn what_does_not_come_any_more_is_forgotten() {
        let mut profile = seen(100, "a'b");
        let mut left = 0;
        while fit(&profile, "'") != Fit::Open || left == 0 {
            profile.see(Shape::of(b"17"));
            left += 1;
            assert!(left < 2000, "{profile:?}");
        }
        while !matches!(fit(&profile, "'"), Fit::Unlike(_)) {
            profile.see(Shape::of(b"17"));
            left += 1;
            assert!(left < 2000, "{profile:?}");
        }
        assert!(left > 255, "not at once");
    }

    #[test]
    fn counts_never_exceed_their_bounds() {
        let profile = seen(100_000, "a'1");
        assert!(profile.sightings() >= FULL / 2 && profile.is_mature());
        let mut profile = profile;
        (0..1000).for_each(|_| profile.lose());
        assert_eq!(profile.sightings(), 0);
        assert_eq!(fit(&profile, "a"), Fit::Open);
    }
}
