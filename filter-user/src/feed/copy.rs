//! Copies of feeds: the last good one of each, for starts without a network.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{FeedError, Validators, fetch::checksum};
use crate::config::Feed;

/// The version of the format.
const VERSION: u32 = 1;

/// A directory of copies.
#[derive(Debug, Clone)]
pub struct Copies {
    directory: PathBuf,
}

/// A feed as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its text.
    pub bytes: Vec<u8>,
    /// By what the server tells that it has not changed.
    pub validators: Validators,
    /// When it was last known to be the newest, in seconds of Unix time.
    pub fetched_s: u64,
}

/// The first line of a copy.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    source: String,
    sha256: String,
    validators: Validators,
    fetched_s: u64,
}

impl Copies {
    /// Their directory, below that of the state.
    pub(crate) const DIRECTORY: &str = "feeds";

    /// Those in a directory of the engine's own, which need not exist.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.join(Self::DIRECTORY),
        }
    }

    /// The copy of a feed; none if there is none of it from this source.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not whole.
    pub fn read(&self, feed: &Feed) -> Result<Option<Copy>, FeedError> {
        let path = self.path(feed);
        let failed = |source| FeedError::File {
            path: path.clone(),
            source,
        };
        // A header is much shorter.
        let most = u64::from(feed.max_bytes) + (64 << 10);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > most => return Err(FeedError::TooLarge(feed.max_bytes)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let bytes = fs::read(&path).map_err(failed)?;
        let broken = || FeedError::Copy(path.clone());
        let end = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(broken)?;
        let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|_| broken())?;
        let text = &bytes[end + 1..];
        if header.version != VERSION || header.sha256 != checksum(text) {
            return Err(broken());
        }
        // What was had before a checksum was asked for need not have it.
        let is_asked_for = feed.sha256.as_ref().is_none_or(|sha256| *sha256 == header.sha256);
        Ok(
            (is_asked_for && header.source == feed.source.to_string()).then(|| Copy {
                bytes: text.to_vec(),
                validators: header.validators,
                fetched_s: header.fetched_s,
            }),
        )
    }

    /// Puts a copy in the place of the one before; after a crash it is the one or the other.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, feed: &Feed, copy: &Copy) -> Result<(), FeedError> {
        let path = self.path(feed);
        self.write_new(&path, feed, copy)
            .map_err(|source| FeedError::File { path, source })
    }

    fn write_new(&self, path: &Path, feed: &Feed, copy: &Copy) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let header = Header {
            version: VERSION,
            source: feed.source.to_string(),
            sha256: checksum(&copy.bytes),
            validators: copy.validators.clone(),
            fetched_s: copy.fetched_s,
        };
        let new = path.with_extension(format!("{}.new", std::process::id()));
        // The source may have a password in it.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        let mut text = serde_json::to_vec(&header)?;
        text.push(b'\n');
        text.extend_from_slice(&copy.bytes);
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Removes copies of feeds that are not among these.
    pub fn keep(&self, feeds: &[Feed]) {
        let kept: Vec<_> = feeds.iter().map(|feed| self.path(feed)).collect();
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path
                .extension()
                .is_some_and(|ending| ending == "feed" || ending == "new");
            if is_ours && !kept.contains(&path) && fs::remove_file(&path).is_err() {
                tracing::debug!("{} stays", path.display());
            }
        }
    }

    /// Names have no dots and slashes.
    fn path(&self, feed: &Feed) -> PathBuf {
        self.directory.join(format!("{}.feed", feed.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(source: &str) -> Feed {
        toml::from_str(&format!("name = 'a'\nsource = '{source}'")).expect("a feed")
    }

    #[test]
    fn a_copy_is_of_one_source_and_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let copies = Copies::in_directory(dir.path());
        let feed = feed("https://a.example/list");
        assert_eq!(copies.read(&feed).expect("none"), None);
        let copy = Copy {
            bytes: b"192.0.2.1\n".to_vec(),
            validators: Validators::default(),
            fetched_s: 7,
        };
        copies.write(&feed, &copy).expect("written");
        assert_eq!(copies.read(&feed).expect("whole"), Some(copy));
        assert_eq!(copies.read(&self::feed("/other")).expect("of another"), None);

        let path = dir.path().join("feeds/a.feed");
        let whole = fs::read(&path).expect("read");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("written");
            assert!(copies.read(&feed).is_err(), "{length}");
        }
        copies.keep(&[]);
        assert!(!path.exists());
    }
}
