//! What memory a process takes: its own, locked, and the kernel's for its maps.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::engine::Engine;

const KIB: u64 = 1024;

/// Bytes that a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Taken {
    resident: u64,
    locked: u64,
    maps: u64,
}

impl Taken {
    /// What an engine takes now.
    ///
    /// # Errors
    /// If it has ended.
    pub(super) fn by(engine: &Engine<'_>) -> Result<Self> {
        Self::of(engine.pid(), &engine.sockets()?)
    }

    fn of(process: u32, sockets: &str) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let status = fs::read_to_string(folder.join("status")).context("the process has ended")?;
        let field = |name: &str| number(&status, name).map(|kib| kib * KIB);
        let packets = umems(sockets);
        Ok(Self {
            resident: field("VmRSS:").context("no VmRSS")?.saturating_sub(packets),
            locked: field("VmLck:").context("no VmLck")? + packets,
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

/// Bytes of packet memory, which the kernel pins and counts to the user, not to the process. Sockets that share one name the same.
fn umems(sockets: &str) -> u64 {
    let umems: BTreeMap<u64, u64> = sockets
        .split("umem(id:")
        .skip(1)
        .filter_map(|umem| {
            let (id, rest) = umem.split_once(",size:")?;
            Some((id.parse().ok()?, rest.split(',').next()?.parse().ok()?))
        })
        .collect();
    umems.values().sum()
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
        let taken = Taken::of(std::process::id(), "")?;
        assert!(taken.resident > 1 << 20, "{taken:?}");
        assert!(Taken::of(u32::MAX, "").is_err());
        Ok(())
    }

    #[test]
    fn a_shared_umem_counts_once() {
        let text = "0 0 veth0:q0 * umem(id:3,size:8388608,num_pages:2048,chunk_size:2048)\n\
                    0 0 veth1:q0 * umem(id:3,size:8388608,num_pages:2048,chunk_size:2048)\n\
                    0 0 veth2:q0 * umem(id:4,size:4096,num_pages:1,chunk_size:2048)\n";
        assert_eq!(umems(text), 8_388_608 + 4096);
        assert_eq!(umems(""), 0);
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
