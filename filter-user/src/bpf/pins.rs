//! What an engine that has ended leaves pinned: programs at work, and what they know.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use filter_common::map;
use nix::fcntl::Flock;

use super::{LoadError, attach::LINK, kernel::prepare_directory};

/// The pins of a directory, which no engine has.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    _alone: Flock<File>,
}

impl Pins {
    /// Those in a directory; none if it is not there.
    ///
    /// # Errors
    ///
    /// [`LoadError::InUse`] if an engine runs that has them.
    pub fn abandoned(directory: &Path) -> Result<Option<Self>, LoadError> {
        if !directory.is_dir() {
            return Ok(None);
        }
        Ok(Some(Self {
            _alone: prepare_directory(directory)?,
            directory: directory.to_owned(),
        }))
    }

    /// Takes the programs off the interfaces and removes the maps, and with them all blocks. Returns the names of what is gone, and
    /// leaves what is no engine's.
    ///
    /// # Errors
    ///
    /// When something cannot be removed.
    pub fn remove(self) -> io::Result<Vec<String>> {
        let mut names = names(&self.directory)?;
        // Links first: programs filter by the maps.
        names.sort_by_key(|name| !name.starts_with(LINK));
        for name in &names {
            fs::remove_file(self.directory.join(name))?;
        }
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(names),
        }
    }
}

/// The links in a directory of pins: each keeps a program attached, whether an engine runs or not.
#[must_use]
pub fn pinned_links(directory: &Path) -> Vec<String> {
    let mut links = names(directory).unwrap_or_default();
    links.retain(|name| name.starts_with(LINK));
    links
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(LINK) || map::PINNED.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
