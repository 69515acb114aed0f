//! What feeds and the map of countries list, in the maps: entries come and go with their list, and others' are left alone.

use std::collections::{HashMap, HashSet};

use filter_common::block::Block;
use ipnet::IpNet;

use super::{
    maps::prefix,
    state::{State, spare_proxies},
};
use crate::{
    bpf::{Prefix, Tables, monotonic_ns},
    config::FeedAction,
};

/// Changes that the tables are locked for at once.
const BATCH: usize = 512;

/// A list and what becomes of its entries.
pub(super) struct List<'a> {
    pub(super) name: &'a str,
    /// One of [`Block`]'s reasons.
    pub(super) reason: u32,
    pub(super) action: FeedAction,
    pub(super) entries: &'a [IpNet],
}

/// What became of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Entries in force, by this list or by what else blocks them.
    pub(super) in_force: u64,
    /// Entries that are protected.
    pub(super) protected: u64,
    /// Entries that there was no room for.
    pub(super) no_room: u64,
}

/// Which list an entry is of, by number, and why it is blocked.
#[derive(Clone, Copy)]
struct Entry {
    list: usize,
    reason: u32,
}

impl State {
    /// Makes what the maps have of lists what these say; of two that have the same entry, the first counts. `watched` is what these
    /// lists have on the watch list, and is kept up to date. Says what became of each.
    pub(super) fn put_lists_in_force(
        &self,
        tables: &Tables,
        watched: &mut HashSet<Prefix>,
        lists: &[List<'_>],
    ) -> Vec<Listed> {
        let mut listed = vec![Listed::default(); lists.len()];
        let blocked = self.wanted(lists, FeedAction::Block, &mut listed);
        let to_watch = self.wanted(lists, FeedAction::Watch, &mut listed);
        self.block_listed(tables, lists, &blocked, &mut listed);
        self.watch_listed(watched, &to_watch, &mut listed);
        self.blocks_changed();
        listed
    }

    /// The entries of all lists with this action, without those that must not be blocked.
    fn wanted(
        &self,
        lists: &[List<'_>],
        action: FeedAction,
        listed: &mut [Listed],
    ) -> HashMap<Prefix, Entry> {
        let clients = self.clients();
        let mut wanted = HashMap::new();
        for (number, list) in lists.iter().enumerate().filter(|(_, list)| list.action == action) {
            for net in list.entries {
                let is_protected = action == FeedAction::Block
                    && (self.protected().conflict(net).is_some() || spare_proxies(&clients, net).is_err());
                if is_protected {
                    listed[number].protected += 1;
                    continue;
                }
                listed[number].in_force += 1;
                wanted.entry(prefix(net)).or_insert(Entry {
                    list: number,
                    reason: list.reason,
                });
            }
        }
        wanted
    }

    fn block_listed(
        &self,
        tables: &Tables,
        lists: &[List<'_>],
        wanted: &HashMap<Prefix, Entry>,
        listed: &mut [Listed],
    ) {
        let there: HashMap<Prefix, u32> = tables
            .blocked()
            .map(|(prefix, block)| (prefix, block.reason))
            .collect();
        let is_listed = |reason: u32| matches!(reason, Block::REASON_FEED | Block::REASON_GEO);
        let gone: Vec<Prefix> = there
            .iter()
            .filter(|(prefix, reason)| {
                is_listed(**reason) && wanted.get(prefix).is_none_or(|entry| entry.reason != **reason)
            })
            .map(|(prefix, _)| *prefix)
            .collect();
        for batch in gone.chunks(BATCH) {
            let mut tables = self.tables();
            for prefix in batch {
                // An operator may have blocked it meanwhile.
                if tables
                    .block_of(*prefix)
                    .is_some_and(|block| is_listed(block.reason))
                    && let Err(error) = tables.unblock(*prefix)
                {
                    tracing::warn!("{prefix} stays blocked: {error}");
                }
            }
        }
        {
            let mut reasons = self.reasons();
            for prefix in &gone {
                reasons.remove(&IpNet::from(*prefix));
            }
        }
        let mut new: Vec<(Prefix, Entry)> = wanted
            .iter()
            .filter(|(prefix, entry)| {
                there
                    .get(prefix)
                    .is_none_or(|reason| is_listed(*reason) && *reason != entry.reason)
            })
            .map(|(prefix, entry)| (*prefix, *entry))
            .collect();
        new.sort_unstable_by_key(|(prefix, entry)| (entry.list, prefix.address, prefix.length));
        for batch in new.chunks(BATCH) {
            let mut tables = self.tables();
            for (prefix, entry) in batch {
                let block = Block {
                    since_ns: monotonic_ns(),
                    reason: entry.reason,
                    ..Block::default()
                };
                if let Err(error) = tables.block(*prefix, block) {
                    tracing::debug!("{prefix} is not blocked: {error}");
                    listed[entry.list].in_force -= 1;
                    listed[entry.list].no_room += 1;
                }
            }
        }
        // Those that were there at the start have lost theirs.
        for (number, list) in lists.iter().enumerate() {
            let of_list: Vec<_> = wanted
                .iter()
                .filter(|(prefix, entry)| {
                    entry.list == number && there.get(prefix).is_none_or(|reason| is_listed(*reason))
                })
                .map(|(prefix, _)| IpNet::from(*prefix))
                .collect();
            self.note_reasons(of_list.iter(), list.name);
        }
    }

    fn watch_listed(
        &self,
        watched: &mut HashSet<Prefix>,
        wanted: &HashMap<Prefix, Entry>,
        listed: &mut [Listed],
    ) {
        let configured: HashSet<Prefix> = self
            .rules_state()
            .in_force
            .config
            .lists
            .watch
            .iter()
            .map(prefix)
            .collect();
        let mut tables = self.tables();
        watched.retain(|entry| {
            if wanted.contains_key(entry) {
                return true;
            }
            if !configured.contains(entry)
                && let Err(error) = tables.unwatch(*entry)
            {
                tracing::warn!("{entry} stays watched: {error}");
            }
            false
        });
        for (entry, of) in wanted {
            if tables.watch(*entry).is_ok() {
                watched.insert(*entry);
            } else {
                listed[of.list].in_force -= 1;
                listed[of.list].no_room += 1;
            }
        }
    }
}
