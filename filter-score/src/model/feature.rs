//! What the trees of stage two look at.

use serde::{Deserialize, Serialize};

use super::linear::Run;
use crate::decode::DecodingSet;
use crate::rules::Family;
use crate::target::Target;

/// What the trees know of a field and of the request up to it; each name says what is counted.
pub(crate) const NAMES: [&str; FEATURES] = [
    "best run of the field",
    "best run a position",
    "length of the best run",
    "length of the field",
    "letters",
    "digits",
    "spaces",
    "punctuation",
    "bytes above ASCII",
    "control bytes",
    "single quotes",
    "double quotes",
    "odd quotes",
    "backticks",
    "parentheses",
    "parentheses left open",
    "angle brackets",
    "braces",
    "semicolons",
    "equals signs",
    "slashes",
    "dots",
    "dollar signs",
    "vertical bars and ampersands",
    "commas",
    "comment marks",
    "percent signs",
    "longest word",
    "changes between words and marks",
    "longest run of marks",
    "kind of target",
    "lenient decodings",
    "anomaly sum",
    "rules on SQL",
    "rules on scripts",
    "rules on paths",
    "rules on commands",
    "rules on templates and other languages",
    "rules on scanners",
    "rules on the protocol",
];
pub(crate) const FEATURES: usize = 40;
/// The first feature that tells of rules; all after it do.
pub(crate) const FIRST_OF_RULES: usize = 32;

/// Changes whenever features or n-grams get another meaning: a model fits one version only.
pub(crate) const FEATURE_VERSION: u16 = 2;

pub(crate) type Features = [i16; FEATURES];

/// More than this says no more.
const SURE: i32 = 2048;

/// Bytes of a field that the lexical features count: those around the end of its best run.
pub(crate) const REGION: usize = 256;
const BEHIND: usize = 64;

/// The region of `text` around the end of its best run, as offsets.
pub(crate) fn region(text: &[u8], end: usize) -> std::ops::Range<usize> {
    let last = text.len().min(end + BEHIND);
    let first = last.saturating_sub(REGION);
    first..text.len().min(first + REGION)
}

/// What the trees are told beside the text itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) decodings: DecodingSet,
    /// Sum of the severities of the rules that hit so far.
    pub(crate) anomaly: u32,
    pub(crate) families: FamilySet,
}

/// Families of the rules that hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FamilySet(u32);

impl FamilySet {
    pub(crate) fn insert(&mut self, family: Family) {
        self.0 |= 1 << family as u32;
    }

    fn has(self, families: &[Family]) -> bool {
        families.iter().any(|family| self.0 >> *family as u32 & 1 != 0)
    }
}

fn counts(region: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    for byte in region {
        counts[usize::from(*byte)] += 1;
    }
    counts
}

/// Classes of bytes that words and marks are made of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    Word,
    Mark,
    #[default]
    Space,
}

/// How words and marks follow each other.
#[derive(Default)]
struct Shape {
    longest_word: u32,
    longest_marks: u32,
    /// Places where one kind ends and another begins.
    changes: u32,
}

impl Shape {
    fn of(region: &[u8]) -> Self {
        let mut shape = Self::default();
        let (mut length, mut before) = (0, Kind::default());
        for byte in region {
            let kind = match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Kind::Word,
                b' ' | b'\t' | b'\r' | b'\n' => Kind::Space,
                _ => Kind::Mark,
            };
            shape.changes += u32::from(kind != before);
            length = if kind == before { length + 1 } else { 1 };
            before = kind;
            match kind {
                Kind::Word => shape.longest_word = shape.longest_word.max(length),
                Kind::Mark => shape.longest_marks = shape.longest_marks.max(length),
                Kind::Space => {}
            }
        }
        shape
    }
}

/// The features of a field. `run`: its best run, within the `region` of the text (its start may be cut off);
/// `length`: of the whole text. What other fields there are is no feature: attacks that are known as single strings would
/// teach that requests with few fields are attacks.
pub(crate) fn features(region: &[u8], length: usize, run: Run, context: Context) -> Features {
    let counts = counts(region);
    let shape = Shape::of(region);
    let range = |range: std::ops::RangeInclusive<u8>| {
        counts[usize::from(*range.start())..=usize::from(*range.end())]
            .iter()
            .sum::<u32>()
    };
    let count = |bytes: &[u8]| bytes.iter().map(|byte| counts[usize::from(*byte)]).sum::<u32>();
    // Shares are in 1/256 of the region.
    let size = region.len().max(1) as u32;
    let of_256 = |part: u32| part * 256 / size;
    let letters = range(b'a'..=b'z') + range(b'A'..=b'Z');
    let digits = range(b'0'..=b'9');
    let spaces = count(b" \t\r\n");
    let high = range(0x80..=0xff);
    let control = range(0..=31) + count(&[127]) - count(b"\t\r\n");
    let marks = region.len() as u32 - letters - digits - spaces - high - control;
    let (open, closed) = (count(b"("), count(b")"));
    let odd = [b'\'', b'"', b'`']
        .iter()
        .map(|quote| count(&[*quote]) % 2)
        .sum::<u32>();
    let positions = ((run.end - run.start).max(1) as u32).cast_signed();
    let pairs =
        |first: u8, second: u8| region.windows(2).filter(|pair| **pair == [first, second]).count() as u32;
    let comments = pairs(b'-', b'-') + pairs(b'/', b'*') + pairs(b'*', b'/') + count(b"#");
    let flag = |on: bool| u32::from(on);
    let lenient = LENIENT
        .iter()
        .filter(|one| context.decodings.contains(**one))
        .count();
    let unsigned: [u32; FEATURES - 3] = [
        length.min(4096) as u32,
        of_256(letters),
        of_256(digits),
        of_256(spaces),
        of_256(marks),
        of_256(high),
        control,
        count(b"'"),
        count(b"\""),
        odd,
        count(b"`"),
        open + closed,
        open.abs_diff(closed),
        count(b"<>"),
        count(b"{}"),
        count(b";"),
        count(b"="),
        count(b"/\\"),
        count(b"."),
        count(b"$"),
        count(b"|&"),
        count(b","),
        comments,
        count(b"%"),
        shape.longest_word,
        shape.changes * 256 / size,
        shape.longest_marks,
        kind_of(context.target),
        lenient as u32,
        context.anomaly.min(10),
        flag(context.families.has(&[Family::Sqli])),
        flag(context.families.has(&[Family::Xss])),
        flag(context.families.has(&[Family::Traversal])),
        flag(
            context
                .families
                .has(&[Family::Cmdi, Family::Webshell, Family::Log4shell]),
        ),
        flag(context.families.has(OTHER_LANGUAGES)),
        flag(context.families.has(&[Family::Scanner])),
        flag(context.families.has(&[Family::Protocol])),
    ];
    let runs = [run.sum.min(SURE), run.sum / positions, positions];
    let mut features = [0; FEATURES];
    let values = runs.into_iter().chain(unsigned.into_iter().map(u32::cast_signed));
    for (feature, value) in features.iter_mut().zip(values) {
        *feature = value.clamp(0, i32::from(i16::MAX)) as i16;
    }
    features
}

/// Decodings that ordinary clients give no reason for.
const LENIENT: [DecodingSet; 4] = [
    DecodingSet::URL_REPEATED,
    DecodingSet::UNICODE,
    DecodingSet::ENTITY,
    DecodingSet::ESCAPE,
];

const OTHER_LANGUAGES: &[Family] = &[
    Family::Ssrf,
    Family::Ssti,
    Family::Xxe,
    Family::Nosqli,
    Family::Ldapi,
    Family::Crlf,
    Family::Deserialisation,
    Family::Prototype,
    Family::Custom,
];

/// In an order in which a threshold makes sense: from places that hold one value to those that hold texts.
fn kind_of(target: Target) -> u32 {
    match target {
        Target::Request => 0,
        Target::Path => 1,
        Target::QueryName | Target::FormName | Target::CookieName | Target::JsonName => 2,
        Target::Cookie => 3,
        Target::Query | Target::FileName => 4,
        Target::Form => 5,
        Target::Header => 6,
        Target::Json | Target::Xml => 7,
        Target::Body | Target::File => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Features {
        let context = Context {
            target: Target::Query,
            decodings: DecodingSet::default(),
            anomaly: 0,
            families: FamilySet::default(),
        };
        let region = &text[region(text, text.len())];
        features(region, text.len(), Run::default(), context)
    }

    fn named(text: &str, name: &str) -> i16 {
        let at = NAMES.iter().position(|known| *known == name).expect(name);
        of(text.as_bytes())[at]
    }

    #[test]
    fn names_stand_for_what_is_counted() {
        for (text, name, value) in [
            ("aa11", "letters", 128),
            ("aa11", "digits", 128),
            ("a b ", "spaces", 128),
            ("a'='", "single quotes", 2),
            ("a'=\"b", "odd quotes", 2),
            ("f((x)", "parentheses left open", 1),
            ("1 -- /* */ #", "comment marks", 4),
            ("$($x)", "dollar signs", 2),
            ("union select", "longest word", 6),
            ("a<=>b", "longest run of marks", 3),
            ("äb", "bytes above ASCII", 2 * 256 / 3),
            ("a\u{1}b\tc", "control bytes", 1),
            ("x", "kind of target", 4),
        ] {
            assert_eq!(named(text, name), value, "{name} of {text:?}");
        }
    }

    #[test]
    fn any_bytes_give_features() {
        for byte in 0..=255u8 {
            for length in [0, 1, 255, 256, 257, 100_000] {
                let values = of(&vec![byte; length]);
                assert!(
                    values.iter().all(|value| *value >= 0),
                    "{byte} × {length}: {values:?}"
                );
            }
        }
    }

    #[test]
    fn the_region_holds_the_end_of_the_run() {
        for (length, end) in [
            (0, 1),
            (10, 11),
            (256, 3),
            (1000, 2),
            (1000, 500),
            (1000, 1001),
            (300, 100),
        ] {
            let text = vec![b'a'; length];
            let region = region(&text, end);
            assert!(
                region.len() == length.min(REGION) || region.end == length.min(end + BEHIND),
                "{length} {end} {region:?}"
            );
            assert!(region.end <= length && region.end >= end.min(length));
        }
    }
}
