//! Conditions beside a rule's main test.
//!
//! ```toml
//! [[rule.and]]
//! method = ["POST"]
//!
//! [[rule.and]]
//! path = "/login/*"
//!
//! [[rule.and]]
//! not = true
//! targets = ["header:content-type"]
//! regex = '^application/json'
//! ```
//!
//! The rule hits when its main test has hit and all conditions hold. What is certain is decided at once; a hit that
//! depends on something to come waits for it, at the longest until the end of the part that the condition looks at.

use serde::Deserialize;
use toml::Spanned;

use super::error::Place;
use super::pack::{Located, Reader, Test};
use crate::decode::DecodingSet;
use crate::glob::PathPattern;
use crate::target::{Target, TargetSet};

/// Conditions of one rule.
const MAX_CONDITIONS: usize = 8;

/// Headers whose absence rules ask for, in one rule set.
pub(crate) const MAX_WATCHED: usize = 64;

/// The parts of a request, in the order in which they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Line,
    Head,
    Message,
}

impl Part {
    /// The part at whose end all of `targets` have been seen.
    pub(crate) fn of(targets: TargetSet) -> Self {
        let part = |target| match target {
            Target::Path | Target::Query | Target::QueryName => Self::Line,
            Target::Header | Target::Cookie | Target::CookieName => Self::Head,
            _ => Self::Message,
        };
        Target::ALL
            .iter()
            .filter(|(target, _)| targets.contains(*target))
            .map(|(target, _)| part(*target))
            .max()
            .unwrap_or(Self::Message)
    }
}

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    /// It must not hold.
    pub(crate) not: bool,
    pub(crate) when: When,
}

/// What a condition asks.
#[derive(Debug)]
pub(crate) enum When {
    /// This hidden rule hits before the end of the part.
    Hit {
        rule: u16,
        until: Part,
    },
    Method(Vec<String>),
    Path(PathPattern),
    /// The head has no such header; its number among those that are watched.
    HeaderMissing(u8),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    #[serde(default)]
    not: bool,
    targets: Option<Spanned<Vec<Spanned<String>>>>,
    literals: Option<Vec<Spanned<String>>>,
    regex: Option<Spanned<String>>,
    decodings: Option<Vec<Spanned<String>>>,
    method: Option<Vec<Spanned<String>>>,
    path: Option<Spanned<String>>,
    #[serde(rename = "header-missing")]
    header_missing: Option<Spanned<String>>,
}

/// A well-formed condition, not yet compiled.
#[derive(Debug)]
pub(crate) struct ConditionSpec {
    pub(crate) place: Place,
    pub(crate) not: bool,
    pub(crate) test: ConditionTest,
}

#[derive(Debug)]
pub(crate) enum ConditionTest {
    Text {
        targets: TargetSet,
        headers: Vec<String>,
        decodings: DecodingSet,
        test: Test,
    },
    Method(Vec<String>),
    Path(PathPattern),
    HeaderMissing(String),
}

impl Reader<'_> {
    /// The conditions of a rule that are right.
    pub(super) fn conditions(&mut self, raw: Vec<Spanned<RawCondition>>) -> Vec<ConditionSpec> {
        if let Some(surplus) = raw.get(MAX_CONDITIONS) {
            self.report(
                surplus.span(),
                format!("{} conditions", raw.len()),
                format!("a rule has at most {MAX_CONDITIONS}; join some in one expression"),
            );
        }
        raw.into_iter()
            .filter_map(|condition| self.condition(condition))
            .collect()
    }

    fn condition(&mut self, raw: Spanned<RawCondition>) -> Option<ConditionSpec> {
        let span = raw.span();
        let place = self.place(span.clone());
        let RawCondition {
            not,
            targets,
            literals,
            regex,
            decodings,
            method,
            path,
            header_missing,
        } = raw.into_inner();
        let text_only = targets.is_some() || literals.is_some() || decodings.is_some();
        let test = match (regex, method, path, header_missing) {
            (Some(regex), None, None, None) => {
                let (targets, headers) = self.targets(targets, &span, false);
                let decodings = self.decodings(decodings.unwrap_or_default());
                let literals: Vec<Located> = literals
                    .unwrap_or_default()
                    .into_iter()
                    .map(|literal| self.located(literal))
                    .collect();
                let regex = self.located(regex);
                Some(ConditionTest::Text {
                    targets,
                    headers,
                    decodings,
                    test: Test::Regex { regex, literals },
                })
            }
            (None, Some(methods), None, None) if !text_only => self.methods(methods, &span),
            (None, None, Some(path), None) if !text_only => self.path(&path),
            (None, None, None, Some(name)) if !text_only => self.header_missing(&name),
            _ => {
                self.report(
                    span,
                    "a condition asks exactly one thing",
                    "give one of `targets` with `regex`, `method`, `path` or `header-missing`",
                );
                None
            }
        };
        Some(ConditionSpec {
            place,
            not,
            test: test?,
        })
    }

    fn methods(
        &mut self,
        methods: Vec<Spanned<String>>,
        span: &std::ops::Range<usize>,
    ) -> Option<ConditionTest> {
        if methods.is_empty() {
            self.report(span.clone(), "no method is named", "write `method = [\"POST\"]`");
            return None;
        }
        for method in &methods {
            let text = method.get_ref();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                self.report(
                    method.span(),
                    format!("`{text}` is no method"),
                    "methods are in capitals, such as \"POST\"",
                );
            }
        }
        Some(ConditionTest::Method(
            methods.into_iter().map(Spanned::into_inner).collect(),
        ))
    }

    fn path(&mut self, path: &Spanned<String>) -> Option<ConditionTest> {
        match PathPattern::new(path.get_ref()) {
            Ok(pattern) => Some(ConditionTest::Path(pattern)),
            Err(error) => {
                self.report(path.span(), format!("`{}` is no path", path.get_ref()), error);
                None
            }
        }
    }

    fn header_missing(&mut self, name: &Spanned<String>) -> Option<ConditionTest> {
        let text = name.get_ref();
        if text.is_empty() || !text.bytes().all(crate::http::is_token) {
            self.report(
                name.span(),
                format!("`{text}` is no header name"),
                "write the name alone, such as \"User-Agent\"",
            );
            return None;
        }
        Some(ConditionTest::HeaderMissing(text.to_ascii_lowercase()))
    }
}
