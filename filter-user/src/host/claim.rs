//! One engine for each interface.
//!
//! Two engines with pin directories and control sockets of their own would take each other's reinjection devices for
//! those of a dead predecessor. A lock that ends with its process tells the living from the dead.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::Interface;

/// Where locks and records of interfaces are.
pub const DIRECTORY: &str = "/run/portcullis";

/// The right to filter an interface; held until it is dropped.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
}

/// Why an interface could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another engine runs there.
    #[error(
        "another engine filters {interface} already\n  fix: stop that one; its process is among `pgrep -a portcullis`"
    )]
    Taken {
        /// The interface.
        interface: String,
    },
    /// The lock could not be made.
    #[error("cannot lock {path}: {source}; run as root")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Claim {
    /// Claims an interface of this network namespace.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`].
    pub fn take(interface: &Interface) -> Result<Self, ClaimError> {
        Self::take_in(Path::new(DIRECTORY), interface)
    }

    fn take_in(directory: &Path, interface: &Interface) -> Result<Self, ClaimError> {
        let path = file_of(directory, interface, "lock");
        let failed = |source| ClaimError::Lock {
            path: path.clone(),
            source,
        };
        make(directory).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(ClaimError::Taken {
                interface: interface.name.clone(),
            }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

/// The directory for what engines leave to each other, which nobody else can read.
///
/// # Errors
///
/// When it cannot be made.
pub fn run_directory() -> io::Result<&'static Path> {
    let directory = Path::new(DIRECTORY);
    make(directory)?;
    Ok(directory)
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The file of this kind that is about an interface.
pub(super) fn file_of(directory: &Path, interface: &Interface, kind: &str) -> PathBuf {
    directory.join(format!("{}{}.{kind}", prefix(), interface.index))
}

/// How the names of such files begin, of interfaces in this network namespace.
pub(super) fn prefix() -> String {
    // Names and indexes repeat in other network namespaces, which may see the same files.
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino());
    format!("interface-{namespace}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32) -> Interface {
        Interface {
            name: format!("eth{index}"),
            index,
            address: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            queues: 1,
            up: true,
            is_promiscuous: false,
            is_veth: false,
            xdp_mode: None,
        }
    }

    #[test]
    fn an_interface_is_claimed_once_at_a_time() {
        let directory = tempfile::tempdir().expect("a writable temporary directory");
        let take = |index| Claim::take_in(directory.path(), &interface(index));
        let first = take(1).expect("free");
        assert!(matches!(take(1), Err(ClaimError::Taken { .. })));
        let other = take(2).expect("another interface");
        drop((first, other));
        take(1).expect("free again");
    }
}
