//! The fields of a request that made it suspicious.

use crate::excerpt::Excerpt;
use crate::exclusion::ExclusionSet;
use crate::findings::Place;
use crate::target::Target;

/// Doubtful fields of one request that are kept.
pub const DOUBT_FIELDS: usize = 8;
/// Bytes of them that are kept in all.
pub const DOUBT_BYTES: usize = 3584;

/// One doubtful field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) target: Target,
    pub(crate) name: Excerpt<32>,
    /// A plus sign in it means a space.
    pub(crate) plus: bool,
    /// What does not count in it.
    pub(crate) excluded: ExclusionSet,
    start: u16,
    end: u16,
}

impl Doubt {
    /// The same field, with its text from `start` on.
    pub(super) fn moved_to(self, start: usize) -> Self {
        Self {
            start: start as u16,
            end: (start + usize::from(self.end - self.start)) as u16,
            ..self
        }
    }

    pub(super) fn text_in<'a>(&self, texts: &'a [u8]) -> &'a [u8] {
        &texts[usize::from(self.start)..usize::from(self.end)]
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            target: self.target,
            name: self.name.as_bytes(),
        }
    }
}

/// Doubtful fields as they were sent. Memory is taken when it is made; what does not fit is cut.
#[derive(Debug)]
pub(crate) struct Doubts {
    fields: Vec<Doubt>,
    text: Vec<u8>,
    cut: bool,
}

impl Doubts {
    pub(crate) fn new() -> Self {
        Self {
            fields: Vec::with_capacity(DOUBT_FIELDS),
            text: Vec::with_capacity(DOUBT_BYTES),
            cut: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.text.clear();
        self.cut = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether a field, or a part of one, found no room.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Keeps a field, as far as there is room.
    pub(crate) fn keep(&mut self, place: Place<'_>, text: &[u8], plus: bool, excluded: ExclusionSet) {
        let count = text.len().min(DOUBT_BYTES - self.text.len());
        self.cut |= count < text.len();
        if count == 0 || self.fields.len() == DOUBT_FIELDS {
            self.cut = true;
            return;
        }
        let start = self.text.len() as u16;
        self.text.extend_from_slice(&text[..count]);
        self.fields.push(Doubt {
            target: place.target,
            name: Excerpt::of(place.name),
            plus,
            excluded,
            start,
            end: self.text.len() as u16,
        });
    }

    /// Says anew what does not count in each field.
    pub(crate) fn exclude(&mut self, mut excluded: impl FnMut(Place<'_>) -> ExclusionSet) {
        for doubt in &mut self.fields {
            doubt.excluded = excluded(doubt.place());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Doubt, &[u8])> {
        self.fields.iter().map(|doubt| (doubt, doubt.text_in(&self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(doubts: &mut Doubts, name: &[u8], text: &[u8], plus: bool) {
        let place = Place {
            target: Target::Query,
            name,
        };
        doubts.keep(place, text, plus, ExclusionSet::default());
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let mut doubts = Doubts::new();
        keep(&mut doubts, b"a", &[b'x'; DOUBT_BYTES - 2], false);
        assert!(!doubts.is_cut());
        keep(&mut doubts, b"b", b"1234", true);
        assert!(doubts.is_cut());
        let kept: Vec<_> = doubts
            .iter()
            .map(|(doubt, text)| (doubt.plus, text.len()))
            .collect();
        assert_eq!(kept, [(false, DOUBT_BYTES - 2), (true, 2)]);
        keep(&mut doubts, b"c", b"1", false);
        assert_eq!(doubts.iter().count(), 2);

        doubts.clear();
        assert!(doubts.is_empty() && !doubts.is_cut());
        for _ in 0..DOUBT_FIELDS {
            keep(&mut doubts, b"d", b"1", false);
        }
        assert!(!doubts.is_cut());
        keep(&mut doubts, b"e", b"1", false);
        assert!(doubts.is_cut() && doubts.iter().count() == DOUBT_FIELDS);
    }

    #[test]
    fn nothing_grows() {
        let mut doubts = Doubts::new();
        let capacities = |doubts: &Doubts| (doubts.fields.capacity(), doubts.text.capacity());
        let before = capacities(&doubts);
        for length in 0..2000 {
            keep(
                &mut doubts,
                b"a-name-that-is-longer-than-an-excerpt",
                &vec![b'x'; length],
                true,
            );
        }
        assert_eq!(capacities(&doubts), before);
        assert!(doubts.is_cut());
    }
}
