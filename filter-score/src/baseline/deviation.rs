//! A field that is unlike what its service usually gets there.

use std::fmt;

use super::kind::Kinds;
use super::profile::Difference;
use crate::excerpt::Excerpt;
use crate::findings::Place;
use crate::target::Target;

/// Steps to the highest score.
const MOST: u32 = 4;

/// What a step is worth.
const STEP: f32 = 0.125;

/// Why a field is unlike what usually stands in it, and how much that is worth. Displays itself for people.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    target: Target,
    name: Excerpt<32>,
    new: Kinds,
    longer: bool,
    known: Kinds,
    steps: u8,
}

impl Deviation {
    pub(super) fn new(place: Place<'_>, difference: Difference) -> Self {
        let Difference { new, longer, known } = difference;
        let steps = 2 * new.marks() + new.plain() + u32::from(longer);
        Self {
            target: place.target,
            name: Excerpt::of(place.name),
            new,
            longer,
            known,
            steps: steps.min(MOST) as u8,
        }
    }

    /// How much it adds to the suspicion, as the chance of an independent witness: 0.25 for one new kind of marks, 0.125 more
    /// for another new kind of characters or a greater length, and 0.5 at most.
    #[must_use]
    pub fn score(&self) -> f32 {
        f32::from(self.steps) * STEP
    }

    /// Where the field stands.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Excerpt<32> {
        &self.name
    }
}

/// `Unlike what query:id usually holds (digits): single quotes; longer`
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.target.label(&self.name);
        write!(
            f,
            "Unlike what {place} usually holds ({}): {}",
            self.known, self.new
        )?;
        if self.longer {
            f.write_str("; longer")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_worth_more_the_more_is_new_and_never_a_block() {
        let place = Place {
            target: Target::Query,
            name: b"ID",
        };
        let table = [
            ("1'", false, 0.25),
            ("1'", true, 0.375),
            ("a'", false, 0.375),
            ("a' ", false, 0.5),
            ("1'<", false, 0.5),
            ("<a href='x\">;|\\*(){}", true, 0.5),
        ];
        let known = Kinds::of(b"17");
        for (text, longer, expected) in table {
            let new = Kinds::of(text.as_bytes()).without(known);
            let deviation = Deviation::new(place, Difference { new, longer, known });
            assert!((deviation.score() - expected).abs() < f32::EPSILON, "{text}");
        }
        let new = Kinds::of(b"'<");
        let longer = true;
        let deviation = Deviation::new(place, Difference { new, longer, known });
        assert_eq!(
            deviation.to_string(),
            "Unlike what query:id usually holds (digits): single quotes, angle brackets; longer"
        );
    }
}
