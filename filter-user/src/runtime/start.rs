//! How an engine starts: alone, or in place of the one that runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use filter_common::Action;
use filter_score::Policies;
use tokio::sync::mpsc;

use super::{
    Running, Supplies, events,
    feeds::Feeds,
    jobs,
    keeper::Keeper,
    logging, maps, orders,
    predecessor::Predecessor,
    queue_set::QueueSet,
    queues::{self, QueueThreads},
    reload::InForce,
    saving::Saver,
    second_tier,
    slots::Slots,
    state::State,
    xdp_mode::Choice,
};
use crate::{
    alert::Alerts,
    api::{Api, Credentials, Listeners},
    audit,
    bpf::{AttachError, Attachment, Kernel, LoadOptions, Place, Sizes, Tables, XdpMode, monotonic_ns},
    client::Clients,
    config::{self, Config, ForeignProgram, Offloads, Origin, Queues},
    control::{ControlSocket, Engine, Protected},
    deep::Pool,
    engine::page::Page,
    host::{Bridge, Changes, Claim, Interface, Reinjection, Way, take_off_program},
    latency::{LatencyBook, LatencyRecorder},
    limit::Counts,
    live::{Chronicle, Hub},
    privilege::Privileges,
    ring::SharedQueues,
    tuning::Tuned,
};

/// What a start has to go by.
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) origin: Origin,
    pub(super) tuned: Tuned,
    pub(super) page: Page,
    pub(super) logging: logging::Handle,
    pub(super) credentials: Arc<Credentials>,
    pub(super) privileges: Privileges,
}

/// Starts, in place of the running engine if there is one to replace. Returns the control socket beside the engine, which answers on
/// it.
pub(super) async fn start(plan: Plan, replace: bool) -> anyhow::Result<(Running, ControlSocket)> {
    let path = plan.config.engine.control_socket.clone();
    let interfaces = find(plan.config.interfaces()?).await?;
    let predecessor = if replace {
        Predecessor::find(&plan.config)?
    } else {
        None
    };
    let Some(mut predecessor) = predecessor else {
        let socket = ControlSocket::bind(&path)?;
        let listeners = match &plan.config.api {
            api if api.enabled => Some(Listeners::bind(api, &path)?),
            _ => None,
        };
        let claims = claims(&plan.config, &interfaces).await?;
        let mut running = Running::start(plan, interfaces, None).await?;
        running.claims = claims;
        if let Some(listeners) = listeners {
            running.serve_api(listeners);
        }
        return Ok((running, socket));
    };
    let mut running = match Running::start(plan, interfaces, Some(&mut predecessor)).await {
        Ok(running) => running,
        Err(error) => {
            predecessor.give_back();
            return Err(error);
        }
    };
    predecessor.retire()?;
    let socket = predecessor.wait_for(|| ControlSocket::bind(&path))?;
    let servers = servers(&running.state.config).await?;
    let sides = || running.state.interfaces.iter().chain(&servers);
    let claims = predecessor.wait_for(|| sides().map(Claim::take).collect::<Result<_, _>>())?;
    running.claims = claims;
    predecessor.wait_for(|| running.kernel.claim())?;
    if running.state.config.api.enabled {
        // The engine filters by now, and goes on without.
        match predecessor.wait_for(|| Listeners::bind(&running.state.config.api, &path)) {
            Ok(listeners) => running.serve_api(listeners),
            Err(error) => tracing::error!("no API: {error}"),
        }
    }
    Ok((running, socket))
}

/// All interfaces of the clients.
async fn find(names: &config::Interfaces) -> anyhow::Result<Vec<Interface>> {
    let mut found: Vec<Interface> = Vec::new();
    for name in names.names() {
        let interface = Interface::find(name).await?;
        // An interface may have alternative names.
        if let Some(same) = found.iter().find(|other| other.index == interface.index) {
            anyhow::bail!("{} and {name} are the same interface; name it once", same.name);
        }
        found.push(interface);
    }
    Ok(found)
}

async fn servers(config: &Config) -> anyhow::Result<Option<Interface>> {
    Ok(match &config.engine.server_interface {
        Some(name) => Some(Interface::find(name).await?),
        None => None,
    })
}

async fn claims(config: &Config, interfaces: &[Interface]) -> anyhow::Result<Vec<Claim>> {
    let servers = servers(config).await?;
    let sides = interfaces.iter().chain(&servers);
    Ok(sides.map(Claim::take).collect::<Result<_, _>>()?)
}

impl Running {
    /// Sets everything up, and attaches the program when the queues are ready to read. What was made is taken
    /// back if a later step fails.
    async fn start(
        plan: Plan,
        interfaces: Vec<Interface>,
        predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let Plan {
            config,
            origin,
            tuned,
            page,
            logging,
            credentials,
            privileges,
        } = plan;
        let slots = slots(&config, &interfaces)?;
        let servers = servers(&config).await?;
        let protected = Arc::new(Protected::of_this_host(&config.lists.never_block));

        let mut kernel = Kernel::load(&load_options(
            &config,
            privileges.pin_dir.clone(),
            predecessor.is_some(),
        ))?;
        privileges.programs_are_loaded()?;
        let mut tables = Tables::open(kernel.pin_dir())?;
        let shared = SharedQueues::map(tables.queues()?.fd()).context("cannot map the queue states")?;
        let chronicle = chronicle(&config)?;
        let deep = second_tier::start(&config, &tuned.policies, slots.total(), &chronicle.hub)?;
        let offloads = config.engine.offloads == Offloads::Auto;
        let changes = make_changes(&interfaces, servers.as_ref(), offloads).await?;
        let (latency, recorders) = LatencyBook::new(slots.total() as usize);
        let (events, receiver) = events::channel();
        let supplies = Supplies {
            page,
            events,
            counts: Arc::new(Counts::new(config.limits.max_counted as usize)),
            shared,
        };

        let entry = Entry {
            config: &config,
            interfaces: &interfaces,
            slots: &slots,
            protected: &protected,
            policies: &tuned.policies,
            supplies: &supplies,
            deep: deep.as_ref(),
        };
        let entered = entry
            .enter(&mut kernel, &mut tables, servers, recorders, predecessor)
            .await;
        let Entered {
            way,
            threads,
            attachment,
            choices,
            redirected_before,
        } = match entered {
            Ok(entered) => entered,
            Err(error) => {
                changes.undo().await;
                return Err(error);
            }
        };
        let drops = tables.events()?;
        let kernel_log = EbpfLogger::init(kernel.ebpf_mut()).ok();
        let protection = Arc::clone(&protected);
        let (modes, reasons) = modes(&attachment, &interfaces, &choices, &way, &threads);
        let (orders_in, orders) = mpsc::channel(orders::ORDERS);
        let set = QueueSet::new(&threads, latency, deep, redirected_before);
        let in_force = InForce::new(config, tuned, credentials);
        let state = State::new(
            in_force, origin, interfaces, modes, tables, set, logging, protection, orders_in, chronicle,
        );
        let state = Arc::new(state);
        state.lift_blocks_of(&state.clients());
        state.publish_blocks(&state.tables());
        let saver = Saver::start(&state)?;
        let feeds = Feeds::start(&state)?;
        let keeper = Keeper::start(&state)?;
        let jobs = jobs::start(&state)?;
        let events = events::start(Arc::clone(&state), receiver);
        announce(&state, &reasons, &slots);
        Ok(Self {
            state,
            threads,
            slots,
            attachment,
            way,
            changes,
            supplies,
            events,
            keeper,
            jobs,
            saver,
            feeds,
            orders,
            pending: None,
            claims: Vec::new(),
            api: None,
            protected,
            drops,
            kernel_log,
            kernel,
        })
    }
}

impl Running {
    /// An engine goes on without its API.
    fn serve_api(&mut self, listeners: Listeners) {
        let places = listeners.places();
        let config = &self.state.config;
        let heartbeat = Duration::from_millis(config.limits.heartbeat_timeout_ms.into());
        let engine: Arc<dyn Engine> = Arc::clone(&self.state) as _;
        let protected = Arc::clone(&self.protected);
        match Api::start(
            listeners,
            self.state.credentials.subscribe(),
            &config.api,
            &config.events,
            engine,
            protected,
            heartbeat,
        ) {
            Ok(api) => {
                tracing::info!("API on {places}");
                self.api = Some(api);
            }
            Err(error) => tracing::error!("no API: {error}"),
        }
    }
}

/// How the program is attached to each interface, and why so. What that loses is said.
fn modes(
    attachment: &Attachment,
    interfaces: &[Interface],
    choices: &[Choice],
    way: &Way,
    threads: &QueueThreads,
) -> (Vec<XdpMode>, Vec<&'static str>) {
    let mut modes = Vec::new();
    let mut reasons = Vec::new();
    for (i, (interface, choice)) in interfaces.iter().zip(choices).enumerate() {
        let attached = attachment.modes.get(i).copied().flatten();
        let mode = attached.or(interface.xdp_mode).unwrap_or(XdpMode::Native);
        warn_of(mode, interface, way, threads.in_parts(i));
        modes.push(mode);
        reasons.push(choice.reason_for(attached));
    }
    (modes, reasons)
}

/// Nothing has happened yet.
fn chronicle(config: &Config) -> anyhow::Result<Chronicle> {
    let log = config.audit.enabled.then(|| audit::Log::start(&config.audit));
    let log = log.transpose().context("cannot start the audit log")?;
    Ok(Chronicle {
        hub: Arc::new(Hub::new(config.events.history as usize).with_log(log)),
        trend: Arc::default(),
        alerts: Arc::new(Alerts::new(&config.alerts)),
        board: Arc::default(),
    })
}

/// What it takes to begin to filter.
struct Entry<'a> {
    config: &'a Config,
    interfaces: &'a [Interface],
    slots: &'a Slots,
    protected: &'a Protected,
    policies: &'a Arc<Policies>,
    supplies: &'a Supplies,
    deep: Option<&'a Pool>,
}

/// What is there then.
struct Entered {
    way: Way,
    threads: QueueThreads,
    attachment: Attachment,
    choices: Vec<Choice>,
    redirected_before: u64,
}

impl Entry<'_> {
    /// Starts a thread for each recorder's queue and attaches the programs; in place of the predecessor, if there is one. Takes back what was
    /// made if a later step fails, but for the way that a predecessor goes on with.
    async fn enter(
        self,
        kernel: &mut Kernel,
        tables: &mut Tables,
        servers: Option<Interface>,
        recorders: Vec<LatencyRecorder>,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Entered> {
        let Self {
            config,
            interfaces,
            slots,
            ..
        } = self;
        // From here on a predecessor filters nothing any more.
        let records = match &mut predecessor {
            Some(predecessor) => predecessor.take_over(config)?,
            None => Vec::new(),
        };
        maps::fill(tables, config, self.protected)?;
        // As long as there are no sockets in their map, none is redirected.
        let redirected_before = tables.counters()?.total(Action::Redirect);
        let way = make_way(interfaces, servers, slots, predecessor.is_some(), tables).await?;
        if config.engine.replace_foreign == ForeignProgram::Replace {
            take_off_foreign(kernel, interfaces, &way).await;
        }
        let clients = Arc::new(Clients::new(config, &config.services()));
        let parts = queues::Parts {
            config,
            interfaces,
            slots,
            way: &way,
            tables,
            shared: &self.supplies.shared,
            policies: self.policies,
            clients: &clients,
            page: &self.supplies.page,
            events: &self.supplies.events,
            deep: self.deep,
            counts: &self.supplies.counts,
        };
        let attached = parts
            .start(recorders, &Arc::new(records))
            .and_then(|mut threads| {
                let settings = maps::settings(config, interfaces, tables)?;
                let choices: Vec<_> = interfaces
                    .iter()
                    .enumerate()
                    .map(|(i, interface)| Choice::of(config.engine.xdp_mode, interface, threads.in_parts(i)))
                    .collect();
                if predecessor.is_some() {
                    // What comes before the threads have begun is dropped, as the predecessor has set it.
                    let attachment = attach(kernel, &way, interfaces, &choices)?;
                    threads.begin()?;
                    tables.set_settings(&settings)?;
                    return Ok((threads, attachment, choices));
                }
                threads.begin()?;
                tables.set_settings(&settings)?;
                let attachment = attach(kernel, &way, interfaces, &choices)?;
                Ok((threads, attachment, choices))
            });
        match attached {
            Ok((threads, attachment, choices)) => Ok(Entered {
                way,
                threads,
                attachment,
                choices,
                redirected_before,
            }),
            Err(error) => {
                if predecessor.is_none() {
                    way.remove().await;
                }
                Err(error)
            }
        }
    }
}

/// Changes what has to be otherwise about the interfaces.
async fn make_changes(
    interfaces: &[Interface],
    servers: Option<&Interface>,
    offloads: bool,
) -> anyhow::Result<Changes> {
    let mut changes = Changes::new(interfaces, servers, offloads);
    if let Err(error) = changes.make().await {
        changes.undo().await;
        return Err(error.into());
    }
    Ok(changes)
}

/// Makes the way that accepted packets take.
async fn make_way(
    interfaces: &[Interface],
    servers: Option<Interface>,
    slots: &Slots,
    keep: bool,
    tables: &Tables,
) -> anyhow::Result<Way> {
    if let (Some(servers), [clients]) = (servers, interfaces) {
        tables.set_bridge(clients.index, servers.index)?;
        return Ok(Way::Bridge(Bridge::new(clients.clone(), servers, slots.total())?));
    }
    let mut made = Vec::new();
    for (interface, queues) in interfaces.iter().zip(slots.of_each()) {
        match Reinjection::create(interface, *queues, keep).await {
            Ok(reinjection) => made.push(reinjection),
            Err(error) => {
                if !keep {
                    Way::Host(made).remove().await;
                }
                return Err(error.into());
            }
        }
    }
    Ok(Way::Host(made))
}

/// Takes off programs of others. What cannot be taken off makes attaching fail, which says what to do.
async fn take_off_foreign(kernel: &Kernel, interfaces: &[Interface], way: &Way) {
    let servers = match way {
        Way::Host(_) => None,
        Way::Bridge(bridge) => Some(&bridge.servers),
    };
    for side in interfaces.iter().chain(servers) {
        if side.xdp_mode.is_none() || kernel.has_predecessor(&side.name) {
            continue;
        }
        match take_off_program(side).await {
            Ok(()) => tracing::warn!("{}: the XDP program of somebody else was taken off", side.name),
            Err(error) => tracing::warn!("{}: the XDP program of somebody else stays: {error}", side.name),
        }
    }
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

fn attach(
    kernel: &mut Kernel,
    way: &Way,
    interfaces: &[Interface],
    choices: &[Choice],
) -> anyhow::Result<Attachment> {
    if let (Way::Bridge(bridge), [choice]) = (way, choices) {
        return attach_bridge(kernel, bridge, choice.modes);
    }
    let places: Vec<_> = interfaces
        .iter()
        .zip(choices)
        .map(|(interface, choice)| (Place::Host(&interface.name), choice.modes))
        .collect();
    Ok(Attachment::everywhere(kernel, &places)?)
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

/// The queues that are to be read.
fn slots(config: &Config, interfaces: &[Interface]) -> anyhow::Result<Slots> {
    let of_each = interfaces
        .iter()
        .map(|interface| queue_count(config, interface))
        .collect::<Result<_, _>>()?;
    Slots::new(of_each).with_context(|| match config.interfaces() {
        Ok(interfaces) => format!("cannot filter {interfaces}"),
        Err(error) => error.to_string(),
    })
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
    Ok(count)
}

fn load_options(config: &Config, pin_dir: PathBuf, shared: bool) -> LoadOptions {
    LoadOptions {
        pin_dir,
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

fn announce(state: &State, reasons: &[&str], slots: &Slots) {
    let config = &state.config;
    let modes = state.xdp_modes.iter().zip(reasons);
    let interfaces: Vec<_> = state
        .interfaces
        .iter()
        .zip(modes.zip(slots.of_each()))
        .map(|(interface, ((mode, reason), queues))| {
            let plural = if *queues == 1 { "" } else { "s" };
            format!(
                "{} ({mode} XDP: {reason}; {queues} queue{plural})",
                interface.name
            )
        })
        .collect();
    tracing::info!(
        "filtering {}, {} rules, mode {}, on failure {}",
        interfaces.join(", "),
        state.rules().set.rules().len(),
        config.scoring.mode,
        config.engine.on_failure,
    );
    if let Some(servers) = &config.engine.server_interface {
        tracing::info!("bridging {} and {servers}", state.interface_names());
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
