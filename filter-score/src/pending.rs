//! Hits of rules with conditions, while it is not certain whether those hold.

use std::sync::Arc;

use crate::excerpt::Excerpt;
use crate::findings::Hit;
use crate::policies::Ruling;
use crate::rules::{Part, RuleBits, RuleSet, When};
use crate::subject::Subject;
use crate::target::Target;

/// Hits that keep what they have found while they wait; further ones wait without it.
const MAX_PENDING: usize = 16;

/// What a request in progress keeps for them. Its memory is fixed when it is made.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Rules whose main test has hit.
    waiting: RuleBits,
    count: u32,
    hits: Vec<(u16, Hit)>,
    /// Watched headers that were there.
    headers: u64,
    /// The last part that has ended.
    ended: Option<Part>,
    /// The rules were replaced in the middle of the request.
    is_void: bool,
}

impl Pending {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            waiting: RuleBits::new(rules),
            count: 0,
            hits: Vec::with_capacity(MAX_PENDING),
            headers: 0,
            ended: None,
            is_void: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        if self.count > 0 {
            self.waiting.clear();
            self.hits.clear();
            self.count = 0;
        }
        self.headers = 0;
        self.ended = None;
        self.is_void = false;
    }

    /// Other rules are in force: what is known is about those before them.
    pub(crate) fn void(&mut self, rules: usize) {
        *self = Self {
            is_void: true,
            ..Self::new(rules)
        };
    }

    /// The main test of a rule has hit. Returns whether anything can come of it.
    pub(crate) fn wait(&mut self, rule: u16, hit: Hit) -> bool {
        if self.is_void {
            return false;
        }
        if self.waiting.insert(usize::from(rule)) {
            self.count += 1;
            if self.hits.len() < MAX_PENDING {
                self.hits.push((rule, hit));
            }
        }
        true
    }

    /// A watched header is there.
    pub(crate) fn header(&mut self, slot: usize) {
        if self.ended < Some(Part::Head) {
            self.headers |= 1 << slot;
        }
    }

    /// A part has ended. Returns whether hits wait.
    pub(crate) fn end_of(&mut self, part: Part) -> bool {
        self.ended = self.ended.max(Some(part));
        self.count > 0
    }

    /// The hit of a waiting rule, if all its conditions hold. It waits no longer when that is certain either way.
    pub(crate) fn settle(
        &mut self,
        rules: &RuleSet,
        ruling: &Ruling,
        rule: u16,
        seen: &RuleBits,
        subject: &mut Subject,
    ) -> Option<Hit> {
        let index = usize::from(rule);
        if !self.waiting.contains(index) {
            return None;
        }
        let holds = self.holds(rules, index, seen, subject)?;
        self.waiting.remove(index);
        self.count -= 1;
        let kept = self.hits.iter().position(|(waiting, _)| *waiting == rule);
        let hit = kept.map(|at| self.hits.swap_remove(at).1);
        holds.then(|| {
            hit.unwrap_or_else(|| Hit {
                rule: Arc::clone(&rules.rules[index].info),
                target: Target::Request,
                name: Excerpt::default(),
                matched: Excerpt::default(),
                shape: "",
                decodings: crate::decode::DecodingSet::default(),
                detect_only: !ruling.counting.contains(index),
            })
        })
    }

    /// Whether all conditions of a rule hold; `None` while that is open.
    fn holds(&self, rules: &RuleSet, rule: usize, seen: &RuleBits, subject: &mut Subject) -> Option<bool> {
        let mut all = Some(true);
        for condition in &rules.rules[rule].conditions {
            let holds = match &condition.when {
                When::Hit { rule, until } => {
                    let hit = seen.contains(usize::from(*rule));
                    (hit || self.ended >= Some(*until)).then_some(hit)
                }
                When::Method(methods) => {
                    let method = subject.method();
                    Some(methods.iter().any(|known| known.as_bytes() == method))
                }
                When::Path(pattern) => Some(subject.path().is_some_and(|path| pattern.matches(path))),
                When::HeaderMissing(slot) => {
                    let there = self.headers >> slot & 1 != 0;
                    (there || self.ended >= Some(Part::Head)).then_some(!there)
                }
            };
            match holds.map(|holds| holds != condition.not) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => all = None,
            }
        }
        all
    }
}
