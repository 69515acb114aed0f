//! Names of labs, removing them, sweeping stale ones, and the lock of tests that must be alone.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace;
use super::wait::wait_until;

/// The namespaces of a lab.
pub const ROLES: [&str; 3] = ["client", "gateway", "server"];
/// Where labs keep their files.
const DIRECTORY: &str = "/run/portcullis-lab";
/// Where the engine pins its maps and programs on the host.
const PINS: &str = "/sys/fs/bpf/portcullis";
/// A file of this name in a lab's directory says that those are the lab's.
const PINS_MARK: &str = "owns-pins";
/// How long killed processes may take to be gone.
const END: Duration = Duration::from_secs(5);
/// Labs of one process are `pcl-PID-NUMBER`.
const PREFIX: &str = "pcl-";

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub(super) fn unique_name() -> String {
    format!(
        "{PREFIX}{}-{}",
        process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Names given by people become part of paths and namespace names.
pub(super) fn check_name(name: &str) -> Result<()> {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    if name.is_empty() || name.len() > 32 || !name.chars().all(is_plain) {
        bail!("`{name}` is not a name for a lab: use 1 to 32 letters, digits, `-` or `_`");
    }
    if name.starts_with(PREFIX) {
        bail!("names that begin with `{PREFIX}` belong to labs of tests");
    }
    Ok(())
}

/// The directory of a lab's files.
#[must_use]
pub fn directory(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// True if something of a lab of this name is there: a namespace or files.
#[must_use]
pub fn is_left(name: &str) -> bool {
    directory(name).exists()
        || ROLES
            .iter()
            .any(|role| namespace::path(&format!("{name}-{role}")).exists())
}

/// Marks what the engine will pin on the host as this lab's, to be removed with it.
///
/// # Errors
/// If something is pinned there already: an engine outside the lab runs, or has left its maps.
pub fn own_pins(name: &str) -> Result<()> {
    if Path::new(PINS).exists() {
        bail!(
            "{PINS} exists: an engine runs on this host, or has left its maps there. \
             Stop it first, or remove them: rm -r {PINS}"
        );
    }
    let mark = directory(name).join(PINS_MARK);
    File::create(&mark)
        .map(drop)
        .with_context(|| format!("creating {}", mark.display()))
}

/// Removes a lab: ends the processes in its namespaces, deletes the namespaces (the links go with them) and
/// its files. What does not exist is skipped; what fails is reported, for there is nobody to hand it to.
pub fn remove(name: &str) {
    for role in ROLES {
        let namespace = format!("{name}-{role}");
        if !namespace::path(&namespace).exists() {
            continue;
        }
        end_processes(&namespace);
        if let Err(error) = namespace::run(Command::new("ip").args(["netns", "delete", &namespace])) {
            eprintln!("removing the lab `{name}`: {error:#}");
        }
    }
    let directory = directory(name);
    if directory.join(PINS_MARK).exists() {
        remove_tree(Path::new(PINS));
    }
    remove_tree(&directory);
}

fn remove_tree(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("removing {}: {error}", directory.display());
    }
}

/// Kills whatever still runs in a namespace, and waits for its end; this very process, of which only
/// threads are inside, is never listed.
fn end_processes(namespace: &str) {
    let ended = wait_until("the processes in the namespace ending", END, || {
        let pids = processes(namespace);
        for pid in &pids {
            // It may have ended by itself in between.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        pids.is_empty()
    });
    if let Err(error) = ended {
        eprintln!("removing {namespace}: {error:#}");
    }
}

/// The processes in a namespace, except this one and those that have ended and wait for their parent.
fn processes(namespace: &str) -> Vec<Pid> {
    let listing = namespace::output_of(Command::new("ip").args(["netns", "pids", namespace]));
    let listing = listing.unwrap_or_default();
    let pids = listing
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| *pid != Pid::this()).collect()
}

/// Removes the labs of processes that are gone, and returns how many.
#[expect(clippy::must_use_candidate, reason = "sweeping is what it is called for")]
pub fn sweep() -> usize {
    let names = [DIRECTORY, "/run/netns"].into_iter().flat_map(|directory| {
        fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
    });
    let mut stale: Vec<String> = names
        .filter_map(|name| stale_lab(&name.to_string_lossy()))
        .collect();
    stale.sort_unstable();
    stale.dedup();
    for name in &stale {
        remove(name);
    }
    stale.len()
}

/// The lab that a file or namespace `pcl-PID-NUMBER[-ROLE]` belongs to, if that process is gone.
fn stale_lab(name: &str) -> Option<String> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let pid: u32 = parts.next()?.parse().ok()?;
    let number: u32 = parts.next()?.parse().ok()?;
    let alive = Path::new("/proc").join(pid.to_string()).exists();
    (!alive).then(|| format!("{PREFIX}{pid}-{number}"))
}

/// Held by a test that must run alone on this machine.
#[derive(Debug)]
pub struct SerialGuard {
    _lock: Flock<File>,
}

/// Waits until no other process or thread holds the lock of serial tests, then holds it.
///
/// # Errors
/// If the lock file cannot be made: not root.
pub fn serial() -> Result<SerialGuard> {
    lock("serial.lock", FlockArg::LockExclusive).map(|lock| SerialGuard { _lock: lock })
}

/// Held while namespaces are created, one lab at a time on this machine.
pub(super) fn creating() -> Result<SerialGuard> {
    lock("creating.lock", FlockArg::LockExclusive).map(|lock| SerialGuard { _lock: lock })
}

/// Takes the lock of a named lab for as long as the guard lives.
///
/// # Errors
/// If someone else holds it.
pub fn lock_name(name: &str) -> Result<SerialGuard> {
    check_name(name)?;
    lock(&format!("{name}.lock"), FlockArg::LockExclusiveNonblock)
        .map(|lock| SerialGuard { _lock: lock })
        .map_err(|error| match error.downcast_ref() {
            Some(Errno::EAGAIN) => anyhow!(
                "the lab `{name}` is in use by another `cargo xtask run`\n  fix: end that one, or give this one a --name of its own"
            ),
            _ => error,
        })
}

fn lock(file: &str, how: FlockArg) -> Result<Flock<File>> {
    fs::create_dir_all(DIRECTORY).with_context(|| format!("creating {DIRECTORY}"))?;
    let path = Path::new(DIRECTORY).join(file);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    Flock::lock(file, how)
        .map_err(|(_, error)| error)
        .with_context(|| format!("locking {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{check_name, stale_lab};

    #[test]
    fn only_labs_of_dead_processes_are_stale() {
        assert_eq!(
            stale_lab("pcl-4294967295-3-client").as_deref(),
            Some("pcl-4294967295-3")
        );
        assert_eq!(stale_lab("pcl-4294967295-3").as_deref(), Some("pcl-4294967295-3"));
        assert_eq!(stale_lab(&format!("pcl-{}-0-client", std::process::id())), None);
        assert_eq!(stale_lab("portcullis-client"), None);
        assert_eq!(stale_lab("pcl-x-0"), None);
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        assert!(check_name("portcullis").is_ok());
        for name in ["", "..", "a/b", "pcl-1-2", "a b", &"a".repeat(33)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
