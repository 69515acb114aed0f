//! Exclusions that operators make while the engine runs. They come on top of those of the configuration, outlast reloads, and end with the
//! engine.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    reload::InForce,
    state::{RulesState, State},
    trial::ensure_no_trial,
};
use crate::{
    config::{self, Config},
    control::{
        ExclusionEntry, MAX_EXCLUDED_RULES, MAX_EXCLUSIONS, MAX_REASON_BYTES, NewExclusion, Refusal,
        RefusalCode,
    },
    tuning::Tuned,
};

/// The longest an exclusion with an end may last, seconds.
const LONGEST_S: u64 = 366 * 86_400;

/// Those in force.
#[derive(Default)]
pub(super) struct Exclusions {
    made: u64,
    /// How often they have changed.
    changes: u64,
    all: Vec<Added>,
}

#[derive(Clone)]
struct Added {
    id: u64,
    wanted: NewExclusion,
    exclusion: config::Exclusion,
    until: Option<Instant>,
}

impl Added {
    fn entry(&self) -> ExclusionEntry {
        let NewExclusion {
            rules,
            path,
            target,
            reason,
            ..
        } = self.wanted.clone();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        ExclusionEntry {
            id: self.id,
            rules,
            path,
            target,
            remaining_s: self
                .until
                .map(|until| left(until).as_millis().div_ceil(1000) as u64),
            reason,
        }
    }
}

impl Exclusions {
    /// How often they have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The configuration with these on top of its own.
    pub(super) fn over(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let added = self.all.iter().map(|added| added.exclusion.clone());
        config.scoring.exclusions.extend(added);
        config
    }
}

fn refuse(message: impl Into<String>, remedy: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message, remedy)
}

/// The exclusion as a configuration would have it.
fn written(wanted: &NewExclusion) -> Result<config::Exclusion, Refusal> {
    if wanted.rules.is_empty() || wanted.rules.len() > MAX_EXCLUDED_RULES {
        return Err(refuse(
            format!("{} rules are named", wanted.rules.len()),
            &format!("name 1 to {MAX_EXCLUDED_RULES} by their ids"),
        ));
    }
    if wanted.reason.trim().is_empty() || wanted.reason.len() > MAX_REASON_BYTES {
        return Err(refuse(
            "there is no reason, or a long one",
            &format!("say in up to {MAX_REASON_BYTES} bytes why this is no attack"),
        ));
    }
    if wanted
        .for_s
        .is_some_and(|seconds| !(1..=LONGEST_S).contains(&seconds))
    {
        return Err(refuse(
            "for_s is out of range",
            "use 1 second to 366 days, or leave it out",
        ));
    }
    let (target, name) = match wanted
        .target
        .as_deref()
        .map(|target| target.split_once(':').unwrap_or((target, "")))
    {
        None => (None, None),
        Some((target, "")) => (Some(target), None),
        Some((target, name)) => (Some(target), Some(name)),
    };
    serde_json::from_value(json!({
        "reason": wanted.reason,
        "rules": wanted.rules,
        "paths": Vec::from_iter(&wanted.path),
        "targets": Vec::from_iter(target),
        "names": Vec::from_iter(name),
    }))
    .map_err(|error| {
        refuse(
            error.to_string(),
            "see docs/rules.md for paths, targets and names",
        )
    })
}

impl State {
    /// Those in force.
    pub(super) fn all_exclusions(&self) -> Vec<ExclusionEntry> {
        self.exclusions().all.iter().map(Added::entry).collect()
    }

    /// Lets hits not count from now on.
    pub(super) fn add_exclusion(&self, wanted: NewExclusion) -> Result<ExclusionEntry, Refusal> {
        let exclusion = written(&wanted)?;
        let mut state = self.rules_state();
        ensure_no_trial(&state)?;
        let mut exclusions = self.exclusions();
        if exclusions.all.len() >= MAX_EXCLUSIONS {
            return Err(Refusal::new(
                RefusalCode::Full,
                format!("there are {MAX_EXCLUSIONS} exclusions already"),
                "end some, or write them into the configuration and reload",
            ));
        }
        exclusions.made += 1;
        let added = Added {
            id: exclusions.made,
            until: wanted
                .for_s
                .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            wanted,
            exclusion,
        };
        let entry = added.entry();
        exclusions.all.push(added);
        exclusions.changes += 1;
        if let Err(refusal) = self.judge_again(&mut state, &exclusions) {
            exclusions.all.pop();
            return Err(refusal);
        }
        Ok(entry)
    }

    /// Lets hits count again.
    pub(super) fn end_exclusion(&self, id: u64) -> Result<(), Refusal> {
        if self.drop_exclusions(|added| added.id == id)? > 0 {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::NotFound,
            format!("there is no exclusion {id}"),
            "`GET /v1/exclusions` lists those that were made while the engine runs",
        ))
    }

    /// Ends those whose time is over. Returns how many. While a reload is on trial they stay.
    pub(super) fn end_exclusions(&self) -> Result<usize, Refusal> {
        let now = Instant::now();
        let is_over = |added: &Added| added.until.is_some_and(|until| until <= now);
        // A lock of its own: these are locked after the rules.
        let any = self.exclusions().all.iter().any(is_over);
        if !any || self.rules_state().trial.is_some() {
            return Ok(0);
        }
        self.drop_exclusions(is_over)
    }

    fn drop_exclusions(&self, goes: impl Fn(&Added) -> bool) -> Result<usize, Refusal> {
        let mut state = self.rules_state();
        ensure_no_trial(&state)?;
        let mut exclusions = self.exclusions();
        let before = exclusions.all.clone();
        exclusions.all.retain(|added| !goes(added));
        let gone = before.len() - exclusions.all.len();
        exclusions.changes += 1;
        if gone > 0
            && let Err(refusal) = self.judge_again(&mut state, &exclusions)
        {
            exclusions.all = before;
            return Err(refusal);
        }
        Ok(gone)
    }

    /// Puts the same rules in force with these exclusions.
    fn judge_again(&self, state: &mut RulesState, exclusions: &Exclusions) -> Result<(), Refusal> {
        let next = self.under(state.in_force.clone(), exclusions)?;
        self.put_in_force(state, next).map(drop)
    }

    /// The same rules with the policies that these exclusions make.
    pub(super) fn under(&self, next: InForce, exclusions: &Exclusions) -> Result<InForce, Refusal> {
        let InForce {
            tuned,
            config,
            credentials,
        } = next;
        let judged = exclusions.over(&config);
        let tuned = Tuned::of(tuned.rules, &judged, &self.origin, &self.config.services());
        let tuned = tuned.map_err(|error| {
            Refusal::new(
                RefusalCode::Invalid,
                error.to_string(),
                "name rules that are in force: `portcullis rules list`",
            )
        })?;
        Ok(InForce::new(config, tuned, credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> NewExclusion {
        NewExclusion {
            rules: vec![100_112],
            path: Some("/wiki/*".into()),
            target: Some("query:q".into()),
            for_s: Some(60),
            reason: "the editor".into(),
        }
    }

    #[test]
    fn an_exclusion_is_that_of_a_configuration() {
        let text = "[[scoring.exclusions]]\nreason = 'the editor'\nrules = [100112]\npaths = ['/wiki/*']\ntargets = ['query']\nnames = ['q']";
        let config = Config::parse("test", text, None, &[]).expect(text);
        let exclusion = written(&wanted()).expect("it is right");
        assert_eq!(config.scoring.exclusions, std::slice::from_ref(&exclusion));
        let exclusions = Exclusions {
            made: 1,
            changes: 1,
            all: vec![Added {
                id: 1,
                wanted: wanted(),
                exclusion,
                until: None,
            }],
        };
        assert_eq!(exclusions.over(&config).scoring.exclusions.len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (change, word) in [
            (
                (|wanted| wanted.rules.clear()) as fn(&mut NewExclusion),
                "0 rules",
            ),
            (|wanted| wanted.rules = vec![1; 65], "65 rules"),
            (|wanted| wanted.reason = " ".into(), "no reason"),
            (|wanted| wanted.reason = "x".repeat(201), "no reason"),
            (|wanted| wanted.for_s = Some(0), "for_s"),
            (|wanted| wanted.for_s = Some(u64::MAX), "for_s"),
            (
                |wanted| wanted.target = Some("somewhere".into()),
                "unknown target",
            ),
        ] {
            let mut wrong = wanted();
            change(&mut wrong);
            let refusal = written(&wrong).expect_err(word);
            assert!(refusal.message.contains(word), "{refusal}");
        }
    }
}
