//! Takes away what an engine that has ended without order, or was killed, has left in force.

use std::{fs, io, os::unix::fs::FileTypeExt as _, path::Path};

use anyhow::{Context as _, bail};

use crate::{
    bpf::Pins,
    config::Config,
    control::{Client, ClientError},
    host,
};

/// Takes programs off, removes pins, devices, sockets and locks, and changes interfaces back. Returns what was done, a line each.
///
/// # Errors
///
/// When an engine of this configuration runs, or something cannot be removed.
pub fn clean_up(config: &Config) -> anyhow::Result<Vec<String>> {
    let engine = &config.engine;
    let sockets = [
        engine.control_socket.clone(),
        config.api.socket_beside(&engine.control_socket),
    ];
    for socket in &sockets {
        match Client::connect(socket) {
            Ok(_) => bail!(
                "an engine is running on {}\n  fix: stop it first (`systemctl stop portcullis`, or SIGTERM to its process)",
                socket.display()
            ),
            // One may run there.
            Err(error @ ClientError::Permission { .. }) => return Err(error.into()),
            Err(_) => {}
        }
    }
    let mut done = Vec::new();
    if let Some(pins) = Pins::abandoned(&engine.pin_dir)? {
        let names = pins
            .remove()
            .with_context(|| format!("cannot remove what is pinned in {}", engine.pin_dir.display()))?;
        done.extend(names.iter().map(|name| format!("unpinned {name}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    done.extend(runtime.block_on(host::remove_leftovers())?);
    for socket in &sockets {
        remove_socket(socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    }
    remove_flows(Path::new(host::RUN_DIRECTORY))?;
    // Another engine may have its files there.
    let _ = fs::remove_dir(host::RUN_DIRECTORY);
    Ok(done)
}

/// The socket of a dead engine, and its lock.
fn remove_socket(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    match fs::remove_file(path.with_added_extension("lock")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Flows that were handed over to nobody.
fn remove_flows(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("flows-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
