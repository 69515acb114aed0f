//! Compiled packs.

use std::collections::HashMap;
use std::sync::Arc;

use super::classes::Classes;
use super::condition::{Condition, ConditionSpec, ConditionTest, MAX_WATCHED, Part, When};
use super::error::{PackError, Place};
use super::literals::{self, MIN_LITERAL};
use super::overrides;
use super::pack::{self, Family, Located, PackSource, RuleSpec, Severity, Test};
use super::pattern::Pattern;
use super::prefilter::{Owner, is_ordinary};
use super::sieve::Sieve;
use crate::decode::DecodingSet;
use crate::detect::Detector;
use crate::http::Violation;
use crate::model::Model;
use crate::target::{Target, TargetSet};

/// What a decision tells of a rule that hit.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Number, stable over versions.
    pub id: u32,
    /// What was found, in a few words.
    pub message: String,
    /// Share of the anomaly sum.
    pub severity: Severity,
    /// Kind of attack.
    pub family: Family,
    /// Paranoia level from which the rule runs, 1..=4.
    pub paranoia: u8,
    /// Free labels for reports and exclusions.
    pub tags: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Check {
    Pattern(Box<Pattern>),
    Detector(&'static Detector),
    /// The parser finds it.
    Violation,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) info: Arc<RuleInfo>,
    pub(crate) targets: TargetSet,
    /// Lower-case names; empty: all headers.
    pub(crate) headers: Vec<String>,
    pub(crate) decodings: DecodingSet,
    pub(crate) check: Check,
    /// A field without a byte of each of these classes cannot match.
    pub(crate) gates: Vec<Classes>,
    /// What must hold beside it.
    pub(crate) conditions: Vec<Condition>,
    /// The rule that this one is a condition of: it has no voice of its own.
    pub(crate) owner: Option<u16>,
    /// As the pack has it, for those who ask.
    pub(crate) written: Written,
    pub(crate) matching: Vec<Located>,
    pub(crate) passing: Vec<Located>,
}

impl Rule {
    /// Whether it matches nothing but text with percent-encoded bytes.
    fn is_about_escapes(&self) -> bool {
        let asks_for_percent = self.gates.iter().any(|gate| gate.within(Classes::PERCENT));
        let Check::Pattern(pattern) = &self.check else {
            return false;
        };
        asks_for_percent && !pattern.matches_without_escapes()
    }
}

/// What a pack says of a rule's test, and where.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) place: Place,
    pub(crate) regex: Option<Located>,
    pub(crate) literals: Vec<Located>,
}

impl Written {
    fn new(place: Place, test: Test) -> Self {
        let (regex, literals) = match test {
            Test::Regex { regex, literals } => (Some(regex), literals),
            Test::Detector(_) | Test::Violation(_) => (None, Vec::new()),
        };
        Self {
            place,
            regex,
            literals,
        }
    }
}

/// A set of rule indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleBits(Box<[u64]>);

impl RuleBits {
    pub(crate) fn new(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)].into())
    }

    pub(crate) fn contains(&self, rule: usize) -> bool {
        self.0[rule / 64] >> (rule % 64) & 1 != 0
    }

    /// False if it was there already.
    pub(crate) fn insert(&mut self, rule: usize) -> bool {
        let fresh = !self.contains(rule);
        self.0[rule / 64] |= 1 << (rule % 64);
        fresh
    }

    pub(crate) fn remove(&mut self, rule: usize) {
        self.0[rule / 64] &= !(1 << (rule % 64));
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds all of `other`, a set for the same rules.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

/// Compiled packs, and the learned model that judges beside them: immutable, meant to be shared by `Arc` between threads.
#[derive(Debug)]
pub struct RuleSet {
    /// Rules, and behind them those that are conditions.
    pub(crate) rules: Vec<Rule>,
    /// How many of them are rules.
    visible: usize,
    /// Rules with conditions.
    pub(crate) chained: Vec<u16>,
    /// Lower-case names of headers whose absence is a condition.
    pub(crate) watched: Vec<String>,
    pub(crate) prefilter: Sieve,
    /// Rules without literals run wherever a byte of their class occurs.
    pub(crate) gated: Vec<(Classes, u16)>,
    /// For each target, all classes of `gated` rules that are about it.
    gated_classes: [Classes; Target::ALL.len()],
    /// The targets of rules that match escapes and nothing else: these see values as they were sent, even where every
    /// target decodes them first.
    pub(crate) encoded: TargetSet,
    /// Rule by violation, where the packs have one.
    violations: [Option<u16>; Violation::ALL.len()],
    model: Option<Arc<Model>>,
    /// Ids of rules that are switched off.
    pub(crate) disabled: Vec<u32>,
}

impl RuleSet {
    /// Compiles packs together. Every mistake in every pack is reported, in the order of the text.
    pub fn compile(packs: &[PackSource<'_>]) -> Result<Self, Vec<PackError>> {
        let mut errors = Vec::new();
        let mut compiler = Compiler::default();
        let (mut rules, mut changes) = (Vec::new(), Vec::new());
        for source in packs {
            let pack = pack::read(*source, &mut errors);
            rules.extend(pack.rules);
            changes.extend(pack.overrides);
        }
        let disabled = overrides::apply(&mut rules, changes, &mut errors);
        for spec in rules {
            compiler.add(spec, &mut errors);
        }
        let visible = compiler.rules.len();
        compiler.add_conditions(&mut errors);
        if !errors.is_empty() {
            let order = |file: &str| packs.iter().position(|pack| pack.name == file);
            errors.sort_by_key(|error| (order(&error.file), error.line, error.column));
            return Err(errors);
        }
        let encoded = compiler.rules.iter().filter(|rule| rule.is_about_escapes());
        Ok(Self {
            encoded: encoded.fold(TargetSet::default(), |all, rule| all | rule.targets),
            prefilter: Sieve::new(compiler.literals, &compiler.rules),
            visible,
            chained: compiler.chained,
            watched: compiler.watched,
            gated_classes: Target::ALL.map(|(target, _)| {
                let about = |rule: u16| compiler.rules[usize::from(rule)].targets.contains(target);
                let gates = compiler.gated.iter().filter(|(_, rule)| about(*rule));
                gates.fold(Classes::default(), |all, (gate, _)| all.or(*gate))
            }),
            gated: compiler.gated,
            rules: compiler.rules,
            violations: compiler.violations,
            model: None,
            disabled,
        })
    }

    /// The rules with a model beside them; `None` takes it away.
    #[must_use]
    pub fn with_model(self, model: Option<Arc<Model>>) -> Self {
        Self { model, ..self }
    }

    /// The model beside the rules.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
    }

    /// The compiled rules in the order of the packs.
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Arc<RuleInfo>> {
        self.visible().map(|rule| &rule.info)
    }

    /// The rules without those that are conditions.
    pub(crate) fn visible(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules[..self.visible].iter()
    }

    /// Bytes that the compiled patterns occupy.
    #[must_use]
    pub fn memory(&self) -> usize {
        let size = |rule: &Rule| match &rule.check {
            Check::Pattern(pattern) => pattern.memory(),
            Check::Detector(_) | Check::Violation => 0,
        };
        self.rules.iter().map(size).sum()
    }

    /// Classes that make rules without literals worth running on a field of this target.
    #[inline]
    pub(crate) fn gated_classes(&self, target: Target) -> Classes {
        self.gated_classes[target as usize]
    }

    pub(crate) fn violation(&self, violation: Violation) -> Option<usize> {
        self.violations[violation as usize].map(usize::from)
    }
}

struct Compiler {
    rules: Vec<Rule>,
    literals: Vec<(Vec<u8>, Owner)>,
    gated: Vec<(Classes, u16)>,
    ids: HashMap<u32, Place>,
    /// Conditions to compile when all rules are there, and their owners.
    conditions: Vec<(u16, Vec<ConditionSpec>)>,
    chained: Vec<u16>,
    watched: Vec<String>,
    violations: [Option<u16>; Violation::ALL.len()],
}

impl Default for Compiler {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            literals: Vec::new(),
            gated: Vec::new(),
            ids: HashMap::new(),
            conditions: Vec::new(),
            chained: Vec::new(),
            watched: Vec::new(),
            violations: [None; Violation::ALL.len()],
        }
    }
}

impl Compiler {
    fn add(&mut self, spec: RuleSpec, errors: &mut Vec<PackError>) {
        if let Some(first) = self.ids.get(&spec.id) {
            let message = format!("rule id {} is taken by {}:{}", spec.id, first.file, first.line);
            errors.push(spec.place.error(message, "give it another number"));
        }
        self.ids.insert(spec.id, spec.place.clone());
        let Ok(index) = u16::try_from(self.rules.len()) else {
            errors.push(spec.place.error("more than 65,536 rules", "remove some"));
            return;
        };
        let Some((check, gates)) = self.check(index, &spec.test, &spec.place, errors) else {
            return;
        };
        if !spec.conditions.is_empty() {
            self.conditions.push((index, spec.conditions));
        }
        self.rules.push(Rule {
            info: Arc::new(RuleInfo {
                id: spec.id,
                message: spec.message,
                severity: spec.severity,
                family: spec.family,
                paranoia: spec.paranoia,
                tags: spec.tags,
            }),
            targets: spec.targets,
            headers: spec.headers,
            decodings: spec.decodings,
            check,
            gates,
            conditions: Vec::new(),
            owner: None,
            written: Written::new(spec.place, spec.test),
            matching: spec.matching,
            passing: spec.passing,
        });
    }

    /// Compiles what the rule with this index tests.
    fn check(
        &mut self,
        index: u16,
        test: &Test,
        place: &Place,
        errors: &mut Vec<PackError>,
    ) -> Option<(Check, Vec<Classes>)> {
        let mut gates = Vec::new();
        let check = match test {
            Test::Regex { regex, literals } => {
                let leads = literals::leads(&regex.text).is_some();
                match Pattern::compile(&regex.text, leads) {
                    Ok(pattern) => {
                        gates = literals::gates(&regex.text);
                        self.add_literals(index, regex, literals, &gates, errors);
                        Check::Pattern(Box::new(pattern))
                    }
                    Err((message, remedy)) => {
                        errors.push(regex.place.error(message, remedy));
                        return None;
                    }
                }
            }
            Test::Detector(detector) => {
                let owner = Owner {
                    rule: index,
                    before: None,
                };
                let literal = |literal: &&str| (literal.as_bytes().to_vec(), owner);
                self.literals
                    .extend(detector.literals.iter().chain(detector.words).map(literal));
                if !detector.classes.is_empty() {
                    self.gated.push((detector.classes, index));
                }
                Check::Detector(detector)
            }
            Test::Violation(violation) => {
                if self.violations[*violation as usize].replace(index).is_some() {
                    let message = format!("the violation `{}` has a rule already", violation.name());
                    errors.push(place.error(message, "remove one of the two"));
                }
                Check::Violation
            }
        };
        Some((check, gates))
    }

    /// Compiles the conditions of all rules: behind the rules, so that their indices are those of the packs.
    fn add_conditions(&mut self, errors: &mut Vec<PackError>) {
        for (owner, specs) in std::mem::take(&mut self.conditions) {
            let conditions = specs
                .into_iter()
                .filter_map(|spec| self.condition(owner, spec, errors))
                .collect();
            self.rules[usize::from(owner)].conditions = conditions;
            self.chained.push(owner);
        }
    }

    fn condition(
        &mut self,
        owner: u16,
        spec: ConditionSpec,
        errors: &mut Vec<PackError>,
    ) -> Option<Condition> {
        let ConditionSpec { place, not, test } = spec;
        let when = match test {
            ConditionTest::Method(methods) => When::Method(methods),
            ConditionTest::Path(pattern) => When::Path(pattern),
            ConditionTest::HeaderMissing(name) => {
                let known = self.watched.iter().position(|watched| *watched == name);
                let slot = known.unwrap_or_else(|| {
                    self.watched.push(name);
                    self.watched.len() - 1
                });
                if slot >= MAX_WATCHED {
                    let message =
                        format!("more than {MAX_WATCHED} headers are asked for by `header-missing`");
                    errors.push(place.error(message, "ask for fewer different ones"));
                    return None;
                }
                When::HeaderMissing(slot as u8)
            }
            ConditionTest::Text {
                targets,
                headers,
                decodings,
                test,
            } => {
                let Ok(rule) = u16::try_from(self.rules.len()) else {
                    errors.push(place.error("more than 65,536 rules and conditions", "remove some"));
                    return None;
                };
                let (check, gates) = self.check(rule, &test, &place, errors)?;
                self.rules.push(Rule {
                    info: Arc::clone(&self.rules[usize::from(owner)].info),
                    targets,
                    headers,
                    decodings,
                    check,
                    gates,
                    conditions: Vec::new(),
                    owner: Some(owner),
                    written: Written::new(place, test),
                    matching: Vec::new(),
                    passing: Vec::new(),
                });
                let until = Part::of(targets);
                When::Hit { rule, until }
            }
        };
        Some(Condition { not, when })
    }

    fn add_literals(
        &mut self,
        rule: u16,
        regex: &Located,
        given: &[Located],
        gates: &[Classes],
        errors: &mut Vec<PackError>,
    ) {
        for literal in given {
            if literal.text.len() < MIN_LITERAL || literal.text.len() > 255 {
                errors.push(
                    literal
                        .place
                        .error("literals have 2 to 255 bytes", "use another part of the pattern"),
                );
            }
        }
        let leads = literals::leads(&regex.text).filter(|leads| {
            // What the author gives may be longer than what leads, or rarer.
            given.is_empty()
                || leads.iter().all(|lead| {
                    lead.literal.len() > MIN_LITERAL
                        && literals::is_rare(&lead.literal)
                        && !is_ordinary(&lead.literal)
                })
        });
        if let Some(leads) = leads {
            self.literals.extend(leads.into_iter().map(|lead| {
                let before = Some(lead.before);
                (lead.literal, Owner { rule, before })
            }));
            return;
        }
        let owner = Owner { rule, before: None };
        if given.is_empty() {
            let rare = gates.iter().find(|gate| gate.within(Classes::RARE));
            match (literals::required(&regex.text), rare) {
                (Some(set), _) => self
                    .literals
                    .extend(set.into_iter().map(|literal| (literal, owner))),
                (None, Some(gate)) => self.gated.push((*gate, rule)),
                (None, None) => errors.push(regex.place.error(
                    "no literal of two bytes or more is part of every match",
                    "give `literals = [\"…\"]`: the rule runs only where one of them occurs",
                )),
            }
        }
        let given = given
            .iter()
            .map(|literal| (literal.text.to_ascii_lowercase().into_bytes(), owner));
        self.literals.extend(given);
    }
}
