//! Blocks by operators and by reputation on their way into the maps, and lists of what is in there.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use filter_common::{Address, block::Block};
use ipnet::IpNet;

use super::{maps::prefix, state::State};
use crate::{
    bpf::{TableError, Tables, Target, monotonic_ns},
    config::short_cidr,
    control::{Page, Refusal, RefusalCode},
};

const NS_PER_S: u64 = 1_000_000_000;
/// How long the list behind a page is kept for the next one.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is blocked, in order, as it was when somebody asked for the first page: of a million entries not every page can be
/// cut from a list of its own.
pub(super) struct Listing {
    asked: Instant,
    entries: Arc<[(IpNet, Block)]>,
}

impl State {
    /// A block by an operator, from now on.
    pub(super) fn operators_block(for_s: Option<u64>) -> Block {
        let now = monotonic_ns();
        Block {
            until_ns: for_s.map_or(0, |seconds| now.saturating_add(seconds.saturating_mul(NS_PER_S))),
            since_ns: now,
            reason: Block::REASON_OPERATOR,
            ..Block::default()
        }
    }

    /// Puts a block into its map, in the place of one that is there.
    pub(super) fn enter(&self, tables: &mut Tables, target: &IpNet, block: Block) -> Result<(), Refusal> {
        if self.is_source(target) {
            return self.enter_source(tables, target.addr().into(), block);
        }
        let limit = self.config.limits.max_list_entries;
        tables.block(prefix(target), block).map_err(|error| {
            let what = if target.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            not_entered(
                &error,
                &format!("the block list for {what}"),
                "limits.max_list_entries",
                limit,
            )
        })
    }

    /// Puts the block of a single source into its map.
    pub(super) fn enter_source(
        &self,
        tables: &mut Tables,
        source: Address,
        block: Block,
    ) -> Result<(), Refusal> {
        let limit = self.config.limits.max_blocks;
        let is_new = tables
            .block_source(source, block)
            .map_err(|error| not_entered(&error, "the map of blocked sources", "limits.max_blocks", limit))?;
        self.blocked.fetch_add(is_new.into(), Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the block of `target`. Returns whether there was one.
    pub(super) fn end(&self, tables: &mut Tables, target: Target) -> Result<bool, TableError> {
        let is_gone = tables.end(target)?;
        self.count_gone(is_gone, target);
        Ok(is_gone)
    }

    /// Ends the block of `target` if its time is over: somebody may have blocked it again. Returns whether it was.
    pub(super) fn end_if_over(&self, target: Target) -> Result<bool, TableError> {
        let mut tables = self.tables();
        let is_gone = tables.end_if_over(target, monotonic_ns())?;
        self.count_gone(is_gone, target);
        Ok(is_gone)
    }

    fn count_gone(&self, is_gone: bool, target: Target) {
        if is_gone && matches!(target, Target::Source(_)) {
            // One by hand may not have been counted yet.
            let less = |count: u64| Some(count.saturating_sub(1));
            let _ = self
                .blocked
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// A pass over the map has counted its entries. Nobody knows whether it has seen what was entered meanwhile, so that then
    /// the count stays as it is.
    pub(super) fn correct_count(&self, counted: u64, changes_before: u64) {
        let _blocks_change_under_this_lock = self.tables();
        if self.changes.load(Ordering::Relaxed) == changes_before {
            self.blocked.store(counted, Ordering::Relaxed);
        }
    }

    /// A page of all blocks that hold, in order.
    pub(super) fn page_of_blocks(&self, page: Page) -> Result<Vec<(IpNet, Block)>, Refusal> {
        let known = match page.after {
            Some(_) => self.listing().as_mut().map(|listing| {
                listing.asked = Instant::now();
                Arc::clone(&listing.entries)
            }),
            None => None,
        };
        let entries = match known {
            Some(entries) => entries,
            None => self.list_blocks()?,
        };
        let from = page
            .after
            .map_or(0, |after| entries.partition_point(|(target, _)| *target <= after));
        let rest = &entries[from..];
        let shown = &rest[..rest.len().min(page.size())];
        let is_last = shown.len() == rest.len();
        *self.listing() = (!is_last).then(|| Listing {
            asked: Instant::now(),
            entries: Arc::clone(&entries),
        });
        Ok(shown.to_vec())
    }

    /// Forgets a list of which nobody has asked for more.
    pub(super) fn forget_listing(&self) {
        self.listing()
            .take_if(|listing| listing.asked.elapsed() > PATIENCE);
    }

    /// Reads the maps by handles of its own, as it takes a second or two for a million entries.
    fn list_blocks(&self) -> Result<Arc<[(IpNet, Block)]>, Refusal> {
        let pin_dir = self.tables().pin_dir().to_owned();
        let tables = Tables::open(&pin_dir)
            .map_err(|error| Refusal::new(RefusalCode::Failed, error.to_string(), ""))?;
        let now = monotonic_ns();
        let mut entries: Vec<_> = self
            .blocks_in(&tables)
            .filter(|(_, block)| block.holds(now))
            .collect();
        entries.sort_unstable_by_key(|(target, _)| *target);
        Ok(entries.into())
    }

    /// All that the maps hold, what has ended too.
    pub(super) fn blocks_in<'a>(&'a self, tables: &'a Tables) -> impl Iterator<Item = (IpNet, Block)> + 'a {
        let sources = tables.source_blocks.iter().flatten();
        let sources = sources.map(|(address, block)| (self.source_net(address.into()), block));
        let prefixes = tables
            .blocked()
            .map(|(prefix, block)| (IpNet::new_assert(prefix.address, prefix.length), block));
        sources.chain(prefixes)
    }

    /// Remembers why, or forgets it.
    pub(super) fn note_reasons<'a>(&self, targets: impl Iterator<Item = &'a IpNet>, reason: &str) {
        let limits = &self.config.limits;
        let room = limits.max_blocks as usize + 2 * limits.max_list_entries as usize;
        let reason: Option<Arc<str>> = (!reason.is_empty()).then(|| reason.into());
        let mut reasons = self.reasons();
        for target in targets {
            match &reason {
                None => {
                    reasons.remove(target);
                }
                Some(reason) if reasons.len() < room => {
                    reasons.insert(*target, Arc::clone(reason));
                }
                Some(_) => {}
            }
        }
    }

    /// What an ended block was of, as operators know it.
    pub(super) fn net_of(&self, target: Target) -> IpNet {
        match target {
            Target::Source(source) => self.source_net(source.into()),
            Target::Prefix(prefix) => IpNet::new_assert(prefix.address, prefix.length),
        }
    }
}

/// Why a block is not in its map.
fn not_entered(error: &TableError, map: &str, setting: &str, limit: u32) -> Refusal {
    if !error.is_full() {
        return Refusal::new(RefusalCode::Failed, error.to_string(), "");
    }
    Refusal::new(
        RefusalCode::Full,
        format!("{map} is full: it has room for {limit} entries"),
        format!(
            "raise {setting} and start the engine again, or end some blocks; `portcullis blocks` lists them"
        ),
    )
}

/// The refusal of a block that is not there.
pub(super) fn not_blocked(target: &IpNet) -> Refusal {
    Refusal::new(
        RefusalCode::NotFound,
        format!("{} is not blocked", short_cidr(target)),
        "`portcullis blocks` lists what is",
    )
}
