//! Every text that a target may make of a field: up to three decodings, in any order.

use std::mem::take;

use crate::decode::{DecodingSet, base64, comment, control, entity, escape, path, percent, shell, unicode};

/// Decodings on top of each other.
const DEPTH: u8 = 3;
/// Readings of one field, the one as sent included; the deepest are left out first.
pub(super) const MAX_READINGS: usize = 64;

type Decoder = fn(&[u8], &mut Vec<u8>) -> bool;

/// The decodings that only some rules ask for come last: a text that is reached without them, too, is seen by all rules.
const DECODERS: [(DecodingSet, Decoder); 8] = [
    (DecodingSet::UNICODE, unicode::decode),
    (DecodingSet::ENTITY, entity::decode),
    (DecodingSet::ESCAPE, escape::decode),
    (DecodingSet::CONTROL, control::strip),
    (DecodingSet::PATH, path::normalise),
    (DecodingSet::SQL, comment::strip),
    (DecodingSet::SHELL, shell::unquote),
    (DecodingSet::BASE64, base64::decode),
];

/// One of them.
#[derive(Debug, Default)]
struct Reading {
    text: Vec<u8>,
    applied: DecodingSet,
    depth: u8,
    /// Nothing is left to decode in it, and nothing was taken away.
    plain: bool,
}

/// The readings of one field. Memory grows to [`MAX_READINGS`] times the longest field and is used again.
#[derive(Debug, Default)]
pub(super) struct Readings {
    all: Vec<Reading>,
    used: usize,
    next: Vec<u8>,
}

impl Readings {
    /// Finds the readings of `raw`. `plus`: a plus sign means a space.
    pub(super) fn of(&mut self, raw: &[u8], plus: bool) {
        self.used = 0;
        self.next.clear();
        self.next.extend_from_slice(raw);
        self.keep(DecodingSet::default(), 0);
        let mut at = 0;
        while at < self.used {
            let Reading {
                text, applied, depth, ..
            } = take(&mut self.all[at]);
            let mut plain = applied.optional().is_empty();
            if depth < DEPTH {
                let again = if applied.contains(DecodingSet::URL) {
                    DecodingSet::URL_REPEATED
                } else {
                    DecodingSet::URL
                };
                if percent::decode(&text, plus && depth == 0, &mut self.next).changed {
                    plain = false;
                    self.keep_unless(&text, applied | again, depth + 1);
                }
                for (decoding, decode) in DECODERS {
                    if decode(&text, &mut self.next) {
                        plain &= !decoding.optional().is_empty() || decoding == DecodingSet::BASE64;
                        self.keep_unless(&text, applied | decoding, depth + 1);
                    }
                }
            }
            self.all[at] = Reading {
                text,
                applied,
                depth,
                plain,
            };
            at += 1;
        }
    }

    /// From the least decoded to the most; and whether a reading is plain: nothing is left to decode in it, and nothing
    /// was taken away.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], DecodingSet, bool)> {
        self.all[..self.used]
            .iter()
            .map(|reading| (&reading.text[..], reading.applied, reading.plain))
    }

    fn keep_unless(&mut self, same: &[u8], applied: DecodingSet, depth: u8) {
        if self.next != same {
            self.keep(applied, depth);
        }
    }

    /// Keeps the text in `next`, unless it is there or there are enough.
    fn keep(&mut self, applied: DecodingSet, depth: u8) {
        let is_new = self.all[..self.used]
            .iter()
            .all(|reading| reading.text != self.next);
        if !is_new || self.used == MAX_READINGS || self.next.is_empty() {
            return;
        }
        if self.used == self.all.len() {
            self.all.push(Reading::default());
        }
        let slot = &mut self.all[self.used];
        std::mem::swap(&mut slot.text, &mut self.next);
        slot.applied = applied;
        slot.depth = depth;
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(raw: &[u8]) -> Vec<String> {
        let mut readings = Readings::default();
        readings.of(raw, true);
        readings
            .iter()
            .map(|(text, ..)| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    #[test]
    fn decodings_in_an_order_that_the_first_tier_does_not_try() {
        // An entity that hides percent-encoding: percent-decoding comes first in the first tier.
        assert!(readings(b"&#37;3Cb&#37;3E").contains(&"<b>".to_owned()));
        // An escape that hides an entity.
        assert!(readings(br"\u0026lt;b>").contains(&"<b>".to_owned()));
        // Three of them, and no fourth.
        assert!(readings(br"\u0026#37;3Cb>").contains(&"<b>".to_owned()));
        assert!(!readings(b"%255Cu0026#37;3Cb>").contains(&"<b>".to_owned()));
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let hostile = b"%2526%2523x25%253b\\u0026#37;..//./a'b'/**/ /*!x*/&#x26;#x26;%c0%af\x01+%u0027\\x27";
        let all = readings(&hostile.repeat(20));
        assert!(all.len() <= MAX_READINGS);
        assert!(all.len() > 20);
        assert_eq!(readings(b"plain"), ["plain"]);
        assert!(readings(b"").is_empty());
    }

    #[test]
    fn what_was_left_of_the_field_before_is_not_a_reading() {
        let mut readings = Readings::default();
        readings.of(b"a%2520b%2520c&amp;lt;", false);
        readings.of(b"x", false);
        assert_eq!(readings.iter().map(|(text, ..)| text).collect::<Vec<_>>(), [b"x"]);
    }
}
