//! An engine that is not root: it becomes an ordinary user that keeps a few capabilities.
//!
//! It does so before it sets anything up, while it has one thread: capabilities belong to threads, and so does the
//! sandbox. What comes later (queues that are changed, a reload, an end in order) then needs nothing that the start did not have.

mod access;
mod account;
mod capability;
mod files;
mod ownership;
mod places;
mod syscalls;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::{
        prctl::set_no_new_privs,
        resource::{RLIM_INFINITY, Resource, setrlimit},
    },
    unistd::{getegid, geteuid, getgroups, setgroups, setresgid, setresuid},
};

use crate::config::{Config, Origin};

pub use access::Access;

use account::Account;
use places::Places;

/// Whether the kernel can restrict the files of a process.
#[must_use]
pub fn has_landlock() -> bool {
    files::is_there()
}

/// The group that the engine's own user reads files by, before this process has become that user and after it; none where it stays who
/// it is.
///
/// # Errors
///
/// When there is no such user.
pub fn group(config: &Config) -> anyhow::Result<Option<u32>> {
    let user = &config.engine.user;
    if user.is_empty() {
        return Ok(None);
    }
    if geteuid().is_root() {
        return Ok(Some(Account::find(user)?.gid.as_raw()));
    }
    Ok(Some(getegid().as_raw()))
}

/// What an engine may do from here on.
#[derive(Debug)]
pub struct Privileges {
    /// The directory of pins, by a path that this process can take.
    pub pin_dir: PathBuf,
    is_reduced: bool,
}

impl Privileges {
    /// Becomes the configured user, for good. Without one, this process stays who it is.
    ///
    /// # Errors
    ///
    /// When there is no such user, this process is not root, something belongs to a third user, or the user could not read
    /// the configuration when it changes.
    pub fn reduce(config: &Config, origin: &Origin) -> anyhow::Result<Self> {
        let pin_dir = config.engine.pin_dir.clone();
        if config.engine.user.is_empty() {
            return Ok(Self {
                pin_dir,
                is_reduced: false,
            });
        }
        let account = Account::find(&config.engine.user)?;
        let threads = fs::read_dir("/proc/self/task").context("cannot count the threads")?;
        ensure!(
            threads.count() == 1,
            "other threads would keep their privileges: a bug"
        );
        let places = Places::of(config, origin.file());
        let pin_dir = ownership::hand_over(&places, &account)?;
        let kept = capability::kept(config, lift_memory_limit().is_err());
        let lacking = capability::lacking(&kept)?;
        ensure!(
            lacking.is_empty(),
            "cannot become {} with {}, which this process lacks\n  fix: start the engine as root with all capabilities; \
             in a unit of systemd, CapabilityBoundingSet= has to name them",
            account.name,
            capability::names(&lacking)
        );
        become_user(&account, &kept)?;
        if let Some(file) = origin.file() {
            fs::File::open(file).with_context(|| {
                format!(
                    "{} cannot read {}, and so not take in changes of it\n  fix: `chgrp {} {1}` and `chmod g+r {1}`, and make the \
                     directories above passable",
                    account.name,
                    file.display(),
                    account.gid,
                )
            })?;
        }
        if config.engine.sandbox {
            enter_sandbox(&places, &pin_dir);
        }
        tracing::info!(
            "runs as {} ({}), with {}",
            account.name,
            account.uid,
            capability::names(&kept)
        );
        Ok(Self {
            pin_dir,
            is_reduced: true,
        })
    }

    /// The programs are loaded, which took the right to read kernel memory: nothing later does. Still with one thread.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn programs_are_loaded(&self) -> anyhow::Result<()> {
        if self.is_reduced {
            capability::give_up(capability::LOADING)?;
        }
        Ok(())
    }
}

/// The rings' memory counts as locked.
fn lift_memory_limit() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
}

/// What the kernel does not have is said, and done without.
fn enter_sandbox(places: &Places, pin_dir: &Path) {
    let files =
        files::keep_to(places, pin_dir).map_or_else(|error| format!("no files: {error}"), str::to_owned);
    let calls = match syscalls::renounce() {
        Ok(()) => "system calls by seccomp".to_owned(),
        Err(error) => format!("no system calls: {error}"),
    };
    tracing::info!("sandbox: restricts {files}; {calls}");
}

fn become_user(account: &Account, kept: &[caps::Capability]) -> anyhow::Result<()> {
    let refused = || {
        format!(
            "cannot become {}\n  fix: start the engine as root, or leave engine.user empty",
            account.name
        )
    };
    capability::bound(kept);
    caps::securebits::set_keepcaps(true).with_context(refused)?;
    if getgroups().with_context(refused)? != account.groups {
        setgroups(&account.groups).with_context(refused)?;
    }
    setresgid(account.gid, account.gid, account.gid).with_context(refused)?;
    setresuid(account.uid, account.uid, account.uid).with_context(refused)?;
    capability::keep(kept).with_context(refused)?;
    set_no_new_privs().context("cannot renounce new privileges")
}
