//! Changes in the folder of rule packs and in the configuration's file, noticed by looking: it works on every file system, and waits until files are whole.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What shows that a file is another: its name, inode, length and time.
type Listing = Vec<(PathBuf, u64, u64, Option<SystemTime>)>;

/// A folder, or a file, that is looked at now and then.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// As it was when it was loaded.
    loaded: Listing,
    /// As it was at the last look, if that was different.
    changing: Option<Listing>,
}

impl Watched {
    /// The folder or file as it is now.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            loaded: listing(&path),
            changing: None,
            path,
        }
    }

    /// It is about to be loaded as it is now.
    pub(super) fn accept(&mut self) {
        self.loaded = listing(&self.path);
        self.changing = None;
    }

    /// Whether the packs have changed, and have stayed so for one look: a file may still be being written.
    pub(super) fn changed(&mut self) -> bool {
        let now = listing(&self.path);
        if now == self.loaded {
            self.changing = None;
            return false;
        }
        if self.changing.as_ref() == Some(&now) {
            self.changing = None;
            self.loaded = now;
            return true;
        }
        self.changing = Some(now);
        false
    }
}

/// What cannot be read is not there; loading says why.
fn listing(path: &Path) -> Listing {
    let mut files: Listing = packs(path)
        .into_iter()
        .map(|path| {
            let metadata = fs::metadata(&path);
            let of = |number: fn(&fs::Metadata) -> u64| metadata.as_ref().map_or(0, number);
            let (inode, length) = (of(fs::Metadata::ino), of(fs::Metadata::len));
            let time = metadata.and_then(|metadata| metadata.modified()).ok();
            (path, inode, length, time)
        })
        .collect();
    files.sort();
    files
}

/// The rule packs in a folder, or the file itself.
fn packs(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_takes_the_place_of_has_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("portcullis.toml");
        fs::write(&file, "1").expect("written");
        let mut watched = Watched::new(file.clone());
        assert!(!watched.changed());
        let other = dir.path().join("new");
        fs::write(&other, "2").expect("written");
        fs::rename(&other, &file).expect("renamed");
        assert!(!watched.changed() && watched.changed() && !watched.changed());
    }

    #[test]
    fn a_change_is_told_once_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("a.toml", "1");
        let mut folder = Watched::new(dir.path().to_owned());
        assert!(!folder.changed() && !folder.changed());
        write("b.toml", "1");
        assert!(!folder.changed());
        write("b.toml", "12");
        assert!(!folder.changed(), "it is still being written");
        assert!(folder.changed() && !folder.changed());
        write("b.toml", "123");
        assert!(!folder.changed());
        folder.accept();
        assert!(
            !folder.changed() && !folder.changed(),
            "somebody else has loaded it"
        );
        write("note.txt", "no pack");
        assert!(!folder.changed() && !folder.changed());
        fs::remove_file(dir.path().join("a.toml")).expect("removed");
        assert!(!folder.changed() && folder.changed());
    }
}
