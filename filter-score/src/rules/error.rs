//! Errors in rule packs, with their place and a way out.

use std::fmt;
use std::ops::Range;

/// One mistake in one pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackError {
    /// Name of the pack as given to [`crate::PackSource`], usually its file name.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            remedy,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}; {remedy}")
    }
}

impl std::error::Error for PackError {}

/// A place in a pack's text: remembered until an error needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) fn of(file: &str, text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.to_owned(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>, remedy: impl Into<String>) -> PackError {
        let Self { file, line, column } = self.clone();
        PackError {
            file,
            line,
            column,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}
