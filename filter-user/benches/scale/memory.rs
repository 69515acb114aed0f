//! What memory things take.

use std::{fs, os::fd::AsFd as _, os::fd::AsRawFd as _, path::Path};

use aya::maps::MapData;

const KIB: u64 = 1024;

/// Bytes of this process in memory.
pub(crate) fn resident() -> u64 {
    kib("/proc/self/status", "VmRSS:") * KIB
}

/// Bytes of the kernel's objects of all kinds, those of everybody else among them.
pub(crate) fn kernel_objects() -> u64 {
    kib("/proc/meminfo", "SUnreclaim:") * KIB
}

/// Bytes that a pinned map takes, as the kernel says. Of a trie without the inner nodes.
pub(crate) fn of_map(pin_dir: &Path, name: &str) -> u64 {
    let map = MapData::from_pin(pin_dir.join(name)).expect("every map is pinned");
    kib(
        &format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()),
        "memlock:",
    )
}

/// The number behind a name in a file of lines.
fn kib(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {file}"))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
