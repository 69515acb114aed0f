//! What memory things take.

use std::{fs, os::fd::AsFd as _, os::fd::AsRawFd as _, path::Path};

use anyhow::{Context as _, Result};
use aya::maps::MapData;

const KIB: u64 = 1024;

/// Bytes of this process in memory.
pub(super) fn resident() -> Result<u64> {
    Ok(number("/proc/self/status", "VmRSS:")? * KIB)
}

/// Bytes of the kernel's objects of all kinds, those of everybody else among them.
pub(super) fn kernel_objects() -> Result<u64> {
    Ok(number("/proc/meminfo", "SUnreclaim:")? * KIB)
}

/// Bytes that a pinned map takes, as the kernel says. Of a trie without the inner nodes.
pub(super) fn of_map(pin_dir: &Path, name: &str) -> Result<u64> {
    let map = MapData::from_pin(pin_dir.join(name)).with_context(|| format!("opening {name}"))?;
    number(
        &format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()),
        "memlock:",
    )
}

/// The number behind a name in a file of lines.
fn number(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no {name} in {file}"))
}
