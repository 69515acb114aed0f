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

use crate::rules::prefilter::Classes;

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

/// A detector as rules know it.
#[derive(Debug)]
pub(crate) struct Detector {
    /// The name in rule packs.
    pub(crate) name: &'static str,
    pub(crate) detect: fn(&[u8]) -> Option<Evidence>,
    /// Lower-case literals; one of them, or a byte of `classes`, is part of whatever is detected.
    pub(crate) literals: &'static [&'static str],
    pub(crate) classes: Classes,
}

static DETECTORS: [Detector; 9] = [
    Detector {
        name: "sql-injection",
        detect: sql::bare,
        literals: sql::LITERALS,
        classes: Classes::LINE,
    },
    Detector {
        name: "sql-injection-quoted",
        detect: sql::quoted,
        literals: &[],
        classes: Classes::QUOTE,
    },
    Detector {
        name: "sql-injection-weak",
        detect: sql::likely,
        literals: sql::LITERALS,
        classes: Classes::QUOTE.or(Classes::LINE),
    },
    Detector {
        name: "path-escape",
        detect: path::certain,
        literals: path::LITERALS,
        classes: NONE,
    },
    Detector {
        name: "path-escape-weak",
        detect: path::likely,
        literals: path::LITERALS,
        classes: NONE,
    },
    Detector {
        name: "shell-command",
        detect: shell::certain,
        literals: shell::LITERALS,
        classes: shell::CLASSES,
    },
    Detector {
        name: "html-script",
        detect: html::certain,
        literals: html::LITERALS,
        classes: NONE,
    },
    Detector {
        name: "html-document",
        detect: html::likely,
        literals: html::LITERALS,
        classes: NONE,
    },
    Detector {
        name: "javascript",
        detect: script::certain,
        literals: script::LITERALS,
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
                if let Some(Evidence { start, end, label }) = (detector.detect)(&text) {
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
            for literal in detector.literals {
                assert!(
                    literal.len() >= 2 && *literal == literal.to_ascii_lowercase(),
                    "{literal}"
                );
            }
        }
    }
}
