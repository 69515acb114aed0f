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
mod folder;
mod keeper;
mod logging;
mod maps;
mod operator;
mod placement;
mod queues;
mod reload;
mod second_tier;
mod state;
mod xdp_mode;

use std::{path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use filter_common::Action;
use nix::sys::signal::{self as sys, SigSet};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    bpf::{AttachError, Attachment, Kernel, LoadOptions, Place, Sizes, Tables, XdpMode, monotonic_ns},
    config::{self, Config, Offloads, Origin, Queues},
    control::{ControlSocket, Engine as _, Protected, ServerLimits, serve},
    engine::page::Page,
    host::{Bridge, Changes, Claim, Interface, Reinjection, Way},
    latency::LatencyBook,
    limit::Counts,
    ring::SharedQueues,
    summary::Summary,
    tuning::Tuned,
};
use keeper::Keeper;
use queues::QueueThreads;
use state::State;
use xdp_mode::Choice;

/// How often the supervisor looks at its threads and reads the kernel's logs.
const WATCH: Duration = Duration::from_millis(100);
/// How often the reputation in the XDP program's map is refreshed.
const REPUTATION: Duration = Duration::from_secs(30);
/// How long packets still in the rings have after the program is detached.
const DRAIN: Duration = Duration::from_millis(50);

/// Filters the configured interface until a signal ends it.
///
/// # Errors
///
/// When the engine cannot start, or fails while it runs: then the program stays attached, and the failure policy
/// holds.
pub fn run(config: Config, origin: Origin) -> anyhow::Result<()> {
    let logging = logging::start(config.engine.log);
    // Everything that can be wrong with the rules is found before the network is touched.
    let tuned = Tuned::load(&config, &origin, &config.services(), None)?;
    if let Some(warning) = tuned.rules.model_warning() {
        tracing::warn!("{warning}");
    }
    let page = queues::page(&config)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(engine(config, origin, tuned, page, logging))
}

async fn engine(
    config: Config,
    origin: Origin,
    tuned: Tuned,
    page: Page,
    logging: logging::Handle,
) -> anyhow::Result<()> {
    // From here on signals end the engine in order, however far it has come.
    let signals = Signals::new()?;
    let running = Running::start(config, origin, tuned, &page, logging).await?;
    running.supervise(signals).await
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

/// All that a running engine owns.
struct Running {
    state: Arc<State>,
    threads: QueueThreads,
    attachment: Attachment,
    way: Way,
    changes: Changes,
    events: JoinHandle<()>,
    keeper: Keeper,
    socket: ControlSocket,
    _claims: Vec<Claim>,
    protected: Arc<Protected>,
    drops: RingBuf<MapData>,
    kernel_log: Option<EbpfLogger<&'static dyn log::Log>>,
    /// The programs' file descriptors.
    _kernel: Kernel,
}

impl Running {
    /// Sets everything up, and attaches the program when the queues are ready to read. What was made is taken
    /// back if a later step fails.
    async fn start(
        config: Config,
        origin: Origin,
        tuned: Tuned,
        page: &Page,
        logging: logging::Handle,
    ) -> anyhow::Result<Self> {
        let interface = Interface::find(config.interface()?).await?;
        let queue_count = queue_count(&config, &interface)?;
        let socket = ControlSocket::bind(&config.engine.control_socket)?;
        let servers = match &config.engine.server_interface {
            Some(name) => Some(Interface::find(name).await?),
            None => None,
        };
        let sides = [Some(&interface), servers.as_ref()].into_iter().flatten();
        let claims = sides.map(Claim::take).collect::<Result<_, _>>()?;
        let protected = Arc::new(Protected::of_this_host(&config.lists.never_block));

        let mut kernel = Kernel::load(&load_options(&config))?;
        let mut tables = Tables::open(kernel.pin_dir())?;
        maps::fill(&mut tables, &config, &protected)?;
        let drops = tables.events()?;
        // As long as there are no sockets in their map, none is redirected.
        let redirected_before = tables.counters()?.total(Action::Redirect);
        let shared = SharedQueues::map(tables.queues()?.fd()).context("cannot map the queue states")?;
        let deep = second_tier::start(&config, &tuned.policies, queue_count)?;
        let offloads = config.engine.offloads == Offloads::Auto;
        let mut changes = Changes::new(&interface, servers.as_ref(), offloads);
        let way = make_way(&interface, servers, queue_count, &tables).await?;
        let (latency, recorders) = LatencyBook::new(queue_count as usize);
        let (sender, receiver) = events::channel();

        let counts = Arc::new(Counts::new(config.limits.max_counted as usize));
        let parts = queues::Parts {
            config: &config,
            interface: &interface,
            way: &way,
            tables: &tables,
            shared: &shared,
            tuned: &tuned,
            page,
            events: &sender,
            deep: deep.as_ref(),
            counts: &counts,
        };
        let prepared = changes.make().await.map_err(anyhow::Error::from);
        let attached = prepared
            .and_then(|()| parts.start(recorders))
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
                way.remove().await;
                changes.undo().await;
                return Err(error);
            }
        };
        let kernel_log = EbpfLogger::init(kernel.ebpf_mut()).ok();
        let protection = Arc::clone(&protected);
        let mode = attachment.mode.or(interface.xdp_mode).unwrap_or(XdpMode::Native);
        let reason = choice.reason_for(attachment.mode);
        warn_of(mode, &interface, &way, threads.in_parts());
        let state = State::new(
            config,
            origin,
            interface,
            mode,
            tuned,
            tables,
            redirected_before,
            &threads,
            latency,
            logging,
            protection,
            deep,
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
            attachment,
            way,
            changes,
            events,
            keeper,
            socket,
            _claims: claims,
            protected,
            drops,
            kernel_log,
            _kernel: kernel,
        })
    }

    /// Serves and watches until a signal or a failure.
    async fn supervise(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        let (mut watch, mut reputation) = (ticker(WATCH), ticker(REPUTATION));
        let summary_every = state.config.report.summary_interval_s;
        let mut summary = ticker(Duration::from_secs(u64::from(summary_every.max(1))));
        let watch_s = state.config.rules.watch_s;
        let mut look = ticker(Duration::from_secs(u64::from(watch_s.max(1))));
        let mut last = state.status();
        let outcome = {
            let protected = Arc::clone(&self.protected);
            let server = serve(
                &self.socket,
                Arc::clone(&state),
                protected,
                ServerLimits::default(),
            );
            let mut server = std::pin::pin!(server);
            loop {
                tokio::select! {
                    _ = signals.interrupt.recv() => break Ok(()),
                    _ = signals.terminate.recv() => break Ok(()),
                    _ = signals.hangup.recv() => reload(&state),
                    _ = look.tick(), if watch_s > 0 => {
                        if state.folder_changed() {
                            reload(&state);
                        }
                    }
                    result = &mut server => break result.context("the control socket failed"),
                    _ = watch.tick() => {
                        if let Some(log) = &mut self.kernel_log {
                            log.flush();
                        }
                        events::drain_drops(&mut self.drops);
                        state.end_trial();
                        if let Some(error) = self.threads.failure() {
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
        if let Err(error) = outcome {
            tracing::error!(
                "stopping: {error:#}; the XDP program stays attached and the failure policy holds"
            );
            self.threads.stop();
            return Err(error);
        }
        self.stop().await
    }

    /// Takes the program off first, so that what is still in the rings is all there is to handle.
    async fn stop(mut self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.attachment.detach().context("cannot detach the programs")?;
        tokio::time::sleep(DRAIN).await;
        self.threads.stop();
        drop(self.keeper);
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
    tables: &Tables,
) -> anyhow::Result<Way> {
    let Some(servers) = servers else {
        return Ok(Way::Host(Reinjection::create(interface, queues).await?));
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

fn load_options(config: &Config) -> LoadOptions {
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
    tracing::info!(
        "filtering {} ({} XDP: {reason}; {} queue{}), {} rules, mode {}, on failure {}",
        state.interface.name,
        state.xdp_mode,
        state.queues.len(),
        if state.queues.len() == 1 { "" } else { "s" },
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
