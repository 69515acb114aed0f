//! Detectors: what regular expressions do badly. Each reads one decoded field as its target would and looks for
//! the shapes of an attack in the grammar.
//!
//! A detector is a pure function over the field. It takes linear time, allocates nothing and never panics. Rules
//! name it in place of a regular expression; its literals and byte classes say where it is worth running.

mod html;
mod path;
mod script;
mod shell;
mod sql;

use crate::decode::DecodingSet;
use crate::rules::classes::Classes;

/// What convinced a detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Offset of the first byte.
    pub(crate) start: usize,
    /// Offset after the last byte.
    pub(crate) end: usize,
    /// The shape that was found, in a few words.
    pub(crate) label: &'static str,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// It has another meaning now and then.
    Likely,
    /// It is an attack.
    Certain,
}

/// How a field is read; detectors of two grades share one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    SqlBare,
    SqlQuoted,
    Path,
    Shell,
    Html,
    Script,
}

/// How many readings there are.
pub(crate) const READINGS: usize = 6;

impl Reading {
    /// Whether a field can say something new after these decodings: what resolves paths joins no markup or strings.
    pub(crate) fn sees(self, decodings: DecodingSet) -> bool {
        !decodings.contains(DecodingSet::PATH) || matches!(self, Self::Path | Self::Shell | Self::SqlBare)
    }

    /// The surest finding in a field.
    pub(crate) fn of(self, text: &[u8]) -> Option<(Grade, Evidence)> {
        match self {
            Self::SqlBare => sql::bare(text),
            Self::SqlQuoted => sql::quoted(text),
            Self::Path => surest(text, path::certain, path::likely),
            Self::Shell => surest(text, shell::certain, nothing),
            Self::Html => surest(text, html::certain, html::likely),
            Self::Script => surest(text, script::certain, nothing),
        }
    }
}

type Detect = fn(&[u8]) -> Option<Evidence>;

fn surest(text: &[u8], certain: Detect, likely: Detect) -> Option<(Grade, Evidence)> {
    certain(text)
        .map(|evidence| (Grade::Certain, evidence))
        .or_else(|| likely(text).map(|evidence| (Grade::Likely, evidence)))
}

fn nothing(_: &[u8]) -> Option<Evidence> {
    None
}

/// A detector as rules know it.
#[derive(Debug)]
pub(crate) struct Detector {
    /// The name in rule packs.
    pub(crate) name: &'static str,
    pub(crate) reading: Reading,
    pub(crate) grade: Grade,
    /// Lower-case literals; one of them, or a byte of `classes`, is part of whatever is detected.
    pub(crate) literals: &'static [&'static str],
    /// The same, but they count only as words of their own.
    pub(crate) words: &'static [&'static str],
    pub(crate) classes: Classes,
}

static DETECTORS: [Detector; 10] = [
    Detector {
        name: "sql-injection",
        reading: Reading::SqlBare,
        grade: Grade::Certain,
        literals: sql::LITERALS,
        words: sql::WORDS,
        classes: NONE,
    },
    Detector {
        name: "sql-injection-weak",
        reading: Reading::SqlBare,
        grade: Grade::Likely,
        literals: sql::LITERALS,
        words: sql::WORDS,
        classes: NONE,
    },
    Detector {
        name: "sql-injection-quoted",
        reading: Reading::SqlQuoted,
        grade: Grade::Certain,
        literals: &[],
        words: &[],
        classes: Classes::QUOTE,
    },
    Detector {
        name: "sql-injection-quoted-weak",
        reading: Reading::SqlQuoted,
        grade: Grade::Likely,
        literals: &[],
        words: &[],
        classes: Classes::QUOTE,
    },
    Detector {
        name: "path-escape",
        reading: Reading::Path,
        grade: Grade::Certain,
        literals: path::LITERALS,
        words: &[],
        classes: NONE,
    },
    Detector {
        name: "path-escape-weak",
        reading: Reading::Path,
        grade: Grade::Likely,
        literals: path::LITERALS,
        words: &[],
        classes: NONE,
    },
    Detector {
        name: "shell-command",
        reading: Reading::Shell,
        grade: Grade::Certain,
        literals: shell::LITERALS,
        words: &[],
        classes: shell::CLASSES,
    },
    Detector {
        name: "html-script",
        reading: Reading::Html,
        grade: Grade::Certain,
        literals: html::LITERALS,
        words: &[],
        classes: NONE,
    },
    Detector {
        name: "html-document",
        reading: Reading::Html,
        grade: Grade::Likely,
        literals: html::LITERALS,
        words: &[],
        classes: NONE,
    },
    Detector {
        name: "javascript",
        reading: Reading::Script,
        grade: Grade::Certain,
        literals: script::LITERALS,
        words: &[],
        classes: NONE,
    },
];

/// No byte alone makes the detector worth running.
const NONE: Classes = Classes::of(b'a');

impl Detector {
    /// The detector of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        DETECTORS.iter().find(|detector| detector.name == name)
    }

    /// All names, for messages.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        DETECTORS.iter().map(|detector| detector.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of all the languages, so that random fields get deep into the detectors.
    const PIECES: &[&str] = &[
        "'",
        "\"",
        "`",
        " ",
        "\n",
        "(",
        ")",
        ";",
        ",",
        "--",
        "#",
        "/*",
        "*/",
        "/*!",
        "or",
        "and",
        "union",
        "select",
        "from",
        "case",
        "when",
        "then",
        "limit",
        "order",
        "by",
        "1",
        "0x",
        "1e",
        ".",
        "=",
        "<",
        ">",
        "||",
        "|",
        "&",
        "$(",
        "${IFS}",
        "$IFS",
        "\\",
        "\\n",
        "cat",
        "id",
        "/",
        "..",
        "%2e",
        "%%32%%65",
        "%c0%",
        "0x2e",
        "<a",
        "<!--",
        "-->",
        "<script",
        "onload",
        "=",
        "javascript:",
        "&#x",
        "&colon;",
        "style",
        "alert",
        "eval",
        "document",
        "cookie",
        "constructor",
        "[",
        "]",
        "![]",
        "{",
        "}",
        "@@",
        "@",
        "\u{0}",
        "é",
        "\\x27",
        "location",
        "if",
    ];

    fn field() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn evidence_lies_in_the_field(text in field()) {
            for detector in &DETECTORS {
                if let Some((_, Evidence { start, end, label })) = detector.reading.of(&text) {
                    prop_assert!(start <= end && end <= text.len(), "{} {start}..{end} of {}", detector.name, text.len());
                    prop_assert!(!label.is_empty());
                }
            }
        }
    }

    #[test]
    fn names_are_found() {
        for detector in &DETECTORS {
            assert!(Detector::named(detector.name).is_some_and(|found| found.name == detector.name));
        }
        assert!(Detector::named("sql").is_none());
    }

    #[test]
    fn gates_are_well_formed() {
        for detector in &DETECTORS {
            for literal in detector.literals.iter().chain(detector.words) {
                assert!(
                    literal.len() >= 2 && *literal == literal.to_ascii_lowercase(),
                    "{literal}"
                );
            }
        }
    }
}
