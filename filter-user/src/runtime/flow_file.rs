//! The file that flows are handed over in.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use crate::{
    engine::FlowRecords,
    host::{RUN_DIRECTORY, run_directory},
};

const MAGIC: &[u8; 8] = b"pc-flows";
/// Queue, flows and bytes of each queue's records.
const HEADER: usize = 4 + 8 + 8;

/// Writes the records of all queues to a file that nobody else can read.
pub(super) fn write(records: &[FlowRecords]) -> io::Result<PathBuf> {
    let directory = run_directory()?;
    let path = directory.join(format!("flows-{}", std::process::id()));
    remove(&path);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path)?;
    // The successor may be an ordinary user, who has the directory by now.
    let owner = fs::metadata(directory)?;
    if owner.uid() != file.metadata()?.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    if let Err(error) = write_to(&mut file, records) {
        remove(&path);
        return Err(error);
    }
    Ok(path)
}

fn write_to(file: &mut impl io::Write, records: &[FlowRecords]) -> io::Result<()> {
    file.write_all(MAGIC)?;
    file.write_all(&FlowRecords::FORMAT.to_le_bytes())?;
    for queue in records {
        file.write_all(&queue.queue.to_le_bytes())?;
        file.write_all(&queue.flows.to_le_bytes())?;
        file.write_all(&(queue.bytes.len() as u64).to_le_bytes())?;
        file.write_all(&queue.bytes)?;
    }
    Ok(())
}

/// Reads such a file, and removes it.
pub(super) fn take(path: &Path) -> io::Result<Vec<FlowRecords>> {
    // The engine that names it may be a user's, and this one root's.
    if path.parent() != Some(Path::new(RUN_DIRECTORY)) {
        let what = format!("{} is not in {RUN_DIRECTORY}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = Vec::new();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path);
    let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
    remove(path);
    read?;
    parse(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "not a file of flow records, or not a whole one",
        )
    })
}

/// What is not there need not be removed.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<FlowRecords>> {
    let mut rest = bytes
        .strip_prefix(MAGIC)?
        .strip_prefix(&FlowRecords::FORMAT.to_le_bytes())?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(HEADER)?;
        let (queue, numbers) = header.split_first_chunk()?;
        let (flows, length) = numbers.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (bytes, after) = after.split_at_checked(length)?;
        records.push(FlowRecords {
            queue: u32::from_le_bytes(*queue),
            flows: u64::from_le_bytes(*flows),
            bytes: bytes.to_vec(),
        });
        rest = after;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let records: Vec<_> = (0..3)
            .map(|queue| FlowRecords {
                queue,
                flows: u64::from(queue) * 10,
                bytes: vec![7; queue as usize * 100],
            })
            .collect();
        let path = write(&records).expect("a directory of the engine's");
        let bytes = fs::read(&path).expect("it was written");
        assert_eq!(take(&path).expect("it is whole"), records);
        assert!(take(&path).is_err(), "it was removed");
        let elsewhere = tempfile::NamedTempFile::new().expect("a file");
        assert!(take(elsewhere.path()).is_err() && elsewhere.path().exists());
        for length in 0..bytes.len() {
            // Between two queues nothing is missing that one could see.
            let whole = parse(&bytes[..length]);
            assert!(whole.is_none_or(|read| records.starts_with(&read)), "{length}");
        }
        assert!(parse(&bytes[..bytes.len() - 1]).is_none());
    }
}
