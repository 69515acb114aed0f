//! Exclusions: hits that an operator has looked at and does not want to count.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use crate::findings::Place;
use crate::glob::{Glob, PathPattern};
use crate::rules::{Family, RuleBits, RuleSet};
use crate::subject::Subject;
use crate::target::{Target, TargetSet};

/// Exclusions of one policy.
const MAX_EXCLUSIONS: usize = 1024;

/// What is not to count, as an operator writes it. All conditions that are given must hold; an empty list is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exclusion {
    /// Why: shown wherever the exclusion takes effect.
    pub reason: String,
    /// Rules by id.
    pub rules: Vec<RangeInclusive<u32>>,
    /// Rules by tag.
    pub tags: Vec<String>,
    /// Rules by family.
    pub families: Vec<Family>,
    /// The request's path, decoded and normalised.
    pub paths: Vec<PathPattern>,
    /// Where the rule hit; empty: anywhere.
    pub targets: TargetSet,
    /// The name of the parameter, header (in any case) or cookie that the rule hit.
    pub names: Vec<Glob>,
    /// Where the request is from.
    pub sources: Vec<IpNet>,
}

/// A mistake in an exclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExclusionError {
    /// Which of the policy's exclusions, from 0.
    pub exclusion: usize,
    /// The list, such as `rules`, and the element in it; none if it is about the whole exclusion.
    pub element: Option<(&'static str, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ExclusionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exclusion,
            element,
            message,
            remedy,
        } = self;
        write!(f, "exclusions.{exclusion}")?;
        if let Some((list, at)) = element {
            write!(f, ".{list}.{at}")?;
        }
        write!(f, ": {message}; {remedy}")
    }
}

impl std::error::Error for ExclusionError {}

/// The exclusions of one policy, compiled for one rule set: looked at only where a rule has hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusions {
    /// Rules that some exclusion is about.
    rules: RuleBits,
    list: Box<[Compiled]>,
}

/// Some of the exclusions of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExclusionSet([u64; MAX_EXCLUSIONS / 64]);

impl ExclusionSet {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug)]
struct Compiled {
    rules: RuleBits,
    /// No rule, tag or family is named.
    of_everything: bool,
    paths: Box<[PathPattern]>,
    targets: TargetSet,
    names: Box<[Glob]>,
    sources: Box<[IpNet]>,
    reason: Arc<str>,
}

impl Exclusions {
    /// Compiles all, or reports every mistake.
    pub(crate) fn compile(rules: &RuleSet, exclusions: &[Exclusion]) -> Result<Self, Vec<ExclusionError>> {
        let mut errors = Vec::new();
        let mut all = RuleBits::new(rules.rules.len());
        let mut list = Vec::with_capacity(exclusions.len());
        for (number, exclusion) in exclusions.iter().enumerate() {
            let mut checker = Checker {
                rules,
                number,
                errors: &mut errors,
            };
            let selected = checker.select(exclusion);
            checker.check(exclusion, &selected);
            all.extend(&selected);
            list.push(Compiled {
                rules: selected,
                of_everything: exclusion.rules.is_empty()
                    && exclusion.tags.is_empty()
                    && exclusion.families.is_empty(),
                paths: exclusion.paths.clone().into(),
                targets: exclusion.targets,
                names: exclusion.names.clone().into(),
                sources: exclusion.sources.clone().into(),
                reason: exclusion.reason.as_str().into(),
            });
        }
        if exclusions.len() > MAX_EXCLUSIONS {
            errors.push(ExclusionError {
                exclusion: MAX_EXCLUSIONS,
                element: None,
                message: format!("{} exclusions", exclusions.len()),
                remedy: format!("at most {MAX_EXCLUSIONS} are possible; use tags, families or patterns"),
            });
        }
        if errors.is_empty() {
            Ok(Self {
                rules: all,
                list: list.into(),
            })
        } else {
            Err(errors)
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that hold for a field, whatever rule hits it.
    pub(crate) fn holding(&self, place: Place<'_>, subject: &mut Subject) -> ExclusionSet {
        let mut holding = ExclusionSet::default();
        for (number, exclusion) in self.list.iter().enumerate() {
            if exclusion.applies(place, subject) {
                holding.0[number / 64] |= 1 << (number % 64);
            }
        }
        holding
    }

    /// The reason not to count a hit where these hold, if there is one.
    pub(crate) fn find_among(&self, rule: usize, holding: &ExclusionSet) -> Option<&Arc<str>> {
        let about = |exclusion: &&Compiled| exclusion.rules.contains(rule);
        self.among(*holding)
            .find(about)
            .map(|exclusion| &exclusion.reason)
    }

    /// Whether the model has no say where these hold.
    pub(crate) fn silence_model_among(&self, holding: &ExclusionSet) -> bool {
        self.among(*holding).any(|exclusion| exclusion.of_everything)
    }

    fn among(&self, holding: ExclusionSet) -> impl Iterator<Item = &Compiled> {
        let held = move |number: usize| holding.0[number / 64] >> (number % 64) & 1 != 0;
        let numbered = self.list.iter().enumerate();
        numbered
            .filter(move |(number, _)| held(*number))
            .map(|(_, exclusion)| exclusion)
    }

    /// Whether nothing that is found in a field counts, whatever finds it: then the model has no say about it either.
    pub(crate) fn silence_model(&self, place: Place<'_>, subject: &mut Subject) -> bool {
        self.list
            .iter()
            .any(|exclusion| exclusion.of_everything && exclusion.applies(place, subject))
    }

    /// The reason not to count a hit, if there is one.
    pub(crate) fn find(&self, rule: usize, place: Place<'_>, subject: &mut Subject) -> Option<&Arc<str>> {
        if self.is_empty() || !self.rules.contains(rule) {
            return None;
        }
        self.list
            .iter()
            .find(|exclusion| exclusion.rules.contains(rule) && exclusion.applies(place, subject))
            .map(|exclusion| &exclusion.reason)
    }
}

impl Compiled {
    fn applies(&self, place: Place<'_>, subject: &mut Subject) -> bool {
        let source = || {
            subject
                .source
                .is_some_and(|source| self.sources.iter().any(|net| net.contains(&source)))
        };
        (self.targets.is_empty() || self.targets.contains(place.target))
            && (self.sources.is_empty() || source())
            && (self.names.is_empty() || self.names(place, subject))
            && (self.paths.is_empty()
                || subject
                    .path()
                    .is_some_and(|path| self.paths.iter().any(|pattern| pattern.matches(path))))
    }

    fn names(&self, place: Place<'_>, subject: &mut Subject) -> bool {
        subject.name(place).is_some_and(|name| {
            let matches = |glob: &Glob| match place.target {
                Target::Header => glob.matches_any_case(name),
                _ => glob.matches(name),
            };
            !name.is_empty() && self.names.iter().any(matches)
        })
    }
}

struct Checker<'a> {
    rules: &'a RuleSet,
    number: usize,
    errors: &'a mut Vec<ExclusionError>,
}

impl Checker<'_> {
    fn report(
        &mut self,
        element: Option<(&'static str, usize)>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(ExclusionError {
            exclusion: self.number,
            element,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// The rules that all selectors name.
    fn select(&mut self, exclusion: &Exclusion) -> RuleBits {
        let infos = || self.rules.rules();
        let mut unknown = Vec::new();
        for (at, range) in exclusion.rules.iter().enumerate() {
            let known = infos().any(|info| range.contains(&info.id))
                || self.rules.disabled.iter().any(|id| range.contains(id));
            if range.is_empty() {
                unknown.push(("rules", at, "the range ends before it begins".to_owned()));
            } else if !known {
                let message = if range.start() == range.end() {
                    format!("there is no rule {}", range.start())
                } else {
                    format!("there is no rule from {} to {}", range.start(), range.end())
                };
                unknown.push(("rules", at, message));
            }
        }
        for (at, tag) in exclusion.tags.iter().enumerate() {
            if !infos().any(|info| info.tags.contains(tag)) {
                unknown.push(("tags", at, format!("no rule has the tag `{tag}`")));
            }
        }
        for (at, family) in exclusion.families.iter().enumerate() {
            if !infos().any(|info| info.family == *family) {
                let message = format!("no rule is of the family `{}`", family.name());
                unknown.push(("families", at, message));
            }
        }
        let mut selected = RuleBits::new(self.rules.rules.len());
        for (index, info) in infos().enumerate() {
            let id =
                exclusion.rules.is_empty() || exclusion.rules.iter().any(|range| range.contains(&info.id));
            let tag = exclusion.tags.is_empty() || exclusion.tags.iter().any(|tag| info.tags.contains(tag));
            let family = exclusion.families.is_empty() || exclusion.families.contains(&info.family);
            if id && tag && family {
                selected.insert(index);
            }
        }
        for (list, at, message) in unknown {
            self.report(
                Some((list, at)),
                message,
                "`portcullis rules list` shows those there are",
            );
        }
        selected
    }

    fn check(&mut self, exclusion: &Exclusion, selected: &RuleBits) {
        let Exclusion {
            reason,
            rules,
            tags,
            families,
            paths,
            targets,
            names,
            sources,
        } = exclusion;
        if reason.trim().is_empty() {
            self.report(
                None,
                "no reason is given",
                "add `reason = \"…\"`: it is shown with what is excluded",
            );
        }
        let selects = !(rules.is_empty() && tags.is_empty() && families.is_empty());
        let limits = !(paths.is_empty() && targets.is_empty() && names.is_empty() && sources.is_empty());
        if !selects && !limits {
            self.report(
                None,
                "it has no conditions",
                "name `rules`, `tags` or `families`, and where they are not to count",
            );
            return;
        }
        let anywhere = (paths.is_empty() || paths.iter().any(PathPattern::is_universal))
            && (targets.is_empty() || targets.contains_all(TargetSet::parse("inputs").unwrap_or_default()))
            && (names.is_empty() || names.iter().any(Glob::is_universal))
            && (sources.is_empty() || sources.iter().any(|net| net.prefix_len() == 0));
        if anywhere && (0..self.rules.rules().len()).all(|rule| selected.contains(rule)) {
            self.report(
                None,
                "it excludes everything",
                "narrow it; to see attacks without stopping them, use `mode = \"detect\"`",
            );
        } else if selects
            && selected.is_empty()
            && !rules
                .iter()
                .any(|range| self.rules.disabled.iter().any(|id| range.contains(id)))
            && !self.errors.iter().any(|error| error.exclusion == self.number)
        {
            self.report(
                None,
                "no rule meets all of its `rules`, `tags` and `families`",
                "all that are given must hold; leave out those that are not needed",
            );
        }
    }
}
