//! Reloads: what can be changed of a running engine's configuration is put in force, for good or on trial.

use std::{mem, sync::Arc, time::Duration};

use super::{
    maps,
    state::{RulesState, State},
    trial::{Trial, ensure_no_trial},
    watched::Watched,
};
use crate::{
    api::{CredentialError, Credentials, Reread},
    bpf::monotonic_ns,
    client::Clients,
    config::{Change, Config, Difference},
    control::{Refusal, RefusalCode, Reloaded},
    engine::Command,
    privilege,
    tuning::Tuned,
};

/// Changes that are named in a message; all of them are in the fields beside it.
const NAMED: usize = 20;

/// What is in force.
#[derive(Clone)]
pub(super) struct InForce {
    pub(super) tuned: Tuned,
    /// Of one that was reloaded, with what of it takes effect at once.
    pub(super) config: Config,
    /// What clients of the API are known by.
    pub(super) credentials: Arc<Credentials>,
}

impl InForce {
    pub(super) fn new(config: Config, tuned: Tuned, credentials: Arc<Credentials>) -> Self {
        Self {
            tuned,
            config,
            credentials,
        }
    }
}

/// What the files say now.
struct Loaded {
    next: InForce,
    /// The exclusions' changes that are in it.
    exclusions: u64,
    difference: Difference,
    credentials: Renewal,
}

/// What has become of the API's credentials.
struct Renewal {
    /// Those that are not what they were.
    changes: Vec<String>,
    /// Why some stay what they were.
    kept: Vec<CredentialError>,
}

impl State {
    /// Reads rules and configuration again and puts them in force, on trial for so long if it is said.
    pub(super) fn reload_for(&self, trial: Option<Duration>) -> Result<Reloaded, Refusal> {
        // Compiling takes a while, in which the state is free for others.
        ensure_no_trial(&self.rules_state())?;
        for watched in [self.folder().as_mut(), self.file().as_mut()]
            .into_iter()
            .flatten()
        {
            watched.accept();
        }
        let loaded = self.read_again();
        let mut state = self.rules_state();
        ensure_no_trial(&state)?;
        let began_ns = monotonic_ns();
        let done = loaded.and_then(|loaded| {
            let Loaded {
                mut next,
                exclusions,
                difference,
                credentials,
            } = loaded;
            // Some may have come or gone while this was compiled.
            let now = self.exclusions();
            if now.changes() != exclusions {
                next = self.under(next, &now)?;
            }
            drop(now);
            let rules = next.tuned.rules.clone();
            let before = self.put_in_force(&mut state, next)?;
            Ok((before, rules, difference, credentials))
        });
        let (before, rules, difference, credentials) = match done {
            Ok(done) => done,
            Err(refusal) => {
                if refusal.code == RefusalCode::Invalid {
                    state.last_error = Some(refusal.message.clone());
                }
                return Err(refusal);
            }
        };
        state.reloads += 1;
        state.last_error = None;
        let mut message = format!(
            "{} rules in force, version {}, model {}",
            rules.set.rules().len(),
            rules.version,
            rules.model.version.as_deref().unwrap_or("off"),
        );
        message += &told("applied", &difference.at_once);
        message += &told(
            "takes effect when the engine starts again",
            &difference.needs_restart,
        );
        message += &credentials.told("read anew");
        for error in &credentials.kept {
            tracing::warn!("{error}");
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
            state.trial = Some(Trial::new(before, length, began_ns));
        }
        Ok(Reloaded {
            message,
            applied: difference.at_once,
            needs_restart: difference.needs_restart,
        })
    }

    /// What a reload would do. Nothing changes.
    pub(super) fn preview_reload(&self) -> Result<Reloaded, Refusal> {
        let Loaded {
            next,
            difference,
            credentials,
            ..
        } = self.read_again()?;
        let mut message = format!("{} rules are right", next.tuned.rules.set.rules().len());
        message += &told("would be applied", &difference.at_once);
        message += &told("would wait for the next start", &difference.needs_restart);
        message += &credentials.told("would be read anew");
        if difference == Difference::default() {
            message += "; the configuration is the one in force";
        }
        Ok(Reloaded {
            message,
            applied: difference.at_once,
            needs_restart: difference.needs_restart,
        })
    }

    /// Whether packs or the configuration's file have changed since they were loaded. While a reload is on trial nobody looks: what
    /// has changed meanwhile shows after it.
    pub(super) fn files_changed(&self, which: Which) -> bool {
        let is_on_trial = self.rules_state().trial.is_some();
        let mut watched = match which {
            Which::Rules => self.folder(),
            Which::Configuration => self.file(),
        };
        !is_on_trial && watched.as_mut().is_some_and(Watched::changed)
    }

    /// Puts what can be of a configuration in force. Returns what was before.
    pub(super) fn put_in_force(&self, state: &mut RulesState, next: InForce) -> Result<InForce, Refusal> {
        let before = state.in_force.config.clone();
        self.change_lists(&before, &next.config)?;
        if let Err(refusal) = self.tell_all(state, &next) {
            if let Err(error) = self.change_lists(&next.config, &before) {
                tracing::error!(
                    "lists.allow, lists.block and lists.watch stay as in the refused configuration: {error}"
                );
            }
            return Err(refusal);
        }
        if before.engine.log != next.config.engine.log
            && let Err(error) = self.logging.set(next.config.engine.log)
        {
            tracing::warn!("engine.log stays as it was: {error}");
        }
        if before.rules.folder != next.config.rules.folder {
            *self.folder() = next.config.rules.folder.clone().map(Watched::new);
        }
        self.feeds.configure(&next.config);
        self.credentials.send_replace(Arc::clone(&next.credentials));
        Ok(mem::replace(&mut state.in_force, next))
    }

    /// Tells the queues, the second tier and the XDP program.
    fn tell_all(&self, state: &mut RulesState, next: &InForce) -> Result<(), Refusal> {
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
        Ok(())
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

    /// Puts what has come on `[lists]` into the maps, and takes out what has gone. What operators have put there stays.
    fn change_lists(&self, before: &Config, next: &Config) -> Result<(), Refusal> {
        if before.lists == next.lists {
            return Ok(());
        }
        for net in &next.lists.block {
            self.protected().check(net)?;
        }
        let mut tables = self.tables();
        let changed = maps::change_lists(&mut tables, &before.lists, &next.lists);
        changed.map_err(|error| {
            if let Err(error) = maps::change_lists(&mut tables, &next.lists, &before.lists) {
                tracing::error!("a list cannot be taken back: {error}");
            }
            Refusal::new(
                RefusalCode::Full,
                format!("lists.allow, lists.block or lists.watch: {error}"),
                "shorten them, or raise limits.max_list_entries and start the engine again",
            )
        })
    }

    /// The rules and policies as the files are now, for the services that the engine has started with, and what differs.
    fn read_again(&self) -> Result<Loaded, Refusal> {
        let invalid = |error: anyhow::Error| {
            Refusal::new(
                RefusalCode::Invalid,
                error.to_string(),
                "the rules before it stay in force, and the settings with them",
            )
        };
        let origin = self.origin.reread().map_err(|error| invalid(error.into()))?;
        let read = origin.config().map_err(|error| invalid(error.into()))?;
        let InForce {
            config: in_force,
            tuned: Tuned { rules, .. },
            credentials,
        } = self.rules_state().in_force.clone();
        let config = in_force.reloaded(&read);
        config.ensure_lists_fit().map_err(|error| invalid(error.into()))?;
        // Services by the numbers that their mistakes have in the file.
        let numbered = Config {
            service: read.service.clone(),
            ..config.clone()
        };
        let (judged, exclusions) = {
            let all = self.exclusions();
            (all.over(&numbered), all.changes())
        };
        let tuned = Tuned::load(&judged, &origin, &self.config.services(), Some(&rules)).map_err(invalid)?;
        let group = privilege::group(&self.config).map_err(invalid)?;
        let reread = credentials.reread(&config.api, group);
        let Reread {
            credentials: next,
            kept,
        } = reread.map_err(|error| invalid(error.into()))?;
        Ok(Loaded {
            difference: in_force.difference(&read),
            credentials: Renewal {
                changes: credentials.changes(&next),
                kept,
            },
            next: InForce::new(config, tuned, Arc::new(next)),
            exclusions,
        })
    }
}

impl Renewal {
    /// As a part of a message.
    fn told(&self, what: &str) -> String {
        let changes = match self.changes.as_slice() {
            [] => String::new(),
            changes => format!("; {what}: {}", changes.join(", ")),
        };
        let warning = |error: &CredentialError| {
            format!("; warning: it stays in force as it was, as this engine {error}")
        };
        let warnings = self.kept.iter().map(warning);
        std::iter::once(changes).chain(warnings).collect()
    }
}

/// What may change by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// The folder of rule packs.
    Rules,
    /// The configuration's file.
    Configuration,
}

/// The changes as a part of a message; nothing if there are none.
fn told(what: &str, changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let named: Vec<_> = changes.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match changes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; {what}: {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_so_many_changes() {
        let change = |number: usize| Change {
            key: format!("k{number}"),
            before: Some("1".to_owned()),
            after: None,
        };
        assert_eq!(told("applied", &[]), "");
        assert_eq!(told("applied", &[change(1)]), "; applied: k1: 1 -> unset");
        let many: Vec<_> = (0..NAMED + 3).map(change).collect();
        assert!(told("applied", &many).ends_with("k19: 1 -> unset and 3 more"));
    }
}
