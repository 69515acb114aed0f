//! Reloads on trial: unless they are confirmed, what was in force before comes back by itself.

use std::time::{Duration, Instant};

use filter_common::block::Block;

use super::{
    reload::InForce,
    state::{RulesState, State},
};
use crate::{
    bpf::Target,
    control::{Refusal, RefusalCode},
};

/// When taking a reload back fails, it is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// A reload that is taken back unless it is confirmed.
pub(super) struct Trial {
    before: InForce,
    until: Instant,
    /// By the clock of blocks.
    began_ns: u64,
}

impl Trial {
    /// A trial of so long that began at `began_ns`.
    pub(super) fn new(before: InForce, length: Duration, began_ns: u64) -> Self {
        Self {
            before,
            until: Instant::now() + length,
            began_ns,
        }
    }

    /// Seconds until it is taken back, rounded up.
    pub(super) fn remaining_s(&self) -> u64 {
        let left = self.until.saturating_duration_since(Instant::now());
        left.as_millis().div_ceil(1000) as u64
    }

    fn stands_in_the_way(&self) -> Refusal {
        Refusal::new(
            RefusalCode::OnTrial,
            format!(
                "the reload before is on trial for another {} s",
                self.remaining_s()
            ),
            "keep it with `portcullis confirm`, or take it back with `portcullis reload --revert`",
        )
    }
}

/// Refuses what a trial stands in the way of.
pub(super) fn ensure_no_trial(state: &RulesState) -> Result<(), Refusal> {
    state
        .trial
        .as_ref()
        .map_or(Ok(()), |trial| Err(trial.stands_in_the_way()))
}

fn no_trial() -> Refusal {
    Refusal::new(
        RefusalCode::NotFound,
        "no reload is on trial",
        "what is in force stays; `portcullis reload --confirm-within 2m` begins a trial",
    )
}

impl State {
    /// The reload on trial stays in force.
    pub(super) fn confirm_trial(&self) -> Result<String, Refusal> {
        self.rules_state().trial.take().ok_or_else(no_trial)?;
        let message = "the reload is confirmed and stays in force";
        tracing::info!("{message}");
        Ok(message.to_owned())
    }

    /// What was in force before the reload on trial is again.
    pub(super) fn revert_trial(&self) -> Result<String, Refusal> {
        self.take_back(&mut self.rules_state())?;
        let message = "what was in force before the reload is again; its files are as they were: the next reload or start \
                       takes them in";
        tracing::warn!("{message}");
        Ok(message.to_owned())
    }

    /// Takes back the reload on trial if its time is over.
    pub(super) fn end_trial(&self) {
        let mut state = self.rules_state();
        let Some(trial) = state.trial.as_mut().filter(|trial| trial.until <= Instant::now()) else {
            return;
        };
        trial.until = Instant::now() + AGAIN;
        match self.take_back(&mut state) {
            Ok(()) => tracing::warn!(
                "nobody has confirmed the reload on trial: what was in force before is again; its files are as they were: \
                 change them before the next reload or start, which takes them in"
            ),
            Err(error) => tracing::error!(
                "the reload on trial cannot be taken back: {error}; tried again in {} s",
                AGAIN.as_secs()
            ),
        }
    }

    fn take_back(&self, state: &mut RulesState) -> Result<(), Refusal> {
        let Trial {
            before,
            until,
            began_ns,
        } = state.trial.take().ok_or_else(no_trial)?;
        if let Err(error) = self.put_in_force(state, before.clone()) {
            state.trial = Some(Trial {
                before,
                until,
                began_ns,
            });
            return Err(error);
        }
        self.lift_blocks_since(began_ns);
        Ok(())
    }

    /// Lifts what reputation has blocked since then, and forgets those sources: it may have been good requests that were blocked.
    fn lift_blocks_since(&self, began_ns: u64) {
        let lifted: Vec<_> = {
            let mut tables = self.tables();
            let since: Vec<_> = tables
                .source_blocks
                .iter()
                .flatten()
                .filter(|(_, block)| block.reason == Block::REASON_REPUTATION && block.since_ns >= began_ns)
                .map(|(address, _)| address)
                .collect();
            since
                .into_iter()
                .filter(|address| {
                    self.end(&mut tables, Target::Source(*address))
                        .is_ok_and(|is_gone| is_gone)
                })
                .collect()
        };
        let mut reputation = self.reputation();
        for address in &lifted {
            reputation.forget((*address).into());
        }
        drop(reputation);
        if !lifted.is_empty() {
            tracing::warn!(
                "{} blocks by reputation since the reload are lifted",
                lifted.len()
            );
            self.blocks_changed();
        }
    }
}
