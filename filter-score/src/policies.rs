//! Rules and the policies they are applied by, compiled together: one policy for each service, the first for all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::allowance::Allowance;
use crate::exclusion::{Exclusion, ExclusionError, Exclusions};
use crate::glob::Glob;
use crate::policy::{BaselineUse, Limits, Mode, Overflow, Policy};
use crate::rules::{RuleBits, RuleSet};

/// A policy and what is excepted from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    /// Thresholds, mode, paranoia levels and limits.
    pub policy: Policy,
    /// Hits that do not count.
    pub exclusions: Vec<Exclusion>,
    /// Methods and content types.
    pub allow: Allowance,
}

impl Tuning {
    /// Under which every violation shows: for samples. `overflow` is what becomes of bodies beyond their limits.
    pub(crate) fn strict(overflow: Overflow) -> Self {
        let limits = Limits {
            body_bytes: 128 * 1024,
            body_overflow: overflow,
            decoded_overflow: overflow,
            url_bytes: 4096,
            header_bytes: 4096,
            param_bytes: 1024,
            ..Limits::default()
        };
        let types = [
            "text/*",
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ];
        Self {
            policy: Policy {
                paranoia: 4,
                limits,
                ..Policy::default()
            },
            exclusions: Vec::new(),
            allow: Allowance {
                methods: Vec::new(),
                content_types: types.into_iter().flat_map(Glob::new).collect(),
                upgrades: Some(Glob::new("websocket").into_iter().collect()),
            },
        }
    }
}

impl From<Policy> for Tuning {
    fn from(policy: Policy) -> Self {
        Self {
            policy,
            exclusions: Vec::new(),
            allow: Allowance::default(),
        }
    }
}

/// Rules with one policy or more. Immutable, meant to be shared by `Arc` between threads.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Tells them apart from others that were compiled.
    id: u64,
    rules: Arc<RuleSet>,
    /// The general one, and those of services that have one of their own.
    rulings: Box<[Ruling]>,
    /// Which of them is whose, by the number that streams have.
    numbers: Box<[u16]>,
    /// Methods and paths are noted, whoever asks for them.
    notes_heads: bool,
}

/// One policy, compiled for the rules.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    /// Its place in the list; what is known of a request is known under one policy.
    pub(crate) index: u16,
    pub(crate) policy: Policy,
    /// Rules that run.
    pub(crate) active: RuleBits,
    /// Rules that count; the others among `active` are only reported.
    pub(crate) counting: RuleBits,
    pub(crate) exclusions: Exclusions,
    pub(crate) allow: Allowance,
}

impl Policies {
    /// The most policies.
    pub const MAX: usize = 1 << 12;

    /// Rules with one policy for everything, without exclusions.
    #[must_use]
    pub fn single(rules: Arc<RuleSet>, policy: Policy) -> Self {
        let rulings = [Ruling::plain(&rules, policy)];
        Self {
            id: next_id(),
            rulings: rulings.into(),
            numbers: [0].into(),
            rules,
            notes_heads: false,
        }
    }

    /// Compiles the general policy and those of services, which streams choose by their number, counted from 1; `None` is
    /// the general one. Mistakes are reported all at once, each with the number of its policy.
    pub fn compile(
        rules: Arc<RuleSet>,
        general: &Tuning,
        services: &[Option<Tuning>],
    ) -> Result<Self, Vec<(usize, ExclusionError)>> {
        let mut rulings = Vec::new();
        let mut numbers = Vec::new();
        let mut errors = Vec::new();
        let tunings = [Some(general)]
            .into_iter()
            .chain(services.iter().map(Option::as_ref));
        for (number, tuning) in tunings.take(Self::MAX).enumerate() {
            let Some(tuning) = tuning else {
                numbers.push(0);
                continue;
            };
            match Exclusions::compile(&rules, &tuning.exclusions) {
                Ok(exclusions) => {
                    let index = rulings.len() as u16;
                    numbers.push(index);
                    rulings.push(Ruling {
                        allow: tuning.allow.clone(),
                        ..Ruling::new(&rules, index, tuning.policy, exclusions)
                    });
                }
                Err(mistakes) => errors.extend(mistakes.into_iter().map(|mistake| (number, mistake))),
            }
        }
        if errors.is_empty() {
            Ok(Self {
                id: next_id(),
                rules,
                rulings: rulings.into(),
                numbers: numbers.into(),
                notes_heads: false,
            })
        } else {
            Err(errors)
        }
    }

    /// The same, and a [`Reception`](crate::Reception) that lets requests in is told their methods and paths.
    #[must_use]
    pub fn noting_heads(mut self, on: bool) -> Self {
        self.notes_heads = on;
        self
    }

    /// The same, but nothing is blocked.
    #[must_use]
    pub fn detecting(mut self) -> Self {
        for Ruling { policy, .. } in &mut self.rulings {
            policy.mode = Mode::Detect;
        }
        self
    }

    /// The same for one request at a time: nothing is blocked, and one request needs no more than two decoders.
    #[must_use]
    pub(crate) fn offline(self) -> Self {
        let mut detecting = self.detecting();
        for Ruling { policy, .. } in &mut detecting.rulings {
            policy.limits.inflaters = 2;
            policy.limits.brotli_decoders = 2;
        }
        detecting
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The same policies for the second tier: in each of them all rules run and count, except those with conditions on
    /// other parts of the request, which that tier does not have.
    pub(crate) fn for_second_tier(&self) -> Self {
        let mut every = RuleBits::new(self.rules.rules.len());
        for (index, rule) in self.rules.rules.iter().enumerate() {
            if rule.owner.is_none() && rule.conditions.is_empty() {
                every.insert(index);
            }
        }
        let mut policies = self.clone();
        for ruling in &mut policies.rulings {
            ruling.active.clone_from(&every);
            ruling.counting.clone_from(&every);
        }
        policies
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The policy with this number; the general one if there is none.
    #[must_use]
    pub fn policy(&self, number: u16) -> &Policy {
        &self.ruling(number).policy
    }

    /// How many policies can be chosen by their number, the general one included.
    pub(crate) fn numbers(&self) -> u16 {
        self.numbers.len() as u16
    }

    /// Whether any policy has a baseline.
    pub(crate) fn ask_for_baseline(&self) -> bool {
        let asks = |ruling: &Ruling| ruling.policy.baseline != BaselineUse::Off;
        self.rulings.iter().any(asks)
    }

    pub(crate) fn ruling(&self, number: u16) -> &Ruling {
        let index = self.numbers.get(usize::from(number)).copied();
        &self.rulings[usize::from(index.unwrap_or(0))]
    }

    /// Limits that hold what any of the policies asks for.
    pub(crate) fn widest(&self) -> Limits {
        let mut widest = self.rulings[0].policy.limits;
        for Ruling { policy, .. } in &self.rulings {
            widest.head_bytes = widest.head_bytes.max(policy.limits.head_bytes);
            widest.window = widest.window.max(policy.limits.window);
            widest.inflaters = widest.inflaters.max(policy.limits.inflaters);
            widest.brotli_decoders = widest.brotli_decoders.max(policy.limits.brotli_decoders);
        }
        widest
    }

    /// Whether method, path, names or sources of requests matter to any exclusion or rule.
    pub(crate) fn ask_for_subject(&self) -> bool {
        self.notes_heads
            || !self.rules.chained.is_empty()
            || self.rulings.iter().any(|ruling| !ruling.exclusions.is_empty())
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Ruling {
    fn new(rules: &RuleSet, index: u16, policy: Policy, exclusions: Exclusions) -> Self {
        let up_to = |level| {
            let mut bits = RuleBits::new(rules.rules.len());
            for (index, rule) in rules.rules.iter().enumerate() {
                if rule.info.paranoia <= level {
                    bits.insert(index);
                }
            }
            bits
        };
        Self {
            index,
            policy,
            active: up_to(policy.paranoia.max(policy.detect_paranoia)),
            counting: up_to(policy.paranoia),
            exclusions,
            allow: Allowance::default(),
        }
    }

    /// A policy that excludes nothing.
    pub(crate) fn plain(rules: &RuleSet, policy: Policy) -> Self {
        Self::new(rules, 0, policy, Exclusions::default())
    }

    /// Under which only one rule runs.
    pub(crate) fn of_rule(rules: &RuleSet, rule: usize) -> Self {
        let mut only = RuleBits::new(rules.rules.len());
        only.insert(rule);
        Self {
            active: only.clone(),
            counting: only,
            ..Self::plain(rules, Policy::default())
        }
    }
}
