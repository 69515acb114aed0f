//! A private file-system view: the host's, but with its own bpffs, `/run/portcullis`, `/var/lib/portcullis` and `/var/log/portcullis`.
//!
//! The view lives as long as a process or this value's descriptor refers to it, so nothing of it is left
//! behind even when the process is killed.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::{process, thread};

use anyhow::{Context as _, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::{chdir, chroot, fchdir};

/// Where the engine pins its maps and programs.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Where the engine keeps its control socket.
pub const RUNTIME: &str = "/run/portcullis";
/// Where it keeps what outlives a reboot.
pub const STATE: &str = "/var/lib/portcullis";

/// Where it keeps its audit log.
pub const LOGS: &str = "/var/log/portcullis";

/// A mount namespace, held by a descriptor.
#[derive(Debug)]
pub struct Mounts {
    namespace: File,
    /// This process's root directory inside. Entering a mount namespace moves to the namespace's own root, which
    /// is another one if this process lives in a chroot.
    root: File,
}

impl Mounts {
    /// Makes a new view.
    ///
    /// # Errors
    /// If not root, or the kernel has no bpffs.
    pub fn private() -> Result<Self> {
        for directory in [RUNTIME, STATE, LOGS] {
            fs::create_dir_all(directory).with_context(|| format!("creating {directory}"))?;
        }
        // On a thread of its own: it gives up sharing its view with the rest of the process.
        thread::spawn(Self::unshare_thread)
            .join()
            .map_err(|_| anyhow!("the mounting thread panicked"))?
    }

    fn unshare_thread() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("unsharing the mount namespace")?;
        // Mounts made inside stay inside; what the host unmounts goes away inside as well, so that a
        // removed network namespace is not kept alive by a copy of its mount.
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SLAVE,
            None::<&str>,
        )
        .context("making the mounts private")?;
        mount_bpffs()?;
        for directory in [RUNTIME, STATE, LOGS] {
            mount(
                Some("tmpfs"),
                directory,
                Some("tmpfs"),
                MsFlags::empty(),
                Some("mode=755"),
            )
            .with_context(|| format!("mounting a tmpfs on {directory}"))?;
        }
        let namespace = File::open("/proc/thread-self/ns/mnt").context("opening the mount namespace")?;
        let root = File::open("/").context("opening the root directory")?;
        Ok(Self { namespace, root })
    }

    /// The options with which nsenter(1) enters the view while this value lives.
    pub(super) fn nsenter_options(&self) -> [String; 2] {
        let path = |file: &File| format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
        [
            format!("--mount={}", path(&self.namespace)),
            format!("--root={}", path(&self.root)),
        ]
    }

    /// Moves the calling thread into the view, for good.
    pub(super) fn enter_thread(&self) -> Result<()> {
        // A thread that shares its working directory with others may not change its mounts.
        unshare(CloneFlags::CLONE_FS).context("unsharing the working directory")?;
        let directory = std::env::current_dir();
        setns(&self.namespace, CloneFlags::CLONE_NEWNS).context("entering the lab's mounts")?;
        fchdir(&self.root)
            .and_then(|()| chroot("."))
            .context("entering the lab's root directory")?;
        if let Ok(directory) = directory {
            chdir(&directory).with_context(|| format!("changing to {}", directory.display()))?;
        }
        Ok(())
    }
}

fn mount_bpffs() -> Result<()> {
    mount(
        Some("bpf"),
        BPFFS,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=700"),
    )
    .with_context(|| format!("mounting a bpffs on {BPFFS}"))
}

/// Mounts the host's bpffs if it is not there, as systemd does at boot. It stays.
///
/// # Errors
/// If not root, or the kernel has no bpffs.
pub fn ensure_bpffs() -> Result<()> {
    let is_mounted = || statfs(Path::new(BPFFS)).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC);
    if is_mounted() {
        return Ok(());
    }
    // Of two that mount at once, one would hide what was pinned in the other's.
    let below = File::open(BPFFS).with_context(|| format!("opening {BPFFS}"))?;
    below.lock().with_context(|| format!("locking {BPFFS}"))?;
    if is_mounted() { Ok(()) } else { mount_bpffs() }
}
