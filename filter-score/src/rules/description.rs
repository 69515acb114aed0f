//! Everything about a rule, for people who ask what it does.

use serde::Serialize;

use super::classes::Classes;
use super::condition::{Condition, Part, When};
use super::literals;
use super::set::{Check, Rule, RuleInfo, RuleSet};
use crate::decode::DecodingSet;
use crate::glob::PathPattern;
use crate::target::Target;

/// A rule, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleDescription {
    /// The pack it is in, and the line.
    pub place: String,
    /// What it tests.
    pub test: String,
    /// Where it looks, by the names that packs use.
    pub targets: Vec<String>,
    /// Decodings under which it is tried.
    pub decodings: Vec<&'static str>,
    /// When it runs at all.
    pub gate: String,
    /// Size of its automaton, in bytes; 0 if it has none.
    pub automaton_bytes: usize,
    /// What must hold beside the test, each in a sentence.
    pub conditions: Vec<String>,
    /// What it must find.
    pub matching: Vec<String>,
    /// What it must leave alone.
    pub passing: Vec<String>,
}

impl RuleSet {
    /// The rule with this id.
    #[must_use]
    pub fn rule(&self, id: u32) -> Option<&RuleInfo> {
        self.rules().find(|rule| rule.id == id).map(AsRef::as_ref)
    }

    /// Ids of rules that an override has switched off.
    #[must_use]
    pub fn disabled(&self) -> &[u32] {
        &self.disabled
    }

    /// Describes the rule with this id.
    #[must_use]
    pub fn describe(&self, id: u32) -> Option<RuleDescription> {
        let rule = self.visible().find(|rule| rule.info.id == id)?;
        let place = &rule.written.place;
        let texts =
            |samples: &[super::pack::Located]| samples.iter().map(|sample| sample.text.clone()).collect();
        Some(RuleDescription {
            place: format!("{}:{}", place.file, place.line),
            test: test(rule),
            targets: targets(rule),
            decodings: decodings(rule),
            gate: gate(rule),
            automaton_bytes: match &rule.check {
                Check::Pattern(pattern) => pattern.memory(),
                Check::Detector(_) | Check::Violation => 0,
            },
            conditions: rule
                .conditions
                .iter()
                .map(|condition| self.condition(condition))
                .collect(),
            matching: texts(&rule.matching),
            passing: texts(&rule.passing),
        })
    }

    fn condition(&self, condition: &Condition) -> String {
        let not = if condition.not { "not " } else { "" };
        match &condition.when {
            When::Method(methods) => format!("the method is {not}{}", methods.join(" or ")),
            When::Path(PathPattern::Prefix(prefix)) => {
                format!("the path is {not}{} or below it", prefix.escape_ascii())
            }
            When::Path(PathPattern::Glob(glob)) => format!("the path is {not}like {glob}"),
            When::HeaderMissing(slot) => {
                let name = &self.watched[usize::from(*slot)];
                let verb = if condition.not { "has" } else { "does not have" };
                format!("the head {verb} the header {name}")
            }
            When::Hit { rule, until } => {
                let rule = &self.rules[usize::from(*rule)];
                let until = match until {
                    Part::Line => "the request line",
                    Part::Head => "the head",
                    Part::Message => "the request",
                };
                let verb = if condition.not {
                    "does not match"
                } else {
                    "matches"
                };
                format!(
                    "{} {verb} {}, known at the end of {until}",
                    targets(rule).join(" or "),
                    test(rule)
                )
            }
        }
    }
}

fn test(rule: &Rule) -> String {
    match (&rule.check, &rule.written.regex) {
        (Check::Detector(detector), _) => format!("the detector `{}`", detector.name),
        (Check::Violation, _) => "a violation of the protocol that the parser finds".to_owned(),
        (Check::Pattern(_), regex) => {
            let text = regex.as_ref().map_or("", |regex| regex.text.as_str());
            format!("the expression `{text}`, in any case")
        }
    }
}

fn targets(rule: &Rule) -> Vec<String> {
    let named = |target: Target, name: &str| {
        if target == Target::Header && !rule.headers.is_empty() {
            return rule
                .headers
                .iter()
                .map(|header| format!("header:{header}"))
                .collect();
        }
        vec![name.to_owned()]
    };
    Target::ALL
        .iter()
        .filter(|(target, _)| rule.targets.contains(*target))
        .flat_map(|(target, name)| named(*target, name))
        .collect()
}

fn decodings(rule: &Rule) -> Vec<&'static str> {
    if matches!(rule.check, Check::Violation) {
        return Vec::new();
    }
    DecodingSet::names()
        .filter(|(decoding, _)| rule.decodings.contains(decoding.optional()))
        .map(|(_, name)| name)
        .collect()
}

/// When the rule runs at all.
fn gate(rule: &Rule) -> String {
    let list = |literals: Vec<String>| {
        let shown: Vec<_> = literals
            .iter()
            .take(12)
            .map(|literal| format!("`{literal}`"))
            .collect();
        let more = literals.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{}{more}", shown.join(", "))
    };
    if let Check::Detector(detector) = rule.check {
        let literals = detector
            .literals
            .iter()
            .map(|literal| literal.escape_debug().to_string());
        let mut asked = Vec::new();
        if !detector.literals.is_empty() {
            asked.push(format!("one of {}", list(literals.collect())));
        }
        if !detector.classes.is_empty() {
            asked.push(format!("a byte such as {}", list(detector.classes.examples())));
        }
        return format!("over fields that have {}", asked.join(" or "));
    }
    let Some(regex) = &rule.written.regex else {
        return "whenever the parser meets it".to_owned();
    };
    let text = |literal: &Vec<u8>| literal.escape_ascii().to_string();
    if let Some(leads) = literals::leads(&regex.text) {
        let leads = leads.iter().map(|lead| text(&lead.literal)).collect();
        return format!(
            "where a field has one of {}, at the places where a match with it can begin",
            list(leads)
        );
    }
    let given = &rule.written.literals;
    if !given.is_empty() {
        let given = given.iter().map(|literal| literal.text.clone()).collect();
        return format!(
            "over fields that have one of {}, which the pack gives",
            list(given)
        );
    }
    if let Some(required) = literals::required(&regex.text) {
        return format!(
            "over fields that have one of {}, which every match contains",
            list(required.iter().map(text).collect())
        );
    }
    let rare = literals::gates(&regex.text)
        .into_iter()
        .find(|gate| gate.within(Classes::RARE));
    match rare {
        Some(gate) => format!("over fields that have one of the bytes {}", list(gate.examples())),
        None => "over every field".to_owned(),
    }
}
