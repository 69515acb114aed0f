//! A running engine: start, supervision and end.
//!
//! ```text
//!  main thread (tokio)          one thread a queue           events thread                     keeper
//!  ───────────────────          ──────────────────           ─────────────                     ──────
//!  control socket, signals      engine::Worker               reputation, source blocks, log    ended blocks, blocked
//!  summaries, logs ◄──────────── counters, histograms ──┐                                      clients for the queues
//!        │ commands ───────────►                        └──► events ───►
//! ```

mod blocked;
mod blocks;
mod events;
mod flow_file;
mod folder;
mod handover;
mod keeper;
mod logging;
mod maps;
mod operator;
mod orders;
mod placement;
mod predecessor;
mod queue_set;
mod queues;
mod reload;
mod second_tier;
mod state;
mod xdp_mode;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use filter_common::Action;
use nix::sys::signal::{self as sys, SigSet};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    bpf::{AttachError, Attachment, Kernel, LoadOptions, Place, Sizes, Tables, XdpMode, monotonic_ns},
    client::Clients,
    config::{self, Config, Offloads, Origin, Queues},
    control::{ControlSocket, Engine as _, Protected, ServerLimits, serve},
    engine::{Event, page::Page},
    host::{Bridge, Changes, Claim, Interface, Reinjection, Way},
    latency::LatencyBook,
    limit::Counts,
    ring::SharedQueues,
    summary::Summary,
    tuning::Tuned,
};
use handover::{Next, Pending};
use keeper::Keeper;
use orders::Order;
use predecessor::Predecessor;
use queue_set::QueueSet;
use queues::QueueThreads;
use state::State;
use xdp_mode::Choice;

/// How often the supervisor looks at its threads and reads the kernel's logs.
const WATCH: Duration = Duration::from_millis(100);
/// How often the reputation in the XDP program's map is refreshed.
const REPUTATION: Duration = Duration::from_secs(30);
/// How long packets still in the rings have after the program is detached.
const DRAIN: Duration = Duration::from_millis(50);

/// Filters the configured interface until a signal ends it; with `replace`, in place of the engine that runs.
///
/// # Errors
///
/// When the engine cannot start, or fails while it runs: then the program stays attached, and the failure policy
/// holds.
pub fn run(config: Config, origin: Origin, replace: bool) -> anyhow::Result<()> {
    let logging = logging::start(config.engine.log);
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
    let (running, socket) = start(plan, replace).await?;
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
    /// How many queues are read.
    queues: u32,
    attachment: Attachment,
    way: Way,
    changes: Changes,
    supplies: Supplies,
    events: JoinHandle<()>,
    keeper: Keeper,
    orders: mpsc::Receiver<Order>,
    /// Flows were handed over, and it is not known yet what became of them.
    pending: Option<Pending>,
    claims: Vec<Claim>,
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

/// What a start has to go by.
struct Plan {
    config: Config,
    origin: Origin,
    tuned: Tuned,
    page: Page,
    logging: logging::Handle,
}

/// Starts, in place of the running engine if there is one to replace. Returns the control socket beside the engine, which answers on
/// it.
async fn start(plan: Plan, replace: bool) -> anyhow::Result<(Running, ControlSocket)> {
    let path = plan.config.engine.control_socket.clone();
    let predecessor = if replace {
        Predecessor::find(&plan.config)?
    } else {
        None
    };
    let Some(mut predecessor) = predecessor else {
        let interface = Interface::find(plan.config.interface()?).await?;
        let socket = ControlSocket::bind(&path)?;
        let claims = claims(&plan.config, &interface).await?;
        let mut running = Running::start(plan, interface, None).await?;
        running.claims = claims;
        return Ok((running, socket));
    };
    let interface = Interface::find(plan.config.interface()?).await?;
    let mut running = match Running::start(plan, interface, Some(&mut predecessor)).await {
        Ok(running) => running,
        Err(error) => {
            predecessor.give_back();
            return Err(error);
        }
    };
    predecessor.retire();
    let socket = predecessor.wait_for(|| ControlSocket::bind(&path))?;
    let sides = [
        Some(running.state.interface.clone()),
        servers(&running.state.config).await?,
    ];
    running.claims =
        predecessor.wait_for(|| sides.iter().flatten().map(Claim::take).collect::<Result<_, _>>())?;
    predecessor.wait_for(|| running.kernel.claim())?;
    Ok((running, socket))
}

async fn servers(config: &Config) -> anyhow::Result<Option<Interface>> {
    Ok(match &config.engine.server_interface {
        Some(name) => Some(Interface::find(name).await?),
        None => None,
    })
}

async fn claims(config: &Config, interface: &Interface) -> anyhow::Result<Vec<Claim>> {
    let servers = servers(config).await?;
    let sides = [Some(interface), servers.as_ref()].into_iter().flatten();
    Ok(sides.map(Claim::take).collect::<Result<_, _>>()?)
}

impl Running {
    /// Sets everything up, and attaches the program when the queues are ready to read. What was made is taken
    /// back if a later step fails.
    async fn start(
        plan: Plan,
        interface: Interface,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let Plan {
            config,
            origin,
            tuned,
            page,
            logging,
        } = plan;
        let replaces = predecessor.is_some();
        let queue_count = queue_count(&config, &interface)?;
        let servers = servers(&config).await?;
        let protected = Arc::new(Protected::of_this_host(&config.lists.never_block));

        let mut kernel = Kernel::load(&load_options(&config, replaces))?;
        let mut tables = Tables::open(kernel.pin_dir())?;
        let drops = tables.events()?;
        let shared = SharedQueues::map(tables.queues()?.fd()).context("cannot map the queue states")?;
        let deep = second_tier::start(&config, &tuned.policies, queue_count)?;
        let offloads = config.engine.offloads == Offloads::Auto;
        let mut changes = Changes::new(&interface, servers.as_ref(), offloads);
        let (latency, recorders) = LatencyBook::new(queue_count as usize);
        let (events, receiver) = events::channel();
        let supplies = Supplies {
            page,
            events,
            counts: Arc::new(Counts::new(config.limits.max_counted as usize)),
            shared,
        };

        // From here on a predecessor filters nothing any more.
        let records = match &mut predecessor {
            Some(predecessor) => predecessor.take_over(&config)?,
            None => Vec::new(),
        };
        maps::fill(&mut tables, &config, &protected)?;
        // As long as there are no sockets in their map, none is redirected.
        let redirected_before = tables.counters()?.total(Action::Redirect);
        let way = make_way(&interface, servers, queue_count, replaces, &tables).await?;
        let clients = Arc::new(Clients::new(&config, &config.services()));
        let parts = queues::Parts {
            config: &config,
            interface: &interface,
            way: &way,
            tables: &tables,
            shared: &supplies.shared,
            policies: &tuned.policies,
            clients: &clients,
            page: &supplies.page,
            events: &supplies.events,
            deep: deep.as_ref(),
            counts: &supplies.counts,
        };
        let changed = changes.make().await.map_err(anyhow::Error::from);
        let attached = changed
            .and_then(|()| parts.start(recorders, &Arc::new(records)))
            .and_then(|threads| {
                let settings = maps::settings(&config, &interface, &tables)?;
                let choice = Choice::of(config.engine.xdp_mode, &interface, threads.in_parts());
                tables.set_settings(&settings)?;
                let attachment = match &way {
                    Way::Host(_) => Attachment::new(&mut kernel, Place::Host(&interface.name), choice.modes)?,
                    Way::Bridge(bridge) => attach_bridge(&mut kernel, bridge, choice.modes)?,
                };
                Ok((threads, attachment, choice))
            });
        let (threads, attachment, choice) = match attached {
            Ok(attached) => attached,
            Err(error) => {
                // What a predecessor is to go on with stays.
                if !replaces {
                    way.remove().await;
                    changes.undo().await;
                }
                return Err(error);
            }
        };
        let kernel_log = EbpfLogger::init(kernel.ebpf_mut()).ok();
        let protection = Arc::clone(&protected);
        let mode = attachment.mode.or(interface.xdp_mode).unwrap_or(XdpMode::Native);
        let reason = choice.reason_for(attachment.mode);
        warn_of(mode, &interface, &way, threads.in_parts());
        let (orders_in, orders) = mpsc::channel(orders::ORDERS);
        let set = QueueSet::new(&threads, latency, deep, redirected_before);
        let state = State::new(
            config, origin, interface, mode, tuned, tables, set, logging, protection, orders_in,
        );
        let state = Arc::new(state);
        state.lift_blocks_of(&state.clients());
        state.publish_blocks(&state.tables());
        let keeper = Keeper::start(&state)?;
        let events = events::start(Arc::clone(&state), receiver);
        announce(&state, reason);
        Ok(Self {
            state,
            threads,
            queues: queue_count,
            attachment,
            way,
            changes,
            supplies,
            events,
            keeper,
            orders,
            pending: None,
            claims: Vec::new(),
            protected,
            drops,
            kernel_log,
            kernel,
        })
    }

    /// Serves and watches until a signal or a failure.
    async fn supervise(mut self, socket: ControlSocket, mut signals: Signals) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        let (mut watch, mut reputation) = (ticker(WATCH), ticker(REPUTATION));
        let summary_every = state.config.report.summary_interval_s;
        let mut summary = ticker(Duration::from_secs(u64::from(summary_every.max(1))));
        let watch_s = state.config.rules.watch_s;
        let mut look = ticker(Duration::from_secs(u64::from(watch_s.max(1))));
        let mut last = state.status();
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
                        if state.folder_changed() {
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
                        events::drain_drops(&mut self.drops);
                        state.end_trial();
                        if let Some(error) = self.threads.failure() {
                            break Err(error);
                        }
                        if let Err(error) = self.look_after_successor().await {
                            break Err(error);
                        }
                    }
                    _ = reputation.tick() => state.refresh_reputation(),
                    _ = summary.tick(), if summary_every > 0 => {
                        let now = state.status();
                        tracing::info!("{}", Summary::between(&last, &now));
                        last = now;
                    }
                }
            }
        };
        match outcome {
            // Handed over and not retired: the successor may be there or not, but the programs are not this engine's to take off.
            Ok(Next::Retire) => {
                tracing::info!("another engine has taken over");
                Ok(())
            }
            Ok(Next::GoOn) if self.pending.is_some() => {
                tracing::warn!(
                    "stopped while another engine was taking over: the XDP program stays attached"
                );
                Ok(())
            }
            Ok(Next::GoOn) => self.stop().await,
            Err(error) => {
                tracing::error!(
                    "stopping: {error:#}; the XDP program stays attached and the failure policy holds"
                );
                self.threads.stop();
                Err(error)
            }
        }
    }

    /// Takes the program off first, so that what is still in the rings is all there is to handle.
    async fn stop(mut self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.attachment.detach().context("cannot detach the programs")?;
        tokio::time::sleep(DRAIN).await;
        self.threads.stop();
        drop(self.keeper);
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

/// Makes the way that accepted packets take.
async fn make_way(
    interface: &Interface,
    servers: Option<Interface>,
    queues: u32,
    keep: bool,
    tables: &Tables,
) -> anyhow::Result<Way> {
    let Some(servers) = servers else {
        return Ok(Way::Host(Reinjection::create(interface, queues, keep).await?));
    };
    tables.set_bridge(interface.index, servers.index)?;
    Ok(Way::Bridge(Bridge::new(interface.clone(), servers, queues)?))
}

/// Says what a mode loses on this interface.
fn warn_of(mode: XdpMode, interface: &Interface, way: &Way, in_parts: bool) {
    if mode == XdpMode::Native && interface.is_veth && matches!(way, Way::Bridge(_)) {
        tracing::warn!(
            "in native mode a veth's frames cross the bridge as they are: at their other ends, leave neither checksums nor \
             cutting segments to hardware (`ethtool -K NAME tx off`), or use generic mode"
        );
    }
    if mode == XdpMode::Generic && !in_parts {
        tracing::warn!(
            "packets that are larger than a frame will be lost: at the other end of a virtual cable, do not leave cutting \
             segments to hardware (`ethtool -K NAME tso off gso off`)"
        );
    }
}

/// Attaches to both sides of a bridge in the first of `modes` that works: in each, other programs belong together.
fn attach_bridge(kernel: &mut Kernel, bridge: &Bridge, modes: &[XdpMode]) -> anyhow::Result<Attachment> {
    // A predecessor's program stays in its mode.
    let taken_over = bridge.clients.xdp_mode;
    let modes = taken_over.as_ref().map_or(modes, std::slice::from_ref);
    let mut failure = None;
    for mode in modes {
        let place = Place::Bridge {
            clients: &bridge.clients.name,
            servers: &bridge.servers.name,
        };
        match Attachment::new(kernel, place, std::slice::from_ref(mode)) {
            Ok(attachment) => return Ok(attachment),
            Err(error @ AttachError::Refused { .. }) => failure = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(failure.map_or_else(|| anyhow::anyhow!("no mode to attach in"), Into::into))
}

fn queue_count(config: &Config, interface: &Interface) -> anyhow::Result<u32> {
    anyhow::ensure!(
        interface.up,
        "{name} is down; bring it up with `ip link set dev {name} up`",
        name = interface.name
    );
    let count = match config.engine.queues {
        Queues::Auto => interface.queues,
        Queues::Count(count) => {
            if count < interface.queues {
                tracing::warn!(
                    "{} has {} RX queues, but only {count} are read: packets of the others fall under the failure policy",
                    interface.name,
                    interface.queues
                );
            }
            count
        }
    };
    anyhow::ensure!(
        count <= interface.queues,
        "{name} has {have} RX queues, engine.queues asks for {count}; lower it, or add queues with `ethtool -L {name} combined {count}`",
        name = interface.name,
        have = interface.queues,
    );
    anyhow::ensure!(
        count <= filter_common::MAX_QUEUES,
        "{} has {count} RX queues, more than the {} that are supported; set engine.queues",
        interface.name,
        filter_common::MAX_QUEUES
    );
    Ok(count)
}

fn load_options(config: &Config, shared: bool) -> LoadOptions {
    LoadOptions {
        pin_dir: PathBuf::from(&config.engine.pin_dir),
        sizes: Sizes {
            flows: config.limits.max_flows,
            sources: config.limits.max_sources,
            blocks: config.limits.max_blocks,
            prefixes: config.limits.max_list_entries,
            // Each service has an entry of its own, and its address one for fragments.
            services: 2 * config::MAX_SERVICES as u32,
        },
        shared,
        log_level: logging::ebpf_level(config.engine.ebpf_log),
    }
}

fn reload(state: &State) {
    match state.reload(None) {
        Ok(message) => tracing::info!("{message}"),
        Err(refusal) => tracing::error!("reload refused: {refusal}"),
    }
}

fn announce(state: &State, reason: &str) {
    let config = &state.config;
    let queues = state.queue_set().queues.len();
    tracing::info!(
        "filtering {} ({} XDP: {reason}; {} queue{}), {} rules, mode {}, on failure {}",
        state.interface.name,
        state.xdp_mode,
        queues,
        if queues == 1 { "" } else { "s" },
        state.rules().set.rules().len(),
        config.scoring.mode,
        config.engine.on_failure,
    );
    if let Some(servers) = &config.engine.server_interface {
        tracing::info!("bridging {} and {servers}", state.interface.name);
    }
    for service in config.services() {
        tracing::info!(
            "service {} port {}: inspect {}{}",
            service.address,
            service.port,
            service.inspect,
            if service.scoring.is_some() {
                ", judged by a policy of its own"
            } else {
                ""
            }
        );
    }
    tracing::debug!("started at {} ns of the monotonic clock", monotonic_ns());
}
