//! Files that take turns: the newest is written, the oldest goes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The group may read, so that a collector need not be root; the umask can take that away.
const MODE: u32 = 0o640;
/// The directory's.
const DIRECTORY_MODE: u32 = 0o750;

/// The newest file's name, and of those before it: `audit.jsonl`, `audit.1.jsonl`, `audit.2.jsonl`, …
pub(super) fn name(age: u32) -> String {
    match age {
        0 => "audit.jsonl".to_owned(),
        age => format!("audit.{age}.jsonl"),
    }
}

/// The files of a directory, and the one that is written.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// How large one may be, bytes.
    limit: u64,
    /// How many there are at most.
    count: u32,
    current: BufWriter<File>,
    length: u64,
}

impl Files {
    /// Goes on with the newest one. Makes the directory if there is none.
    pub(super) fn open(directory: &Path, limit: u64, count: u32) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
        let (current, length) = newest(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            limit,
            count,
            current,
            length,
        })
    }

    /// Adds a line. It may stay in memory until [`Files::flush`].
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.length > 0 && self.length + length > self.limit {
            self.rotate()?;
        }
        self.current.write_all(line.as_bytes())?;
        self.current.write_all(b"\n")?;
        self.length += length;
        Ok(())
    }

    /// Hands what was written to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.current.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.current.flush()?;
        for age in (0..self.count.saturating_sub(1)).rev() {
            let (from, to) = (self.directory.join(name(age)), self.directory.join(name(age + 1)));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.count == 1 {
            fs::remove_file(self.directory.join(name(0)))?;
        }
        (self.current, self.length) = newest(&self.directory)?;
        Ok(())
    }
}

fn newest(directory: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(directory.join(name(0)))?;
    let length = file.metadata()?.len();
    Ok((BufWriter::new(file), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(directory: &Path) -> Vec<String> {
        let read = |age| fs::read_to_string(directory.join(name(age))).ok();
        (0..9).map_while(read).collect()
    }

    #[test]
    fn the_oldest_goes_and_a_later_run_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("made");
        {
            let mut files = Files::open(&path, 10, 3).expect("opened");
            for line in ["1111", "2222", "33333333333333", "4", "5"] {
                files.write(line).expect("written");
            }
            files.flush().expect("flushed");
        }
        assert_eq!(written(&path), ["4\n5\n", "33333333333333\n", "1111\n2222\n"]);
        let mut files = Files::open(&path, 10, 3).expect("opened");
        for line in ["6666666", "7777777"] {
            files.write(line).expect("written");
        }
        files.flush().expect("flushed");
        assert_eq!(written(&path), ["7777777\n", "6666666\n", "4\n5\n"]);

        let mut alone = Files::open(&path, 1, 1).expect("opened");
        alone.write("8").expect("written");
        alone.flush().expect("flushed");
        assert_eq!(written(&path)[0], "8\n");
    }
}
