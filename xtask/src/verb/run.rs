//! `cargo xtask run`: the engine, on a real interface or in the lab.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::build::Build;
use super::lab::{DEFAULT_NAME, Links};
use crate::lab::wait::wait_for;
use crate::lab::{Gateway, Lab, Nginx, address, engine_config, lifetime};
use crate::privilege;

/// The interface of the lab's gateway that the server is behind.
const LAB_SERVERS: &str = "inside";
/// How long the engine may take until it filters; it compiles its rules first.
const START: Duration = Duration::from_mins(1);
/// How long the engine may take to end when it is told to.
const STOP: Duration = Duration::from_secs(10);

/// Build and run the engine: on an interface, or in the lab with a real HTTP server behind it.
///
/// Without --iface the lab is brought up (namespaces client – gateway – server), the engine runs on the
/// gateway's outside interface, and everything is removed on Ctrl-C.
#[derive(Args, Debug)]
pub struct Run {
    /// Run on this interface of this host instead of the lab; can be repeated.
    #[arg(long, value_delimiter = ',')]
    iface: Vec<String>,
    /// Forward to this second interface (a bump in the wire) instead of this host's own stack; in the lab, to the one that the
    /// server is behind.
    #[arg(long, value_name = "INTERFACE", num_args = 0..=1, default_missing_value = LAB_SERVERS)]
    bridge: Option<String>,
    /// Build the engine without optimisation: it is there some minutes sooner.
    #[arg(long)]
    debug: bool,
    /// An engine that is built already; nothing is set up or built then.
    #[arg(long, hide = true)]
    engine: Option<PathBuf>,
    /// The lab's name.
    #[arg(long, default_value = DEFAULT_NAME, conflicts_with = "iface")]
    name: String,
    #[command(flatten)]
    links: Links,
    /// Flags for the engine.
    #[arg(last = true)]
    flags: Vec<OsString>,
}

impl Run {
    /// Runs the verb until the engine ends or a signal comes.
    ///
    /// # Errors
    /// If something cannot be built or started, or the engine fails.
    pub fn run(&self) -> Result<ExitCode> {
        // Built as the user who asked; only running needs root.
        let engine = if let Some(engine) = &self.engine {
            engine.clone()
        } else {
            let build = Build {
                debug: self.debug,
                ..Build::default()
            };
            build.build()?
        };
        privilege::become_root(&self.arguments(&engine))?;
        if self.iface.is_empty() {
            self.in_lab(&engine)
        } else {
            self.on_interfaces(&engine)
        }
    }

    /// The arguments that lead back here with the engine built.
    fn arguments(&self, engine: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into(), "--engine".into(), engine.into()];
        let interfaces = self.iface.iter().map(|name| ("--iface", name));
        let bridge = self.bridge.iter().map(|name| ("--bridge", name));
        for (option, name) in interfaces.chain(bridge) {
            arguments.extend([option.into(), name.into()]);
        }
        if self.iface.is_empty() {
            arguments.extend(["--name".into(), self.name.as_str().into()]);
        }
        arguments.extend(["--queues".into(), self.links.queues.to_string().into()]);
        if self.links.no_offload {
            arguments.push("--no-offload".into());
        }
        arguments.push("--".into());
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Replaces this process by the engine.
    fn on_interfaces(&self, engine: &Path) -> Result<ExitCode> {
        let mut command = Command::new(engine);
        command.arg("run");
        for interface in &self.iface {
            command.args(["--iface", interface]);
        }
        if let Some(bridge) = &self.bridge {
            command.args(["--bridge", bridge]);
        }
        let error = engine_config::with_few_arenas(&mut command)
            .args(&self.flags)
            .exec();
        Err(error).with_context(|| format!("starting {}", engine.display()))
    }

    fn in_lab(&self, engine: &Path) -> Result<ExitCode> {
        // From here on the signals wait until they are asked for, so that none can skip the cleaning up.
        // Children inherit the mask; the engine unblocks what it handles.
        let signals = signals();
        signals.thread_block().context("blocking signals")?;
        let _lock = lifetime::lock_name(&self.name)?;
        if lifetime::is_left(&self.name) {
            eprintln!("removing the lab that was left up");
            Lab::remove_named(&self.name)?;
        }
        let mut options = self.links.options();
        if self.bridge.is_some() {
            options.gateway = Gateway::Bridge;
        }
        let lab = Lab::start_named(&self.name, &options)?;
        lab.cut_wire()?;
        lifetime::own_pins(&self.name)?;
        let _nginx = Nginx::start(&lab)?;
        let configuration = lab.directory().join("portcullis.toml");
        fs::write(&configuration, engine_config::nginx_services())
            .with_context(|| format!("writing {}", configuration.display()))?;

        let mut command = lab.gateway().command(engine);
        command
            .args(["run", "--config"])
            .arg(&configuration)
            .args(["--iface", "outside"]);
        if self.bridge.is_some() {
            command.args(["--bridge", LAB_SERVERS]);
        }
        command.args(&self.flags);
        // A group of its own: Ctrl-C comes here alone, and the engine is told once.
        let mut child = engine_config::with_few_arenas(&mut command)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the engine")?;
        wait_until_it_filters(&lab, engine, &mut child)?;
        print_advice(engine);
        let ended = wait_for_end(&mut child, &signals);
        let stopped = stop(&mut child);
        eprintln!("removing the lab");
        match ended? {
            None => {
                stopped?;
                Ok(ExitCode::SUCCESS)
            }
            Some(status) => {
                eprintln!("error: the engine ended by itself: {status}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Waits until the engine answers on its control socket, or has ended.
fn wait_until_it_filters(lab: &Lab, engine: &Path, child: &mut Child) -> Result<()> {
    wait_for("the engine answering", START, || {
        let mut status = lab.gateway().command(engine);
        status.arg("status").stdout(Stdio::null()).stderr(Stdio::null());
        let answers = status.status().is_ok_and(|status| status.success());
        let ended = !matches!(child.try_wait(), Ok(None));
        (answers || ended).then_some(())
    })
}

fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]
        .into_iter()
        .collect()
}

/// Waits for a signal (`None`) or the engine's end.
fn wait_for_end(child: &mut Child, signals: &SigSet) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait().context("waiting for the engine")? {
            return Ok(Some(status));
        }
        if signals.wait().context("waiting for a signal")? != Signal::SIGCHLD {
            return Ok(None);
        }
    }
}

/// Tells the engine to end, and kills it if it does not.
fn stop(child: &mut Child) -> Result<()> {
    if child.try_wait().context("looking at the engine")?.is_some() {
        return Ok(());
    }
    eprintln!("stopping the engine");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).context("telling the engine to end")?;
    if wait_for("the engine ending", STOP, || child.try_wait().ok().flatten()).is_err() {
        eprintln!("the engine does not end; killing it");
        child.kill().context("killing the engine")?;
        child.wait().context("waiting for the engine")?;
    }
    Ok(())
}

fn print_advice(engine: &Path) {
    let (v4, v6) = (address::SERVER_V4, address::SERVER_V6);
    let engine = engine.display();
    eprintln!(
        "\n\
         The engine runs on the gateway's outside interface; Ctrl-C removes everything.\n\
         From another terminal, in this directory:\n\
         \n\
         a page     cargo xtask lab exec client -- curl -si http://{v4}/\n\
         over IPv6  cargo xtask lab exec client -- curl -sgi 'http://[{v6}]/1k'\n\
         an upload  cargo xtask lab exec client -- curl -si -F file=@Cargo.lock http://{v4}/sink\n\
         an attack  cargo xtask lab exec client -- curl -si \"http://{v4}/?id=1'+UNION+SELECT+password+FROM+users--\"\n\
         another    cargo xtask lab exec client -- curl -si --path-as-is http://{v4}/../../../../etc/passwd\n\
         load       cargo xtask lab exec client -- wrk -t1 -c32 -d10s --latency http://{v4}/1k\n\
         its state  {engine} status\n\
         latencies  {engine} report\n\
         its maps   ls /sys/fs/bpf/portcullis; bpftool map dump pinned /sys/fs/bpf/portcullis/NAME\n\
         a shell    cargo xtask lab shell client\n"
    );
}
