//! Blocks, and what operators have allowed, in a file, so that they outlive a reboot: by the clock on the wall, as that of the
//! maps begins anew.
//!
//! One JSON object a line: a header, the allows, the blocks, and their numbers at the end, by which a file that was cut off is told.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::control::BlockOrigin;

/// The version of the format. In files of version 1 nothing is allowed.
const VERSION: u32 = 2;
/// The longest line, in bytes: a reason has at most 200, of which JSON may make six each.
const MAX_LINE: u64 = 4096;
const NAME: &str = "blocks.jsonl";

/// One block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// What is blocked.
    pub target: IpNet,
    /// When it ends, in seconds of Unix time; none: never.
    pub until_s: Option<u64>,
    /// Who blocked it.
    pub by: BlockOrigin,
    /// How often the source had been blocked before.
    #[serde(default)]
    pub strikes: u32,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// Which maps all this was in, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// When it was saved, in seconds of Unix time.
    pub saved_s: u64,
    /// The kernel's boot, and the identities of its maps of sources, of IPv4 and of IPv6 blocks.
    pub boot: String,
    /// See there.
    pub maps: [u32; 3],
    /// The identities of the maps of what is allowed, IPv4 and IPv6.
    #[serde(default)]
    pub allow_maps: [u32; 2],
}

impl Header {
    /// The header of a file that is saved now.
    #[must_use]
    pub fn new(saved_s: u64, boot: String, maps: [u32; 3], allow_maps: [u32; 2]) -> Self {
        Self {
            version: VERSION,
            saved_s,
            boot,
            maps,
            allow_maps,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    blocks: usize,
    #[serde(default)]
    allows: usize,
}

/// What an operator lets pass.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    allow: IpNet,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which maps it was in, and when.
    pub header: Header,
    /// What operators have allowed.
    pub allows: Vec<IpNet>,
    /// The blocks.
    pub blocks: Vec<Saved>,
    /// Allows and blocks beyond those that were asked for.
    pub left_out: usize,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is cut off or changed, or of another version.
    #[error("{path}:{line}: {message}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// The file in a directory of the engine's own.
#[derive(Debug, Clone)]
pub struct SavedBlocks {
    path: PathBuf,
}

impl SavedBlocks {
    /// The file in this directory, which need not exist.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(NAME),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, source: io::Error) -> SavedError {
        SavedError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Puts all this in the place of what is there; after a crash the file is the one or the other.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(
        &self,
        header: &Header,
        allows: &[IpNet],
        blocks: impl Iterator<Item = Saved>,
    ) -> Result<(), SavedError> {
        self.write_new(header, allows, blocks)
            .map_err(|error| self.failed(error))
    }

    fn write_new(
        &self,
        header: &Header,
        allows: &[IpNet],
        blocks: impl Iterator<Item = Saved>,
    ) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        // An engine that takes over and the one before may both write.
        let new = self.path.with_extension(format!("{}.new", process::id()));
        let written = write_to(&new, header, allows, blocks);
        let replaced = written.and_then(|()| fs::rename(&new, &self.path));
        if replaced.is_err() {
            let _ = fs::remove_file(&new);
        }
        replaced?;
        File::open(directory)?.sync_all()
    }

    /// What is saved, at most so many allows and blocks together, and how many more there are; none if there is no file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is not whole.
    pub fn read(&self, most: usize) -> Result<Option<Read>, SavedError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let mut lines = Lines {
            file: self,
            read: BufReader::new(file),
            number: 0,
            line: Vec::new(),
        };
        let header: Header = lines.next()?;
        if !(1..=VERSION).contains(&header.version) {
            let message = format!("version {} is not {VERSION}", header.version);
            return Err(lines.broken(message));
        }
        let (mut allows, mut blocks) = (Vec::new(), Vec::new());
        let mut left_out = 0;
        loop {
            let has_room = allows.len() + blocks.len() < most;
            match lines.next()? {
                Line::Allow(Allow { allow }) if has_room => allows.push(allow),
                Line::Block(block) if has_room => blocks.push(block),
                Line::Allow(_) | Line::Block(_) => left_out += 1,
                Line::End(end) => {
                    let found = allows.len() + blocks.len() + left_out;
                    if found == end.blocks + end.allows {
                        return Ok(Some(Read {
                            header,
                            allows,
                            blocks,
                            left_out,
                        }));
                    }
                    let message = format!(
                        "{found} entries, and {} blocks and {} allows were saved",
                        end.blocks, end.allows
                    );
                    return Err(lines.broken(message));
                }
            }
        }
    }

    /// Renames the file, so that what is wrong with it can be looked at, and returns its new name.
    ///
    /// # Errors
    ///
    /// When that is refused.
    pub fn set_aside(&self) -> Result<PathBuf, SavedError> {
        let aside = self.path.with_extension("jsonl.broken");
        fs::rename(&self.path, &aside)
            .map(|()| aside)
            .map_err(|error| self.failed(error))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    End(End),
    Allow(Allow),
    Block(Saved),
}

struct Lines<'a> {
    file: &'a SavedBlocks,
    read: BufReader<File>,
    number: usize,
    line: Vec<u8>,
}

impl Lines<'_> {
    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, SavedError> {
        self.number += 1;
        self.line.clear();
        let read = self
            .read
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line);
        read.map_err(|error| self.file.failed(error))?;
        if self.line.last() != Some(&b'\n') {
            return Err(self.broken("the line is cut off, or too long".to_owned()));
        }
        serde_json::from_slice(&self.line).map_err(|error| self.broken(error.to_string()))
    }

    fn broken(&self, message: String) -> SavedError {
        SavedError::Broken {
            path: self.file.path.clone(),
            line: self.number,
            message,
        }
    }
}

fn write_to(
    new: &Path,
    header: &Header,
    allows: &[IpNet],
    blocks: impl Iterator<Item = Saved>,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new)?;
    let mut out = BufWriter::new(file);
    line(&mut out, header)?;
    let mut end = End {
        blocks: 0,
        allows: allows.len(),
    };
    for allow in allows {
        line(&mut out, &Allow { allow: *allow })?;
    }
    for block in blocks {
        line(&mut out, &block)?;
        end.blocks += 1;
    }
    line(&mut out, &end)?;
    out.into_inner()?.sync_all()
}

fn line(out: &mut BufWriter<File>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32) -> Saved {
        Saved {
            target: IpNet::new_assert(std::net::Ipv4Addr::from(number).into(), 32),
            until_s: number.is_multiple_of(2).then_some(u64::from(number)),
            by: BlockOrigin::Operator,
            strikes: number,
            reason: "\"quoted\"\n\u{1}".repeat(number as usize % 20),
        }
    }

    fn header() -> Header {
        Header::new(1_700_000_000, "a-boot".to_owned(), [1, 2, 3], [4, 5])
    }

    fn allows() -> Vec<IpNet> {
        ["192.0.2.7/32", "2001:db8::/48"]
            .map(|net| net.parse().expect("a net"))
            .into()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let saved = SavedBlocks::in_directory(&dir.path().join("state"));
        assert!(saved.read(9).expect("nothing is there").is_none());
        for count in [0, 1, 100] {
            let blocks: Vec<_> = (0..count).map(block).collect();
            saved
                .write(&header(), &allows(), blocks.iter().cloned())
                .expect("written");
            let read = saved.read(102).expect("right").expect("there");
            assert_eq!((read.header, read.blocks, read.left_out), (header(), blocks, 0));
            assert_eq!(read.allows, allows());
        }
        let names: Vec<_> = fs::read_dir(dir.path().join("state")).expect("there").collect();
        assert_eq!(names.len(), 1, "nothing else is left");
        let read = saved.read(98).expect("right").expect("there");
        assert_eq!((read.blocks.len(), read.left_out), (96, 4));
    }

    #[test]
    fn files_from_before_there_were_allows_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let saved = SavedBlocks::in_directory(dir.path());
        let text = "{\"version\":1,\"saved_s\":7,\"boot\":\"b\",\"maps\":[1,2,3]}\n\
                    {\"target\":\"192.0.2.7/32\",\"until_s\":null,\"by\":\"operator\"}\n{\"blocks\":1}\n";
        fs::write(saved.path(), text).expect("written");
        let read = saved.read(9).expect("right").expect("there");
        assert_eq!(
            (read.blocks.len(), read.allows.len(), read.header.allow_maps),
            (1, 0, [0; 2])
        );
    }

    #[test]
    fn a_file_that_is_not_whole_is_told_wherever_it_is_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let saved = SavedBlocks::in_directory(dir.path());
        saved
            .write(&header(), &allows(), (0..9).map(block))
            .expect("written");
        let whole = fs::read(saved.path()).expect("read");
        for length in 0..whole.len() {
            fs::write(saved.path(), &whole[..length]).expect("written");
            let error = saved.read(99).expect_err("cut").to_string();
            assert!(error.contains("blocks.jsonl:"), "{length}: {error}");
        }
        let text = String::from_utf8(whole).expect("text");
        for (from, to) in [
            ("\"version\":2", "\"version\":3"),
            ("\"allows\":2", "\"allows\":1"),
            ("192.0.2.7/32", "192.0.2.7/33"),
            ("\"blocks\":9", "\"blocks\":8"),
            ("operator", "nobody"),
            ("\"until_s\"", "\"until\""),
            ("0.0.0.3/32", "0.0.0.3/33"),
        ] {
            fs::write(saved.path(), text.replacen(from, to, 1)).expect("written");
            assert!(saved.read(99).is_err(), "{to}");
        }
        fs::write(saved.path(), vec![b'x'; 1 << 20]).expect("written");
        assert!(saved.read(99).is_err());
        let aside = saved.set_aside().expect("renamed");
        assert!(aside.exists() && !saved.path().exists());
    }
}
