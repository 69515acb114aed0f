//! A running engine: start, supervision and end.
//!
//! ```text
//!  main thread (tokio)          one thread a queue           events thread                     keeper
//!  ───────────────────          ──────────────────           ─────────────                     ──────
//!  control socket, signals      engine::Worker               reputation, source blocks, log    ended blocks, blocked
//!  the kernel's log ◄─────────── counters, histograms ──┐                                      clients for the queues
//!        │ commands ───────────►                        └──► events ───►
//! ```
//!
//! Beside them a thread each for the API, for the jobs (rates, alerts, snapshots), and for the audit log.

mod allowance;
mod blocked;
mod blocks;
mod board;
mod country_map;
mod events;
mod exclusions;
mod feeds;
mod flow_file;
mod handover;
mod jobs;
mod keeper;
mod listed;
mod logging;
mod maps;
mod notify;
mod operator;
mod orders;
mod placement;
mod predecessor;
mod process;
mod queue_set;
mod queues;
mod reload;
mod saving;
mod second_tier;
mod slots;
mod start;
mod state;
mod trial;
mod watched;
mod xdp_mode;

use std::{
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use nix::sys::signal::{self as sys, SigSet};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::{Api, Credentials},
    bpf::{Attachment, Kernel},
    config::{Config, Origin},
    control::{ControlSocket, Engine as _, Protected, ServerLimits, serve},
    engine::{Event, page::Page},
    host::{Changes, Claim, Way},
    limit::Counts,
    privilege::{self, Privileges},
    ring::SharedQueues,
    schedule::Scheduler,
    tuning::Tuned,
};
use feeds::Feeds;
use handover::{Next, Pending};
use keeper::Keeper;
use notify::Watchdog;
use orders::Order;
use queues::QueueThreads;
use reload::Which;
use saving::Saver;
use slots::Slots;
use start::Plan;
use state::State;

/// How often the supervisor looks at its threads and reads the kernel's logs.
const WATCH: Duration = Duration::from_millis(100);
/// How long packets still in the rings have after the program is detached.
const DRAIN: Duration = Duration::from_millis(50);

/// Filters the configured interfaces until a signal ends it; with `replace`, in place of the engine that runs.
///
/// # Errors
///
/// When the engine cannot start, or fails while it runs: then the program stays attached, and the failure policy
/// holds.
pub fn run(config: Config, origin: Origin, replace: bool) -> anyhow::Result<()> {
    let logging = logging::start(config.engine.log);
    // They may be root's own.
    let group = privilege::group(&config)?;
    let credentials = Credentials::read(&config.api, group)?;
    let privileges = Privileges::reduce(&config, &origin)?;
    if let Err(error) = Credentials::read(&config.api, group) {
        tracing::warn!("reloads cannot take in other credentials of the API: {error}");
    }
    // Everything that can be wrong with the rules is found before the network is touched.
    let tuned = Tuned::load(&config, &origin, &config.services(), None)?;
    if let Some(warning) = tuned.rules.model_warning() {
        tracing::warn!("{warning}");
    }
    let plan = Plan {
        page: queues::page(&config)?,
        config,
        origin,
        tuned,
        logging,
        credentials: Arc::new(credentials),
        privileges,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(engine(plan, replace))
}

async fn engine(plan: Plan, replace: bool) -> anyhow::Result<()> {
    // From here on signals end the engine in order, however far it has come.
    let signals = Signals::new()?;
    let (running, socket) = start::start(plan, replace).await?;
    notify::ready(&format!("filtering {}", running.state.interface_names()));
    running.supervise(socket, signals).await
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        // Whoever started this process may have had them blocked, and the mask is inherited.
        let handled: SigSet = [sys::Signal::SIGINT, sys::Signal::SIGTERM, sys::Signal::SIGHUP]
            .into_iter()
            .collect();
        handled.thread_unblock()?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// All that a running engine owns, but for its control socket.
struct Running {
    state: Arc<State>,
    threads: QueueThreads,
    /// The queues that are read.
    slots: Slots,
    attachment: Attachment,
    way: Way,
    changes: Changes,
    supplies: Supplies,
    events: JoinHandle<()>,
    keeper: Keeper,
    jobs: Scheduler,
    saver: Saver,
    feeds: Feeds,
    orders: mpsc::Receiver<Order>,
    /// Flows were handed over, and it is not known yet what became of them.
    pending: Option<Pending>,
    claims: Vec<Claim>,
    /// What programs ask; none if it is off, or could not be had.
    api: Option<Api>,
    protected: Arc<Protected>,
    drops: RingBuf<MapData>,
    kernel_log: Option<EbpfLogger<&'static dyn log::Log>>,
    /// The programs' file descriptors.
    kernel: Kernel,
}

/// What all threads of queues are made of, those that come later, too.
struct Supplies {
    page: Page,
    events: SyncSender<Event>,
    counts: Arc<Counts>,
    shared: Arc<SharedQueues>,
}

impl Running {
    /// Serves and watches until a signal or a failure.
    async fn supervise(mut self, socket: ControlSocket, mut signals: Signals) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        let mut watch = ticker(WATCH);
        let watch_s = state.config.rules.watch_s;
        let mut look = ticker(Duration::from_secs(u64::from(watch_s.max(1))));
        let mut watchdog = Watchdog::new();
        let file_s = state.config.engine.watch_s;
        let mut look_at_file = ticker(Duration::from_secs(u64::from(file_s.max(1))));
        let outcome = {
            let protected = Arc::clone(&self.protected);
            let server = serve(&socket, Arc::clone(&state), protected, ServerLimits::default());
            let mut server = std::pin::pin!(server);
            loop {
                tokio::select! {
                    _ = signals.interrupt.recv() => break Ok(Next::GoOn),
                    _ = signals.terminate.recv() => break Ok(Next::GoOn),
                    Some(order) = self.orders.recv() => match self.carry_out(order).await {
                        Ok(Next::GoOn) => {}
                        other => break other,
                    },
                    _ = signals.hangup.recv() => reload(&state),
                    _ = look.tick(), if watch_s > 0 => {
                        if state.files_changed(Which::Rules) {
                            reload(&state);
                        }
                    }
                    _ = look_at_file.tick(), if file_s > 0 => {
                        if state.files_changed(Which::Configuration) {
                            reload(&state);
                        }
                    }
                    result = &mut server => {
                        break result.context("the control socket failed").map(|()| Next::GoOn);
                    }
                    _ = watch.tick() => {
                        if let Some(log) = &mut self.kernel_log {
                            log.flush();
                        }
                        // A successor reads them from when it has asked for the flows.
                        if self.pending.is_none() {
                            events::drain_drops(&mut self.drops, &state.chronicle.hub);
                        }
                        if let Err(error) = self.ensure_interfaces() {
                            break Err(error);
                        }
                        state.end_trial();
                        watchdog.feed(|| self.is_alive());
                        if let Some(error) = self.threads.failure() {
                            break Err(error);
                        }
                        if let Err(error) = self.look_after_successor().await {
                            break Err(error);
                        }
                    }
                }
            }
        };
        notify::stopping();
        match outcome {
            // Handed over and not retired: the successor may be there or not, but the programs are not this engine's to take off.
            Ok(Next::Retire) => {
                self.saver.leave();
                tracing::info!("another engine has taken over");
                Ok(())
            }
            Ok(Next::GoOn) if self.pending.is_some() => {
                tracing::warn!(
                    "stopped while another engine was taking over: the XDP program stays attached"
                );
                self.restore_failure_policy();
                Ok(())
            }
            Ok(Next::GoOn) => self.stop().await,
            Err(error) => {
                tracing::error!(
                    "stopping: {error:#}; the XDP program stays attached and the failure policy holds"
                );
                self.restore_failure_policy();
                self.threads.stop();
                if self.ensure_interfaces().is_err() {
                    // There is no successor that would look for it.
                    self.way.remove().await;
                }
                Err(error)
            }
        }
    }

    /// Whether all queues are read, or a successor reads them.
    fn is_alive(&self) -> bool {
        let timeout = Duration::from_millis(self.state.config.limits.heartbeat_timeout_ms.into());
        self.pending.is_some() || self.threads.hung(timeout).is_none()
    }

    /// Sockets and programs of an interface that goes fall silent, and nothing else tells.
    fn ensure_interfaces(&self) -> anyhow::Result<()> {
        let servers = match &self.way {
            Way::Host(_) => None,
            Way::Bridge(bridge) => Some(&bridge.servers),
        };
        for side in self.state.interfaces.iter().chain(servers) {
            let index = nix::net::if_::if_nametoindex(side.name.as_str());
            anyhow::ensure!(
                index == Ok(side.index),
                "the interface {} has gone; start the engine again when it is back",
                side.name
            );
        }
        Ok(())
    }

    /// Takes the program off first, so that what is still in the rings is all there is to handle.
    async fn stop(mut self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        drop(self.api.take());
        self.attachment.detach().context("cannot detach the programs")?;
        tokio::time::sleep(DRAIN).await;
        self.threads.stop();
        drop(self.jobs);
        drop(self.keeper);
        drop(self.feeds);
        drop(self.saver);
        drop(self.supplies);
        if self.events.join().is_err() {
            tracing::warn!("the events thread did not end in order");
        }
        self.way.remove().await;
        self.changes.restore().await;
        let status = self.state.status();
        tracing::info!(
            "stopped after {:.0} s: {} requests, {} blocked, {} packets redirected, {} dropped",
            status.uptime_s,
            status.requests.total(),
            status.requests.block,
            status.packets("redirect"),
            status.packets("drop"),
        );
        Ok(())
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticker.reset();
    ticker
}

fn reload(state: &State) {
    match state.reload(None) {
        Ok(reloaded) => tracing::info!("{}", reloaded.message),
        Err(refusal) => tracing::error!("reload refused: {refusal}"),
    }
}
