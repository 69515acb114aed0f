//! Blocks that have ended leave the maps, a few at a time.

use std::path::Path;

use super::{TableError, Tables, Target, monotonic_ns};

/// Blocks that are looked at between two rests: some milliseconds.
const BATCH: usize = 4096;

/// Handles of the maps of its own: nobody waits for a walk over a million entries.
#[derive(Debug)]
pub struct Sweeper {
    walk: Tables,
}

impl Sweeper {
    /// Opens the maps pinned in `pin_dir`.
    ///
    /// # Errors
    ///
    /// When one is missing or of another type.
    pub fn open(pin_dir: &Path) -> Result<Self, TableError> {
        let walk = Tables::open(pin_dir)?;
        Ok(Self { walk })
    }

    /// The handles.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.walk
    }

    /// Goes over all blocks once. `end` removes one that has ended, and says whether it was there; `rest` says whether to go
    /// on, and takes its time. Returns how many single sources are left, or `None` if it did not get to the end.
    pub fn pass(&self, mut end: impl FnMut(Target) -> bool, mut rest: impl FnMut() -> bool) -> Option<u64> {
        let sources = self.walk.source_blocks.iter().flatten();
        let sources = sources.map(|(address, block)| (Target::Source(address), block));
        let prefixes = self.walk.blocked();
        let prefixes = prefixes.map(|(prefix, block)| (Target::Prefix(prefix), block));
        let mut left = 0;
        let mut finish = |target, left: &mut u64| {
            let is_gone = end(target);
            *left -= u64::from(is_gone && matches!(target, Target::Source(_)));
        };
        let mut ended = None;
        let mut now_ns = monotonic_ns();
        for (number, (target, block)) in (1..).zip(sources.chain(prefixes)) {
            // Only now that the walk has got beyond it: from an entry that is gone it would begin anew.
            if let Some(target) = ended.take() {
                finish(target, &mut left);
            }
            left += u64::from(matches!(target, Target::Source(_)));
            ended = (!block.holds(now_ns)).then_some(target);
            if number % BATCH == 0 {
                if !rest() {
                    return None;
                }
                now_ns = monotonic_ns();
            }
        }
        if let Some(target) = ended {
            finish(target, &mut left);
        }
        Some(left)
    }
}
