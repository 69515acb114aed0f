//! Where a decoding has changed a text: what lies elsewhere was seen before.

use std::ops::Range;

/// Bytes on either side of a change that belong to it: literals of rules are shorter, but for a few.
const CONTEXT: usize = 32;
/// Places that are told apart; what comes after them counts as one.
const PLACES: usize = 24;
/// The longest piece that may have been taken out of the text, in bytes; behind a longer one all of the text counts as changed.
const TAKEN: usize = 40;
/// Bytes that tell where the texts go on alike.
const ALIKE: usize = 8;

/// Parts of a decoded text, in order and apart from each other, with every change and what stands around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    parts: [(u32, u32); PLACES],
    count: usize,
    everywhere: bool,
}

impl Changes {
    /// All of a text.
    pub(crate) const EVERYWHERE: Self = Self {
        parts: [(0, 0); PLACES],
        count: 0,
        everywhere: true,
    };

    /// What differs in `new`, which a decoding has made of `old`. Each byte that is in no part is in a piece that `old` has, too,
    /// with [`CONTEXT`] bytes on both sides. Takes linear time.
    pub(crate) fn between(old: &[u8], new: &[u8]) -> Self {
        let mut changes = Self {
            parts: [(0, 0); PLACES],
            count: 0,
            everywhere: false,
        };
        let (mut rest, mut at) = (old, 0);
        loop {
            let same = alike(rest, &new[at..]);
            rest = &rest[same..];
            at += same;
            if at == new.len() {
                if !rest.is_empty() {
                    changes.add(at..at, new.len());
                }
                return changes;
            }
            let Some((taken, put)) = resumption(rest, &new[at..]) else {
                changes.add(at..new.len(), new.len());
                return changes;
            };
            changes.add(at..at + put, new.len());
            rest = &rest[taken..];
            at += put;
        }
    }

    /// Adds a place behind all others.
    fn add(&mut self, place: Range<usize>, length: usize) {
        let start = place.start.saturating_sub(CONTEXT) as u32;
        let end = (place.end + CONTEXT).min(length) as u32;
        match self.parts[..self.count].last_mut() {
            Some(last) if start <= last.1 || self.count == PLACES => last.1 = end.max(last.1),
            _ => {
                self.parts[self.count] = (start, end);
                self.count += 1;
            }
        }
    }

    /// Whether all of the text counts as changed.
    pub(crate) fn are_everywhere(&self) -> bool {
        self.everywhere
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        self.parts[..self.count]
            .iter()
            .map(|&(start, end)| start as usize..end as usize)
    }
}

/// How many bytes two texts begin with alike.
fn alike(one: &[u8], other: &[u8]) -> usize {
    let (ones, _) = one.as_chunks::<ALIKE>();
    let (others, _) = other.as_chunks::<ALIKE>();
    let blocks = ones.iter().zip(others).take_while(|(one, other)| one == other);
    let start = ALIKE * blocks.count();
    let bytes = one[start..].iter().zip(&other[start..]);
    start + bytes.take_while(|(one, other)| one == other).count()
}

/// How many bytes of the old text were taken out, and how many put in their place, before both go on alike.
fn resumption(old: &[u8], new: &[u8]) -> Option<(usize, usize)> {
    for put in 0..=2 {
        let next = new.get(put..)?;
        let next = &next[..next.len().min(ALIKE)];
        let taken = (0..=TAKEN.min(old.len())).find(|taken| {
            // At the end of the text the old one has to end, too.
            old[*taken..].starts_with(next) && (next.len() == ALIKE || old.len() - taken == next.len())
        });
        if let Some(taken) = taken
            && taken + put > 0
        {
            return Some((taken, put));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(old: &str, new: &str) -> Vec<(usize, usize)> {
        let changes = Changes::between(old.as_bytes(), new.as_bytes());
        changes.parts().map(|part| (part.start, part.end)).collect()
    }

    #[test]
    fn places() {
        let filler = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(10);
        let text = |inner: &str| format!("{filler}{inner}{filler}");
        let at = filler.len();
        assert_eq!(
            parts(&text("a''b"), &text("ab")),
            [(at + 1 - CONTEXT, at + 1 + CONTEXT)]
        );
        assert_eq!(
            parts(&text("&lt;"), &text("<")),
            [(at - CONTEXT, at + 1 + CONTEXT)]
        );
        assert!(parts(&text("same"), &text("same")).is_empty());
        let end = format!("{filler}'");
        assert_eq!(parts(&end, &filler), [(at - CONTEXT, at)]);
        let long = text(&"x".repeat(100));
        let whole = filler.len() * 2;
        assert_eq!(parts(&long, &text("")), [(at - CONTEXT, whole)]);
        let two = format!("'{filler}'{filler}");
        let both = filler.repeat(2);
        assert_eq!(parts(&two, &both), [(0, CONTEXT), (at - CONTEXT, at + CONTEXT)]);
    }

    #[test]
    fn many_places_become_one() {
        let filler = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(4);
        let old = format!("{filler}'").repeat(2 * PLACES);
        let new = filler.repeat(2 * PLACES);
        let parts = parts(&old, &new);
        assert_eq!(parts.len(), PLACES);
        assert_eq!(parts[PLACES - 1].1, new.len());
    }

    proptest! {
        /// What lies outside of the parts is in the old text as it is, with the bytes around it.
        #[test]
        fn the_rest_was_there_before(
            old in prop::collection::vec(prop::sample::select(&b"aab'\\x"[..]), 0..400),
            shell: bool,
        ) {
            let mut new = Vec::new();
            if shell {
                crate::decode::shell::unquote(&old, &mut new);
            } else {
                crate::decode::escape::decode(&old, &mut new);
            }
            let changes = Changes::between(&old, &new);
            let mut from = 0;
            let end = new.len();
            for part in changes.parts().chain(std::iter::once(end..end)) {
                prop_assert!(from <= part.start && part.end <= new.len());
                let unchanged = &new[from..part.start];
                prop_assert!(unchanged.is_empty() || memchr::memmem::find(&old, unchanged).is_some());
                from = part.end;
            }
        }
    }
}
