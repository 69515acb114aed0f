//! The engine as a process in the lab's gateway.

use std::{
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::{Counters, Reason};
use filter_user::{
    bpf::Tables,
    control::{Client, Request, Response, Status},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xtask::lab::{
    Lab,
    engine_config::services,
    namespace::{Namespace, output_of},
    wait::{wait_for, wait_until},
};

use super::SOON;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
/// Where the engine pins; every lab has a BPF file system of its own there.
pub(crate) const PINS: &str = "/sys/fs/bpf/portcullis";
/// The filtered interface of the gateway; in a lab with a second cable the first of two.
pub(crate) const INTERFACE: &str = "outside";
/// The one that the servers are behind.
pub(crate) const SERVER_INTERFACE: &str = "inside";

/// The program is compiled without optimisation and the machine may be busy.
const START: Duration = Duration::from_secs(90);
/// After so long nothing more shows in the status of an engine that has come to rest; generous for a busy machine.
const SETTLED: Duration = Duration::from_millis(200);
/// Keys that every engine of these tests has, unless a test sets them: a heartbeat that a busy machine does not
/// miss, and tables that are made quickly.
const DEFAULTS: [&str; 4] = [
    "limits.heartbeat_timeout_ms=5000",
    "limits.max_flows=8192",
    "report.summary_interval_s=0",
    "engine.user=nobody",
];

/// The number of the user `nobody` and its group.
pub(crate) const NOBODY: u32 = 65534;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The `[[service]]` tables of nginx and the origin.
pub(crate) fn both_services(inspect: &str) -> String {
    services(80, inspect) + &services(8080, inspect)
}

/// A running engine. Dropping it kills it; [`RunningEngine::stop`] ends it in order and looks at what is left.
pub(crate) struct RunningEngine {
    child: Child,
    gateway: Namespace,
    socket: PathBuf,
    log: PathBuf,
}

impl RunningEngine {
    /// Starts an engine that inspects everything sent to both servers; `settings` are keys as for `--set`.
    pub(crate) fn start(lab: &Lab, settings: &[&str]) -> Result<Self> {
        Self::start_with(lab, &both_services("all"), settings)
    }

    /// Starts an engine with this configuration file, and waits until it filters.
    pub(crate) fn start_with(lab: &Lab, configuration: &str, settings: &[&str]) -> Result<Self> {
        lab.cut_wire()?;
        Self::spawn(lab, configuration, settings, &[])?.ready()
    }

    /// Starts another engine that takes over from this one, which ends.
    pub(crate) fn replace(mut self, lab: &Lab, settings: &[&str]) -> Result<Self> {
        let successor = Self::spawn(lab, &both_services("all"), settings, &["--replace"])?.ready()?;
        let status = self.wait()?;
        let log = self.log();
        ensure!(status.success(), "the engine ended with {status}:\n{log}");
        ensure!(!log.contains("panicked"), "{log}");
        Ok(successor)
    }

    /// Tries to take over from the engine in the lab, and returns what was said at the end.
    pub(crate) fn refuse_successor(lab: &Lab, settings: &[&str]) -> Result<String> {
        Self::refuse_start(lab, settings, &["--replace"])
    }

    /// Tries to start an engine, and returns what it said at its end.
    pub(crate) fn refuse_start(lab: &Lab, settings: &[&str], options: &[&str]) -> Result<String> {
        let mut engine = Self::spawn(lab, &both_services("all"), settings, options)?;
        let status = wait_for("the engine ending", START, || {
            engine.child.try_wait().ok().flatten()
        })?;
        ensure!(!status.success(), "the engine did not fail");
        Ok(engine.log())
    }

    /// Waits until it filters.
    pub(crate) fn ready(self) -> Result<Self> {
        let mut engine = self;
        let pid = engine.pid();
        let ready = wait_for("the engine filtering", START, || match engine.child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => engine.status().ok().filter(|status| status.pid == pid).map(Ok),
        });
        match ready {
            Ok(Ok(_)) => Ok(engine),
            Ok(Err(status)) => bail!("the engine ended: {status}\n{}", engine.log()),
            Err(error) => Err(error.context(engine.log())),
        }
    }

    fn spawn(lab: &Lab, configuration: &str, settings: &[&str], options: &[&str]) -> Result<Self> {
        Self::spawn_with(lab, configuration, settings, options, &[])
    }

    /// Starts an engine with these variables in its environment.
    pub(crate) fn spawn_with(
        lab: &Lab,
        configuration: &str,
        settings: &[&str],
        options: &[&str],
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory = lab.directory();
        let file = directory.join(format!("engine-{number}.toml"));
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let log = directory.join(format!("engine-{number}.log"));
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let socket = directory.join("control.sock");
        // The engine's user makes its sockets there.
        chown(directory, Some(NOBODY), Some(NOBODY)).context("giving the lab's directory away")?;
        let mut command = lab.gateway().command(PROGRAM);
        command
            .arg("run")
            .args(lab.outsides().iter().flat_map(|name| ["--iface", name]))
            .args(
                lab.is_bridged()
                    .then_some(["--bridge", SERVER_INTERFACE])
                    .into_iter()
                    .flatten(),
            )
            .arg("--config")
            .arg(&file)
            .arg("--socket")
            .arg(&socket)
            .args(options);
        for key in ["audit.directory", "history.directory"] {
            let place = directory.join(key);
            command.args(["--set", &format!("{key}={}", place.display())]);
        }
        for setting in DEFAULTS.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let child = command
            .env_remove("SSH_CONNECTION")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("starting the engine")?;
        Ok(Self {
            child,
            gateway: lab.gateway().clone(),
            socket,
            log,
        })
    }

    /// What the engine has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Writes another configuration in the place of that it was started with.
    pub(crate) fn configure(&self, configuration: &str) -> Result<()> {
        let file = self.log.with_extension("toml");
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to the engine"))
    }

    /// Makes the engine hang.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("the engine standing still", SOON, || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            // The state follows the name, which is in parentheses.
            stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
        })
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing the engine")?;
        self.child.wait().context("waiting for the engine")?;
        Ok(())
    }

    /// Ends the engine as an operator does, and checks that nothing of it is left on the network.
    pub(crate) fn stop(mut self) -> Result<()> {
        let warnings = self.status()?.warnings;
        self.signal(Signal::SIGTERM)?;
        let status = self.wait()?;
        let log = self.log();
        ensure!(status.success(), "the engine ended with {status}:\n{log}");
        ensure!(!log.contains("panicked"), "{log}");
        ensure!(
            !warnings.iter().any(|warning| warning.contains("a bug")),
            "{warnings:?}"
        );
        let links = links(&self.gateway)?;
        ensure!(
            !links.contains("xdp") && !links.contains("pc-"),
            "something is left: {links}"
        );
        Ok(())
    }

    /// Waits for the engine to end by itself.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        wait_for("the engine ending", SOON, || self.child.try_wait().ok().flatten())
            .with_context(|| self.log())
    }

    /// Asks the running engine.
    pub(crate) fn ask(&self, request: &Request) -> Result<Response> {
        Ok(Client::connect(&self.socket)?.ask(request)?)
    }

    pub(crate) fn status(&self) -> Result<Status> {
        match self.ask(&Request::Status {})? {
            Response::Status(status) => Ok(*status),
            other => bail!("not a status: {other:?}"),
        }
    }

    /// Packets that the engine itself dropped for a reason, over all queues.
    pub(crate) fn dropped(&self, reason: &str) -> Result<u64> {
        let queues = self.status()?.queues;
        Ok(queues.iter().filter_map(|queue| queue.dropped.get(reason)).sum())
    }

    /// Packets that went on unscored for a reason, over all queues.
    pub(crate) fn unscored(&self, reason: &str) -> Result<u64> {
        let queues = self.status()?.queues;
        Ok(queues.iter().filter_map(|queue| queue.unscored.get(reason)).sum())
    }

    /// Waits until a condition on the status holds.
    pub(crate) fn wait_for_status(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Result<Status> {
        let mut last = None;
        wait_for(what, SOON, || {
            last = self.status().ok();
            last.clone().filter(|status| holds(status))
        })
        .with_context(|| format!("{last:#?}"))
    }

    /// The status when everything that has happened shows in it: queues publish their counters every 10 ms, and within
    /// another 10 ms after the last packet.
    pub(crate) fn settled_status(&self) -> Result<Status> {
        thread::sleep(SETTLED);
        self.status()
    }

    /// Packets that the XDP program counted under a reason.
    pub(crate) fn counter(&self, reason: Reason) -> Result<u64> {
        counter(&self.gateway, reason)
    }

    /// `portcullis VERB …` as an operator of this engine.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--socket").arg(&self.socket);
        command
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub(crate) fn tell(&self, arguments: &[&str]) -> Result<String> {
        output_of(&mut self.command(arguments))
    }

    /// Runs a command that must fail, and returns its exit code and what it says.
    pub(crate) fn refuse(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let Output { status, stderr, .. } = self.command(arguments).output().context("starting a command")?;
        ensure!(!status.success(), "{arguments:?} succeeded");
        Ok((
            status.code().unwrap_or(-1),
            String::from_utf8_lossy(&stderr).into_owned(),
        ))
    }
}

impl Drop for RunningEngine {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may end by itself right now.
            let _ = self.child.kill();
            let _ = self.child.wait();
            if std::thread::panicking() {
                eprintln!("the engine's log:\n{}", self.log());
            }
        }
    }
}

/// Packets that the XDP program in this namespace counted under a reason, whether an engine runs or not.
pub(crate) fn counter(gateway: &Namespace, reason: Reason) -> Result<u64> {
    Ok(counters(gateway)?.get(reason))
}

/// All counters.
pub(crate) fn counters(gateway: &Namespace) -> Result<Counters> {
    with_tables(gateway, |tables| Ok(tables.counters()?))
}

/// Works on the pinned maps of the engine in this namespace.
pub(crate) fn with_tables<T: Send>(
    gateway: &Namespace,
    work: impl FnOnce(&mut Tables) -> Result<T> + Send,
) -> Result<T> {
    gateway.enter(|| work(&mut Tables::open(Path::new(PINS))?))?
}

/// What `ip link` shows of the links in a namespace.
pub(crate) fn links(namespace: &Namespace) -> Result<String> {
    output_of(namespace.command("ip").args(["-details", "link", "show"]))
}
