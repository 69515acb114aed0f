//! How a field is encoded where it stands: what every target decodes before it uses the field.

use super::{escape, percent};
use crate::rules::classes::Classes;
use crate::target::Target;

/// The encoding that the syntax around a field prescribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// None that is certain.
    Plain,
    /// Percent-encoding with plus signs for spaces, as in queries and forms.
    Form,
    /// The escapes of JSON strings.
    Json,
}

impl Encoding {
    /// `plus`: a plus sign means a space there.
    pub(crate) fn of(target: Target, plus: bool) -> Self {
        match target {
            _ if plus => Self::Form,
            Target::Json | Target::JsonName => Self::Json,
            _ => Self::Plain,
        }
    }

    /// Whether no target sees the field as it stands, but what is decoded of it next. `classes`: those of its bytes.
    pub(crate) fn changes(self, text: &[u8], classes: Classes) -> bool {
        match self {
            Self::Plain => false,
            Self::Form => {
                classes.intersects(Classes::PERCENT.or(Classes::PLUS)) && percent::changes(text, true)
            }
            // Other decodings come before that of escapes if there is something for them.
            Self::Json => {
                classes.intersects(Classes::BACKSLASH)
                    && !classes.intersects(Classes::PERCENT.or(Classes::AMPERSAND))
                    && escape::changes(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(target: Target, plus: bool, text: &[u8]) -> bool {
        let classes = text
            .iter()
            .fold(Classes::default(), |all, byte| all.or(Classes::of(*byte)));
        Encoding::of(target, plus).changes(text, classes)
    }

    #[test]
    fn fields_that_targets_decode() {
        for (target, plus, text, expected) in [
            (Target::Form, true, "a%27", true),
            (Target::Form, true, "a+b", true),
            (Target::Form, true, "100%", false),
            (Target::Path, false, "a%27+b", false),
            (Target::Json, false, r"a\n", true),
            (Target::JsonName, false, r#"\""#, true),
            (Target::Json, false, r"a\n%41", false),
            (Target::Json, false, r"a\n&lt;", false),
            (Target::Json, false, r"a\d", false),
            (Target::Json, false, "a%27", false),
            (Target::Body, false, r"a\n", false),
        ] {
            assert_eq!(
                changes(target, plus, text.as_bytes()),
                expected,
                "{target:?} {text}"
            );
        }
    }
}
