//! The written form of a rule pack.
//!
//! ```toml
//! family = "sqli"
//!
//! [[rule]]
//! id = 100110
//! message = "UNION SELECT"
//! severity = "critical"
//! targets = ["inputs"]
//! regex = '\bunion\b[\s(]+(?:all[\s(]+)?select\b'
//! samples.match = ["1 union select 2", "1 UNION ALL SELECT 2"]
//! samples.pass = ["the union selected a leader", "select union"]
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::condition::{ConditionSpec, RawCondition};
use super::error::{PackError, Place};
use super::overrides::OverrideSpec;
use crate::decode::DecodingSet;
use crate::detect::Detector;
use crate::http::Violation;
use crate::target::{Target, TargetSet};

/// A pack's name (its file name, for messages) and text.
#[derive(Clone, Copy, Debug)]
pub struct PackSource<'a> {
    /// File name, for error messages.
    pub name: &'a str,
    /// TOML text.
    pub text: &'a str,
}

/// How much a hit adds to the anomaly sum, as the OWASP Core Rule Set counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 2: odd, seen in legitimate traffic.
    Notice,
    /// 3: seldom legitimate.
    Warning,
    /// 4: hardly ever legitimate, but not proof alone.
    Error,
    /// 5: an attack.
    Critical,
}

impl Severity {
    /// The severity's share of the anomaly sum.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            Self::Notice => 2,
            Self::Warning => 3,
            Self::Error => 4,
            Self::Critical => 5,
        }
    }
}

/// Families of attacks; rule ids are numbered by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the attacks' own")]
pub enum Family {
    Sqli,
    Xss,
    Traversal,
    Cmdi,
    Log4shell,
    Scanner,
    Protocol,
    Ssrf,
    Ssti,
    Xxe,
    Nosqli,
    Ldapi,
    Crlf,
    Deserialisation,
    Prototype,
    Webshell,
    /// An operator's own rules.
    Custom,
}

impl Family {
    /// All families, in the order of their discriminants.
    pub const ALL: &[Self] = &[
        Self::Sqli,
        Self::Xss,
        Self::Traversal,
        Self::Cmdi,
        Self::Log4shell,
        Self::Scanner,
        Self::Protocol,
        Self::Ssrf,
        Self::Ssti,
        Self::Xxe,
        Self::Nosqli,
        Self::Ldapi,
        Self::Crlf,
        Self::Deserialisation,
        Self::Prototype,
        Self::Webshell,
        Self::Custom,
    ];

    /// The name used in packs and decisions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqli => "sqli",
            Self::Xss => "xss",
            Self::Traversal => "traversal",
            Self::Cmdi => "cmdi",
            Self::Log4shell => "log4shell",
            Self::Scanner => "scanner",
            Self::Protocol => "protocol",
            Self::Ssrf => "ssrf",
            Self::Ssti => "ssti",
            Self::Xxe => "xxe",
            Self::Nosqli => "nosqli",
            Self::Ldapi => "ldapi",
            Self::Crlf => "crlf",
            Self::Deserialisation => "deserialisation",
            Self::Prototype => "prototype",
            Self::Webshell => "webshell",
            Self::Custom => "custom",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<u32>,
    message: Spanned<String>,
    severity: Severity,
    family: Option<Family>,
    paranoia: Option<Spanned<u8>>,
    targets: Option<Spanned<Vec<Spanned<String>>>>,
    literals: Option<Vec<Spanned<String>>>,
    regex: Option<Spanned<String>>,
    detector: Option<Spanned<String>>,
    violation: Option<Violation>,
    decodings: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    and: Vec<Spanned<RawCondition>>,
    samples: Spanned<RawSamples>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSamples {
    #[serde(rename = "match")]
    matching: Vec<Spanned<String>>,
    pass: Vec<Spanned<String>>,
}

/// A string of the pack and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// What a rule tests, as written.
#[derive(Debug)]
pub(crate) enum Test {
    Regex { regex: Located, literals: Vec<Located> },
    Detector(&'static Detector),
    Violation(Violation),
}

/// A well-formed rule, not yet compiled.
#[derive(Debug)]
pub(crate) struct RuleSpec {
    pub(crate) place: Place,
    pub(crate) id: u32,
    pub(crate) message: String,
    pub(crate) severity: Severity,
    pub(crate) family: Family,
    pub(crate) paranoia: u8,
    pub(crate) targets: TargetSet,
    /// Lower-case header names; empty: all headers.
    pub(crate) headers: Vec<String>,
    pub(crate) test: Test,
    /// Decodings that the rule asks for beside those that every rule sees.
    pub(crate) decodings: DecodingSet,
    pub(crate) tags: Vec<String>,
    /// What must hold beside the test.
    pub(crate) conditions: Vec<ConditionSpec>,
    pub(crate) matching: Vec<Located>,
    pub(crate) passing: Vec<Located>,
}

/// What a pack says.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) rules: Vec<RuleSpec>,
    pub(super) overrides: Vec<OverrideSpec>,
}

/// Reads a pack. What has mistakes is left out and every mistake is added to `errors`.
pub(super) fn read(source: PackSource<'_>, errors: &mut Vec<PackError>) -> Pack {
    let mut reader = Reader { source, errors };
    let (document, syntax_errors) = DeTable::parse_recoverable(source.text);
    if !syntax_errors.is_empty() {
        // The first ones; the parser's attempts to go on after a syntax error find little of use.
        for error in syntax_errors.into_iter().take(3) {
            reader.toml_error(&error, &(0..0));
        }
        return Pack::default();
    }
    let mut family = None;
    let mut rules = Vec::new();
    let mut overrides = Vec::new();
    for (key, value) in document.into_inner() {
        match key.get_ref().as_ref() {
            "family" => family = reader.deserialize::<Family>(value),
            "rule" => rules = reader.tables(value),
            "override" => overrides = reader.tables(value),
            other => {
                let message = format!("unknown key `{other}`");
                reader.report(
                    key.span(),
                    message,
                    "a pack has `family`, and `[[rule]]` and `[[override]]` tables",
                );
            }
        }
    }
    Pack {
        rules: rules
            .into_iter()
            .filter_map(|value| reader.rule(value, family))
            .collect(),
        overrides: overrides
            .into_iter()
            .filter_map(|value| reader.override_of(value))
            .collect(),
    }
}

/// Reads the parts of a pack, and notes what is wrong with them.
pub(super) struct Reader<'a> {
    source: PackSource<'a>,
    errors: &'a mut Vec<PackError>,
}

impl<'a> Reader<'a> {
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place::of(self.source.name, self.source.text, span)
    }

    pub(super) fn report(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let error = self.place(span).error(message, remedy);
        self.errors.push(error);
    }

    fn toml_error(&mut self, error: &toml::de::Error, outer: &Range<usize>) {
        let message = error.message().trim().replace('\n', " ");
        let remedy = if message.starts_with("unknown field") {
            "remove it or correct its name"
        } else if message.starts_with("missing field") {
            "add it to the rule"
        } else {
            "see the comment at the head of a built-in pack for the form of a rule"
        };
        self.report(error.span().unwrap_or_else(|| outer.clone()), message, remedy);
    }

    pub(super) fn deserialize<T: serde::de::DeserializeOwned>(
        &mut self,
        value: Spanned<DeValue<'a>>,
    ) -> Option<T> {
        let span = value.span();
        match T::deserialize(toml::de::ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.toml_error(&error, &span);
                None
            }
        }
    }

    fn tables(&mut self, value: Spanned<DeValue<'a>>) -> Vec<Spanned<DeValue<'a>>> {
        let span = value.span();
        if let DeValue::Array(array) = value.into_inner() {
            array.into_iter().collect()
        } else {
            self.report(
                span,
                "rules and overrides are arrays of tables",
                "write `[[rule]]` or `[[override]]`",
            );
            Vec::new()
        }
    }

    pub(super) fn located(&self, text: Spanned<String>) -> Located {
        let place = self.place(text.span());
        Located {
            text: text.into_inner(),
            place,
        }
    }

    fn rule(&mut self, value: Spanned<DeValue<'a>>, pack_family: Option<Family>) -> Option<RuleSpec> {
        let span = value.span();
        let raw: RawRule = self.deserialize(value)?;
        let errors_before = self.errors.len();
        let family = raw.family.or(pack_family).unwrap_or_else(|| {
            self.report(
                span.clone(),
                "no family",
                "add `family = \"…\"` at the head of the pack or in the rule",
            );
            Family::Custom
        });
        if raw.message.get_ref().trim().is_empty() {
            self.report(
                raw.message.span(),
                "empty message",
                "say in a few words what was found",
            );
        }
        let paranoia = raw.paranoia.map_or(1, |level| {
            if !(1..=4).contains(level.get_ref()) {
                self.report(level.span(), "paranoia level out of range", "use 1, 2, 3 or 4");
            }
            level.into_inner()
        });
        let (targets, headers) = self.targets(raw.targets, &span, raw.violation.is_some());
        let decodings = self.decodings(raw.decodings.unwrap_or_default());
        let conditions = self.conditions(raw.and);
        let literals: Vec<Located> = raw
            .literals
            .unwrap_or_default()
            .into_iter()
            .map(|literal| self.located(literal))
            .collect();
        let test = match (raw.regex, raw.detector, raw.violation) {
            (Some(regex), None, None) => Some(Test::Regex {
                regex: self.located(regex),
                literals,
            }),
            (None, Some(name), None) if literals.is_empty() => self.detector(&name).map(Test::Detector),
            (None, None, Some(violation)) if literals.is_empty() => Some(Test::Violation(violation)),
            _ => {
                self.report(
                    span.clone(),
                    "a rule tests exactly one thing",
                    "give either `regex` (with `literals` if needed), `detector` or `violation`",
                );
                None
            }
        };
        let samples_span = raw.samples.span();
        let samples = raw.samples.into_inner();
        if samples.matching.len() < 2 || samples.pass.len() < 2 {
            self.report(
                samples_span,
                "too few samples",
                "give at least two each in `samples.match` and `samples.pass`",
            );
        }
        let matching = samples
            .matching
            .into_iter()
            .map(|sample| self.located(sample))
            .collect();
        let passing = samples
            .pass
            .into_iter()
            .map(|sample| self.located(sample))
            .collect();
        if self.errors.len() > errors_before {
            return None;
        }
        Some(RuleSpec {
            place: self.place(raw.id.span()),
            id: raw.id.into_inner(),
            message: raw.message.into_inner(),
            severity: raw.severity,
            family,
            paranoia,
            targets,
            headers,
            test: test?,
            decodings,
            tags: raw.tags,
            conditions,
            matching,
            passing,
        })
    }

    pub(super) fn detector(&mut self, name: &Spanned<String>) -> Option<&'static Detector> {
        let detector = Detector::named(name.get_ref());
        if detector.is_none() {
            let known: Vec<_> = Detector::names().collect();
            self.report(
                name.span(),
                format!("unknown detector `{}`", name.get_ref()),
                format!("use one of {}", known.join(", ")),
            );
        }
        detector
    }

    pub(super) fn targets(
        &mut self,
        raw: Option<Spanned<Vec<Spanned<String>>>>,
        rule: &Range<usize>,
        violation: bool,
    ) -> (TargetSet, Vec<String>) {
        let mut headers = Vec::new();
        let Some(raw) = raw else {
            if violation {
                return (TargetSet::of(Target::Request), headers);
            }
            self.report(
                rule.clone(),
                "no targets",
                "add `targets = [\"inputs\"]` or a narrower list",
            );
            return (TargetSet::default(), headers);
        };
        let mut targets = TargetSet::default();
        for name in raw.into_inner() {
            let span = name.span();
            let name = name.into_inner();
            if let Some(header) = name.strip_prefix("header:") {
                targets = targets | TargetSet::of(Target::Header);
                headers.push(header.to_ascii_lowercase());
            } else if let Some(set) = TargetSet::parse(&name) {
                targets = targets | set;
            } else {
                let known: Vec<_> = Target::ALL.iter().map(|(_, name)| *name).collect();
                self.report(
                    span,
                    format!("unknown target `{name}`"),
                    format!(
                        "use inputs, args, names, header:NAME or one of {}",
                        known.join(", ")
                    ),
                );
            }
        }
        (targets, headers)
    }

    pub(super) fn decodings(&mut self, names: Vec<Spanned<String>>) -> DecodingSet {
        let mut set = DecodingSet::default();
        for name in names {
            match DecodingSet::parse_optional(name.get_ref()) {
                Some(decoding) => set = set | decoding,
                None => self.report(
                    name.span(),
                    format!("unknown decoding `{}`", name.get_ref()),
                    "use `sql` or `shell`; the others apply to every rule",
                ),
            }
        }
        set
    }
}
