//! One network namespace: its life, commands inside it, closures inside it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::{env, io, thread};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};

use super::mounts::Mounts;
use crate::workspace::find_program;

/// Where ip-netns(8) keeps the namespace of this name.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A network namespace made by ip-netns(8), with the lab's file-system view if it has one.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    mounts: Option<Arc<Mounts>>,
}

impl Namespace {
    /// Names a namespace; nothing is created.
    pub(super) fn new(name: String, mounts: Option<Arc<Mounts>>) -> Self {
        Self { name, mounts }
    }

    /// Its name for ip-netns(8).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates it.
    pub(super) fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.name]))
    }

    /// Runs lines of ip(8) commands in it.
    ///
    /// # Errors
    /// With ip's own message, at the first line that fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        use std::io::Write as _;
        let mut child = Command::new("ip")
            .args(["-netns", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ip")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes()).context("writing to ip")?;
        }
        let output = child.wait_with_output().context("waiting for ip")?;
        if !output.status.success() {
            bail!(
                "ip in {}: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// A command that runs `program` in this namespace and in the lab's file-system view. The wrapper replaces
    /// itself, so the child's process id is the program's own.
    ///
    /// The working directory is this process's; a `current_dir` set on the result is overridden by that.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", path(&self.name).display()));
        if let Some(mounts) = &self.mounts {
            command.args(mounts.nsenter_options());
        }
        command.arg("--");
        if self.mounts.is_some() {
            // Entering a mount namespace moves to its root.
            command
                .arg("env")
                .arg("-C")
                .arg(env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
        }
        // A user's search path may lack the system directories.
        let name = Path::new(program.as_ref());
        let found = name
            .to_str()
            .filter(|name| !name.contains('/'))
            .and_then(find_program);
        command.arg(found.as_deref().unwrap_or(name));
        command
    }

    /// Runs a closure on a thread of its own inside this namespace (and the lab's file-system view), and
    /// returns its result. Sockets opened and children started by it stay inside.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If the closure does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let enter = || -> Result<()> {
            // Opened outside of the lab's view, which need not have what the host mounted later.
            let path = path(&self.name);
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            if let Some(mounts) = &self.mounts {
                mounts.enter_thread()?;
            }
            setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", path.display()))
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| enter().map(|()| work()));
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Writes a sysctl of the network namespace, as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// If there is no such sysctl or it refuses the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.enter(|| std::fs::write(Path::new("/proc/sys").join(name), value))?
            .with_context(|| format!("setting {name} to {value} in {}", self.name))
    }

    /// Reads a sysctl of the network namespace.
    ///
    /// # Errors
    /// If there is no such sysctl.
    pub fn read_sysctl(&self, name: &str) -> Result<String> {
        let text = self.enter(|| std::fs::read_to_string(Path::new("/proc/sys").join(name)))?;
        Ok(text
            .with_context(|| format!("reading {name} in {}", self.name))?
            .trim()
            .to_owned())
    }

    /// The hardware address of an interface inside.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let mac = self.enter(|| {
            let addresses = nix::ifaddrs::getifaddrs().context("listing interfaces")?;
            let mut of_interface = addresses.filter(|address| address.interface_name == interface);
            anyhow::Ok(of_interface.find_map(|found| found.address?.as_link_addr()?.addr()))
        })??;
        if let Some(mac) = mac {
            return Ok(mac);
        }
        bail!("no interface {interface} in {}", self.name)
    }
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// If it cannot be started or fails; the text has its standard error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| explain_start(command, &error))?;
    if !status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        bail!(
            "{} {}: {status}: {}",
            command.get_program().display(),
            arguments.join(" "),
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a command to its end.
///
/// # Errors
/// As [`output_of`].
pub fn run(command: &mut Command) -> Result<()> {
    output_of(command).map(drop)
}

fn explain_start(command: &Command, error: &io::Error) -> anyhow::Error {
    let program = command.get_program().display();
    if error.kind() == io::ErrorKind::NotFound {
        return anyhow::anyhow!("{program} is not installed; `cargo xtask setup` installs it");
    }
    anyhow::anyhow!("starting {program}: {error}")
}
