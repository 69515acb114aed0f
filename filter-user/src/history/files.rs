//! One file a snapshot; the oldest go.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::Snapshot;

/// Writes a snapshot beside those before it, and removes the oldest so that `count` are left. Returns its path.
///
/// # Errors
///
/// When the directory cannot be made or written.
pub fn write(directory: &Path, snapshot: &Snapshot, count: u32) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = format!("snapshot-{}.json", time.replace([':', '-'], ""));
    let path = directory.join(name);
    let text = serde_json::to_vec_pretty(snapshot).map_err(io::Error::other)?;
    // Whoever reads it sees the whole of it, or nothing.
    let unfinished = path.with_extension("json.new");
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, &path)?;
    let mut names: Vec<_> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| {
            let stem = name.strip_suffix(".json");
            stem.is_some_and(|stem| stem.starts_with("snapshot-"))
        })
        .collect();
    names.sort_unstable();
    let superfluous = names.len().saturating_sub(count as usize);
    for name in &names[..superfluous] {
        fs::remove_file(directory.join(name))?;
    }
    Ok(path)
}
