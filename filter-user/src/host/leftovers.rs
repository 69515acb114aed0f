//! What engines that were killed leave on a host's interfaces: devices of the way back, offloads that are off, locks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt as _;
use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::link::LinkAttribute;

use super::{Changes, Claim, ClaimError, Interface, claim, reinjection};

/// Interfaces of this network namespace that an engine has left something about, and the files that say so.
fn recorded(directory: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let prefix = claim::prefix();
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let index = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.split_once('.')?.0.parse().ok());
        found.extend(index.map(|index| (index, entry.path())));
    }
    Ok(found)
}

/// Changes interfaces back, and removes devices and files; nothing of an engine that runs. Returns what was done.
///
/// # Errors
///
/// When the kernel cannot be asked, or files cannot be removed.
pub async fn remove_leftovers() -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    let mut held = Vec::new();
    for (index, file) in recorded(Path::new(claim::DIRECTORY))? {
        if held.contains(&index) {
            continue;
        }
        if let Some(interface) = by_index(index).await {
            let claim = match Claim::take(&interface) {
                Err(ClaimError::Taken { .. }) => {
                    held.push(index);
                    continue;
                }
                claim => claim?,
            };
            if let Some(what) = Changes::new(std::slice::from_ref(&interface), None, false)
                .restore_and_say()
                .await
            {
                done.push(what);
            }
            drop(claim);
        }
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for (device, index) in devices().await? {
        if !held.contains(&index) {
            reinjection::remove_device(&device).await?;
            done.push(format!("removed the device {device}"));
        }
    }
    Ok(done)
}

async fn by_index(index: u32) -> Option<Interface> {
    let name = if_indextoname(index).ok()?.into_string().ok()?;
    Interface::find(&name).await.ok()
}

/// The sending ends of the ways back, and the indexes of the interfaces that they are for.
async fn devices() -> anyhow::Result<Vec<(String, u32)>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let links: Result<Vec<_>, _> = handle.link().get().execute().try_collect().await;
    connection.abort();
    let names = links?.into_iter().flat_map(|link| link.attributes);
    Ok(names
        .filter_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => reinjection::interface_of(&name).map(|index| (name, index)),
            _ => None,
        })
        .collect())
}
