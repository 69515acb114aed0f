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

static DETECTORS: [Detector; 8] = [
    Detector {
        name: "sql-injection",
        detect: sql::certain,
        literals: sql::LITERALS,
        classes: Classes::QUOTE.or(Classes::LINE),
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
