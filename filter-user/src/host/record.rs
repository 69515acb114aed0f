//! What engines have changed about an interface and have not changed back yet, on file: whoever is killed changes nothing back, so
//! that is left to the next one.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Interface, claim, offload};

/// The largest record that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    /// Features that were on, and were switched off.
    pub(super) features: BTreeSet<String>,
    /// It did not take frames for every address, and was made to.
    pub(super) promiscuous: bool,
}

impl Changed {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The interface's name and MAC address: another one may have its index by now.
    name: String,
    address: [u8; 6],
    changed: Changed,
}

/// The record of one interface. Only the engine that has claimed the interface may have it.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    name: String,
    address: [u8; 6],
    changed: Changed,
}

impl Record {
    /// The record of an interface of this network namespace, with what an engine before has left in it.
    pub(super) fn open(interface: &Interface) -> Self {
        Self::open_in(Path::new(claim::DIRECTORY), interface)
    }

    fn open_in(directory: &Path, interface: &Interface) -> Self {
        let mut record = Self {
            path: claim::file_of(directory, interface, "changed"),
            name: interface.name.clone(),
            address: interface.address,
            changed: Changed::default(),
        };
        match record.read() {
            Ok(changed) => record.changed = changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                "{}: {error}; ignored: what an engine before has changed about {} and not changed back stays so \
                 (`ethtool -k {0}` and `ip link show dev {0}` show it)",
                record.path.display(),
                record.name,
            ),
        }
        record
    }

    fn read(&self) -> io::Result<Changed> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(invalid("not a file".into()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(invalid(format!("longer than {MAX_BYTES} bytes")));
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if content.name != self.name || content.address != self.address {
            return Err(invalid(format!(
                "it is about {}, an interface that had this index before",
                content.name
            )));
        }
        if let Some(other) = content
            .changed
            .features
            .iter()
            .find(|name| !offload::is_known(name))
        {
            return Err(invalid(format!("`{other}` is nothing that an engine switches")));
        }
        Ok(content.changed)
    }

    pub(super) fn changed(&self) -> &Changed {
        &self.changed
    }

    /// Notes what has been changed in all, before it is. Where it cannot be written, only an orderly end changes it back.
    pub(super) fn note(&mut self, changed: Changed) {
        if changed == self.changed {
            return;
        }
        self.changed = changed;
        if let Err(error) = self.write() {
            tracing::warn!(
                "cannot write {}: {error}; if this engine is killed, what it has changed about {} stays so",
                self.path.display(),
                self.name
            );
        }
    }

    fn write(&self) -> io::Result<()> {
        if self.changed.is_nothing() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let content = Content {
            name: self.name.clone(),
            address: self.address,
            changed: self.changed.clone(),
        };
        let whole = self.path.with_extension("changed.new");
        // A leftover may be anything; the directory belongs to root.
        if let Err(error) = fs::remove_file(&whole)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&whole)?;
        file.write_all(&serde_json::to_vec(&content)?)?;
        fs::rename(&whole, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface() -> Interface {
        Interface {
            name: "eth7".into(),
            index: 7,
            address: [2, 0, 0, 0, 0, 7],
            mtu: 1500,
            queues: 1,
            up: true,
            is_promiscuous: false,
            is_veth: false,
            xdp_mode: None,
        }
    }

    fn some() -> Changed {
        Changed {
            features: ["rx-lro".to_owned()].into(),
            promiscuous: true,
        }
    }

    #[test]
    fn what_is_noted_is_there_after_a_kill_and_gone_after_an_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Record::open_in(directory.path(), &interface());
        open().note(some());
        let mut later = open();
        assert_eq!(*later.changed(), some());
        later.note(Changed::default());
        assert_eq!(*open().changed(), Changed::default());
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    }

    #[test]
    fn the_record_of_another_interface_is_not_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        Record::open_in(directory.path(), &interface()).note(some());
        let renamed = Interface {
            name: "eth8".into(),
            ..interface()
        };
        let replaced = Interface {
            address: [2, 0, 0, 0, 0, 8],
            ..interface()
        };
        for other in [renamed, replaced] {
            assert_eq!(
                *Record::open_in(directory.path(), &other).changed(),
                Changed::default()
            );
        }
    }

    #[test]
    fn what_is_no_record_is_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut record = Record::open_in(directory.path(), &interface());
        record.note(some());
        let path = record.path.clone();
        let good = fs::read_to_string(&path).expect("written");
        for bad in [
            String::new(),
            good.replace("rx-lro", "tx-checksumming"),
            good.replace("true", "1"),
            good.replace("\"promiscuous\"", "\"promiscous\""),
            good.replace('}', ",\"more\":1}"),
            format!("{good}{}", " ".repeat(MAX_BYTES as usize)),
        ] {
            assert_ne!(bad, good);
            fs::write(&path, &bad).expect("writable");
            assert_eq!(
                *Record::open_in(directory.path(), &interface()).changed(),
                Changed::default(),
                "{bad}"
            );
        }
        fs::remove_file(&path).expect("removable");
        fs::create_dir(&path).expect("a directory in its place");
        assert_eq!(
            *Record::open_in(directory.path(), &interface()).changed(),
            Changed::default()
        );
    }
}
