//! Reloads: what can be changed of a running engine's configuration is put in force, for good or on trial.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use filter_common::block::Block;

use super::{
    folder::Folder,
    maps,
    state::{RulesState, State},
};
use crate::{
    bpf::{Target, monotonic_ns},
    client::Clients,
    config::{self, Baseline, BaselineMode, Config, ProxyProtocol, Scoring},
    control::{Refusal, RefusalCode},
    engine::Command,
    tuning::Tuned,
};

/// When taking a reload back fails, it is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// What is in force of a configuration. Of one that was reloaded, the rest takes effect at the next start.
pub(super) struct InForce {
    pub(super) tuned: Tuned,
    pub(super) config: Config,
}

/// A reload that is taken back unless it is confirmed.
pub(super) struct Trial {
    before: InForce,
    until: Instant,
    /// By the clock of blocks.
    began_ns: u64,
}

impl Trial {
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

fn ensure_no_trial(state: &RulesState) -> Result<(), Refusal> {
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
    /// Reads rules and configuration again and puts them in force, on trial for so long if it is said.
    pub(super) fn reload_for(&self, trial: Option<Duration>) -> Result<String, Refusal> {
        // Compiling takes a while, in which the state is free for others.
        ensure_no_trial(&self.rules_state())?;
        if let Some(folder) = self.folder().as_mut() {
            folder.accept();
        }
        let loaded = self.read_again();
        let mut state = self.rules_state();
        ensure_no_trial(&state)?;
        let (tuned, config) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let message = error.to_string();
                state.last_error = Some(message.clone());
                return Err(Refusal::new(
                    RefusalCode::Invalid,
                    message,
                    "the rules before it stay in force, and the settings with them",
                ));
            }
        };
        let rules = tuned.rules.clone();
        let is_whole = !self.differs(&config);
        let began_ns = monotonic_ns();
        let before = self.put_in_force(&mut state, InForce { tuned, config })?;
        state.reloads += 1;
        state.last_error = None;
        let mut message = format!(
            "{} rules in force, version {}, model {}",
            rules.set.rules().len(),
            rules.version,
            rules.model.version.as_deref().unwrap_or("off"),
        );
        if !is_whole {
            message +=
                "; what else has changed in the configuration takes effect when the engine starts again";
        }
        if let Some(warning) = rules.model_warning() {
            tracing::warn!("{warning}");
            message = format!("{message}; warning: {warning}");
        }
        if let Some(length) = trial {
            let notice = format!(
                "taken back in {} s unless `portcullis confirm` comes before",
                length.as_secs()
            );
            tracing::warn!("a reload is on trial: {notice}");
            message = format!("{message}; {notice}");
            state.trial = Some(Trial {
                before,
                until: Instant::now() + length,
                began_ns,
            });
        }
        Ok(message)
    }

    /// Whether packs have changed since they were loaded. While a reload is on trial nobody looks: what has changed meanwhile shows
    /// after it.
    pub(super) fn folder_changed(&self) -> bool {
        let is_on_trial = self.rules_state().trial.is_some();
        !is_on_trial && self.folder().as_mut().is_some_and(Folder::changed)
    }

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
        let again = InForce {
            tuned: before.tuned.clone(),
            config: before.config.clone(),
        };
        if let Err(error) = self.put_in_force(state, again) {
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

    /// Puts the part of a configuration in force that can be. Returns what was before.
    fn put_in_force(&self, state: &mut RulesState, mut next: InForce) -> Result<InForce, Refusal> {
        // By it sources are told apart in maps and tables that stay.
        next.config.reputation.ipv6_prefix = self.config.reputation.ipv6_prefix;
        let clients = Arc::new(Clients::new(&next.config, &self.config.services()));
        let policies = &next.tuned.policies;
        let set = self.queue_set();
        for queue in &set.queues {
            queue.tell_for_sure(Command::Policies(Arc::clone(policies)))?;
            queue.tell_for_sure(Command::Clients(Arc::clone(&clients)))?;
        }
        if let Some(pool) = &set.deep {
            pool.replace(Arc::clone(policies));
        }
        self.set_settings(&next.config).map_err(|error| {
            Refusal::new(
                RefusalCode::Failed,
                format!("the XDP program's settings cannot be changed: {error:#}"),
                "try again, or restart the engine",
            )
        })?;
        self.reputation().follow(&next.config.reputation);
        self.lift_blocks_of(&clients);
        self.blocks_changed();
        state.clients = clients;
        state.mode = next.config.scoring.mode;
        Ok(mem::replace(&mut state.in_force, next))
    }

    fn set_settings(&self, config: &Config) -> anyhow::Result<()> {
        let mut tables = self.tables();
        let in_force = tables.settings()?;
        let next = maps::reloaded(config, &in_force)?;
        if next != in_force {
            tables.set_settings(&next)?;
        }
        Ok(())
    }

    /// The rules and policies as the files are now, for the services that the engine has started with.
    fn read_again(&self) -> anyhow::Result<(Tuned, Config)> {
        let origin = self.origin.reread()?;
        let config = origin.config()?;
        let tuned = Tuned::load(&config, &origin, &self.config.services(), Some(&self.rules()))?;
        Ok((tuned, config))
    }

    /// Whether a configuration differs from that of the start in more than a reload puts in force.
    fn differs(&self, config: &Config) -> bool {
        rest(config) != rest(&self.config)
    }
}

/// A configuration without what a reload puts in force.
fn rest(config: &Config) -> Config {
    let mut config = config.clone();
    config.scoring = Scoring {
        cache: config.scoring.cache,
        baseline: Baseline {
            mode: BaselineMode::Off,
            ..config.scoring.baseline
        },
        ..Scoring::default()
    };
    config.clients = config::Clients::default();
    config.limit.clear();
    config.flood = config::Flood::default();
    config.suspicious = config::Suspicious::default();
    config.reputation = config::Reputation {
        ipv6_prefix: config.reputation.ipv6_prefix,
        ..config::Reputation::default()
    };
    for service in &mut config.service {
        service.scoring = None;
        service.proxy_protocol = ProxyProtocol::Off;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_apart_from_what_needs_a_start() {
        let config = |text: &str| Config::parse("test", text, None, &[]).expect(text);
        let base = rest(&config(""));
        for (text, is_reloaded) in [
            ("[flood.source]\nsyns = { rate = 7 }", true),
            ("[flood.challenge]\nsyns = 9", true),
            ("[reputation]\nthreshold = 50\nfirst_block_s = 5", true),
            ("[suspicious]\nsoft_limit_rps = 3", true),
            ("[scoring]\nanomaly = 9", true),
            ("[reputation]\nipv6_prefix = 56", false),
            ("[limits]\nmax_flows = 1024", false),
            ("[engine]\non_failure = 'drop'", false),
        ] {
            assert_eq!(rest(&config(text)) == base, is_reloaded, "{text}");
        }
    }
}
