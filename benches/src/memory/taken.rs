//! What memory a process takes: its own, locked, and the kernel's for its maps.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

const KIB: u64 = 1024;

/// Bytes that a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Taken {
    resident: u64,
    locked: u64,
    maps: u64,
}

impl Taken {
    /// What the process with this number takes now.
    ///
    /// # Errors
    /// If it has ended.
    pub(super) fn by(process: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let status = fs::read_to_string(folder.join("status")).context("the process has ended")?;
        let field = |name: &str| number(&status, name).map(|kib| kib * KIB);
        // What the kernel has pinned, as it does a UMEM's pages, it does not count as locked by the process.
        let pinned = field("VmPin:").context("no VmPin")?;
        Ok(Self {
            resident: field("VmRSS:").context("no VmRSS")?.saturating_sub(pinned),
            locked: field("VmLck:").context("no VmLck")?.max(pinned),
            maps: maps(&folder)?,
        })
    }

    /// Memory that the process has touched, but for what is locked.
    pub(super) fn resident(&self) -> u64 {
        self.resident
    }

    /// Memory that cannot be paged out: UMEMs.
    pub(super) fn locked(&self) -> u64 {
        self.locked
    }

    /// What the kernel accounts for the maps that the process has open.
    pub(super) fn maps(&self) -> u64 {
        self.maps
    }

    /// All three in this order.
    pub(super) fn all(&self) -> [u64; 3] {
        [self.resident, self.locked, self.maps]
    }
}

fn maps(process: &Path) -> Result<u64> {
    let entries = fs::read_dir(process.join("fdinfo")).context("the process has ended")?;
    // A map can be open more than once.
    let maps: BTreeMap<u64, u64> = entries
        .flatten()
        // Files are closed meanwhile.
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| Some((number(&text, "map_id:")?, number(&text, "memlock:")?)))
        .collect();
    Ok(maps.values().sum())
}

/// The number behind a name in lines of text.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() -> Result<()> {
        let taken = Taken::by(std::process::id())?;
        assert!(taken.resident > 1 << 20, "{taken:?}");
        assert!(Taken::by(u32::MAX).is_err());
        Ok(())
    }

    #[test]
    fn numbers_stand_behind_their_names() {
        let text = "VmRSS:\t    1024 kB\nmap_id:\t7\n";
        assert_eq!(
            (number(text, "VmRSS:"), number(text, "map_id:")),
            (Some(1024), Some(7))
        );
        assert_eq!(number(text, "memlock:"), None);
    }
}
