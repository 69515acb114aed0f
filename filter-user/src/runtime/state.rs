//! What the parts of a running engine share.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use filter_common::{Address, block::Block};
use ipnet::IpNet;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{
    blocks::Listing, board::Board, events::Telling, exclusions::Exclusions, logging, orders::Order,
    queue_set::QueueSet, reload::InForce, trial::Trial, watched::Watched,
};
use crate::{
    api::Credentials,
    bpf::{Tables, XdpMode, monotonic_ns},
    client::Clients,
    config::{Config, Mode, Origin, short_cidr},
    control::{Protected, Refusal, RefusalCode},
    host::Interface,
    live::{Chronicle, Topic},
    reputation::{Reputation, Verdict},
    rules::Rules,
};

/// The rules in force and what became of reloads.
pub(super) struct RulesState {
    pub(super) in_force: InForce,
    /// The last reload, while it may be taken back.
    pub(super) trial: Option<Trial>,
    /// Who is trusted to speak for clients.
    pub(super) clients: Arc<Clients>,
    /// Whether decisions are carried out, where a service does not say otherwise.
    pub(super) mode: Mode,
    pub(super) reloads: u64,
    pub(super) last_error: Option<String>,
}

/// Shared by the control server, the events thread and the supervisor. The queues' threads have no part in it.
pub(super) struct State {
    /// As it was at the start; what a reload has changed since is in [`InForce::config`].
    pub(super) config: Config,
    pub(super) origin: Origin,
    pub(super) interfaces: Vec<Interface>,
    /// How the program is attached to each.
    pub(super) xdp_modes: Vec<XdpMode>,
    pub(super) logging: logging::Handle,
    pub(super) started: Instant,
    set: RwLock<Arc<QueueSet>>,
    /// For the supervisor, who owns the threads.
    pub(super) orders: mpsc::Sender<Order>,
    protected: Arc<Protected>,
    pub(super) feeds: Board,
    rules: Mutex<RulesState>,
    folder: Mutex<Option<Watched>>,
    file: Mutex<Option<Watched>>,
    tables: Mutex<Tables>,
    reputation: Mutex<Reputation>,
    /// The queues do not know all blocks yet.
    pub(super) unpublished: AtomicBool,
    /// Blocks of single sources in their map, and how often any was entered: changed with the tables locked.
    pub(super) blocked: AtomicU64,
    pub(super) changes: AtomicU64,
    /// What operators gave as reasons; blocks without one are not in it.
    reasons: Mutex<HashMap<IpNet, Arc<str>>>,
    listing: Mutex<Option<Listing>>,
    exclusions: Mutex<Exclusions>,
    /// What is kept of what has happened.
    pub(super) chronicle: Chronicle,
    pub(super) telling: Telling,
    /// Those in force, for the API.
    pub(super) credentials: watch::Sender<Arc<Credentials>>,
}

impl State {
    #[expect(clippy::too_many_arguments, reason = "the parts of a running engine")]
    pub(super) fn new(
        in_force: InForce,
        origin: Origin,
        interfaces: Vec<Interface>,
        xdp_modes: Vec<XdpMode>,
        tables: Tables,
        set: QueueSet,
        logging: logging::Handle,
        protected: Arc<Protected>,
        orders: mpsc::Sender<Order>,
        chronicle: Chronicle,
    ) -> Self {
        let config = in_force.config.clone();
        Self {
            credentials: watch::Sender::new(Arc::clone(&in_force.credentials)),
            reputation: Mutex::new(Reputation::new(
                &config.reputation,
                config.limits.max_sources as usize,
            )),
            unpublished: AtomicBool::new(true),
            set: RwLock::new(Arc::new(set)),
            orders,
            rules: Mutex::new(RulesState {
                in_force,
                trial: None,
                clients: Arc::new(Clients::new(&config, &config.services())),
                mode: config.scoring.mode,
                reloads: 0,
                last_error: None,
            }),
            folder: Mutex::new(config.rules.folder.clone().map(Watched::new)),
            file: Mutex::new(origin.path().map(|path| Watched::new(path.to_owned()))),
            config,
            origin,
            interfaces,
            xdp_modes,
            logging,
            started: Instant::now(),
            protected,
            feeds: Board::default(),
            blocked: AtomicU64::new(tables.source_blocks.keys().count() as u64),
            changes: AtomicU64::new(0),
            tables: Mutex::new(tables),
            reasons: Mutex::new(HashMap::new()),
            listing: Mutex::new(None),
            exclusions: Mutex::default(),
            chronicle,
            telling: Telling::default(),
        }
    }

    /// The names of the interfaces, with commas between them.
    pub(super) fn interface_names(&self) -> String {
        let names: Vec<_> = self
            .interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        names.join(",")
    }

    /// The queues' threads.
    pub(super) fn queue_set(&self) -> Arc<QueueSet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other threads have taken their place. They know neither the rules nor the blocks of later than the engine's start.
    pub(super) fn replace_queue_set(&self, set: QueueSet) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        self.blocks_changed();
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    pub(super) fn reputation(&self) -> MutexGuard<'_, Reputation> {
        lock(&self.reputation)
    }

    pub(super) fn reasons(&self) -> MutexGuard<'_, HashMap<IpNet, Arc<str>>> {
        lock(&self.reasons)
    }

    pub(super) fn listing(&self) -> MutexGuard<'_, Option<Listing>> {
        lock(&self.listing)
    }

    /// To be locked after [`State::rules_state`], if both are.
    pub(super) fn exclusions(&self) -> MutexGuard<'_, Exclusions> {
        lock(&self.exclusions)
    }

    pub(super) fn rules_state(&self) -> MutexGuard<'_, RulesState> {
        lock(&self.rules)
    }

    /// The folder of rule packs, if there is one.
    pub(super) fn folder(&self) -> MutexGuard<'_, Option<Watched>> {
        lock(&self.folder)
    }

    /// The configuration's file, if there is one.
    pub(super) fn file(&self) -> MutexGuard<'_, Option<Watched>> {
        lock(&self.file)
    }

    /// Addresses that must not be blocked.
    pub(super) fn protected(&self) -> &Protected {
        &self.protected
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Rules {
        self.rules_state().in_force.tuned.rules.clone()
    }

    /// Who is trusted to speak for clients.
    pub(super) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.rules_state().clients)
    }

    /// A request of `source` was an attack. Where decisions are not `enforced`, that is remembered and blocks nobody. What a
    /// trusted proxy does not attribute to a client is nobody's offence.
    pub(super) fn offence(&self, source: IpAddr, now_ns: u64, enforced: bool, is_told: bool) {
        let clients = self.clients();
        if clients.trusted.contains(source) {
            return;
        }
        let (source, points, strikes, verdict) = {
            let mut reputation = self.reputation();
            let verdict = reputation.offence(source, now_ns);
            let key = reputation.source(source);
            (
                key,
                reputation.points(source, now_ns),
                reputation.strikes(source, now_ns),
                verdict,
            )
        };
        self.set_reputation(source, points);
        let risk = json!({
            "source": self.source_net(source),
            "points": points,
            "threshold": self.rules_state().in_force.config.reputation.threshold,
            "strikes": strikes,
            "enforced": enforced,
        });
        // As many as requests are told: the ring of messages is for all topics.
        if is_told {
            self.chronicle.hub.tell_of(Topic::Sources, source, None, &risk);
        }
        let Verdict::Block { for_ns } = verdict else {
            return;
        };
        let net = self.source_net(source);
        if !enforced {
            return;
        }
        if let Err(refusal) = self
            .protected
            .check(&net)
            .and_then(|()| spare_proxies(&clients, &net))
        {
            tracing::warn!("{refusal}");
            return;
        }
        let block = Block {
            until_ns: now_ns.saturating_add(for_ns),
            hits: 0,
            since_ns: now_ns,
            reason: Block::REASON_REPUTATION,
            strikes,
        };
        let entered = self.enter_source(&mut self.tables(), source.into(), block);
        match entered {
            Ok(()) => {
                self.blocks_changed();
                let length = Duration::from_nanos(for_ns);
                tracing::info!("source {net} is blocked for {length:?}");
                self.tell_block("blocked", net, "reputation", Some(length.as_secs()), "");
            }
            Err(refusal) => tracing::error!("source {net} cannot be blocked: {refusal}; {}", refusal.remedy),
        }
    }

    /// Tells that something was done about a source.
    pub(super) fn tell_block(&self, action: &str, target: IpNet, by: &str, for_s: Option<u64>, reason: &str) {
        let body = json!({ "action": action, "target": target, "by": by, "for_s": for_s, "reason": reason });
        self.chronicle
            .hub
            .tell_of(Topic::Blocks, target.addr(), None, &body);
    }

    /// The block of addresses that one source stands for.
    pub(super) fn source_net(&self, source: IpAddr) -> IpNet {
        let prefix = match source {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => self.config.reputation.ipv6_prefix.min(128),
        };
        IpNet::new_assert(source, prefix).trunc()
    }

    /// Tells the XDP program what it should think of a source. Only matters to `suspicious` services.
    fn set_reputation(&self, source: IpAddr, points: f64) {
        let key = Address::from(source);
        let mut tables = self.tables();
        let mut entry = tables.sources.get(&key, 0).unwrap_or_default();
        #[expect(
            clippy::cast_sign_loss,
            reason = "points are not negative, and the cast saturates"
        )]
        let reputation = (points * 1000.0) as u32;
        entry.reputation = reputation.max(u32::from(entry.reputation > 0 && points > 0.01));
        if let Err(error) = tables.sources.insert(key, entry, 0) {
            tracing::debug!("cannot note the reputation of {source}: {error}");
        }
    }

    /// Lets reputations in the XDP program's map decay.
    /// Returns how many there are.
    pub(super) fn refresh_reputation(&self) -> usize {
        let now = monotonic_ns();
        let marked: Vec<_> = {
            let tables = self.tables();
            tables
                .sources
                .iter()
                .flatten()
                .filter(|(_, source)| source.reputation > 0)
                .map(|(key, _)| key)
                .collect()
        };
        let count = marked.len();
        for key in marked {
            let source = IpAddr::from(key);
            let points = self.reputation().points(source, now);
            let mut tables = self.tables();
            if let Ok(mut entry) = tables.sources.get(&key, 0) {
                #[expect(
                    clippy::cast_sign_loss,
                    reason = "points are not negative, and the cast saturates"
                )]
                let reputation = (points * 1000.0) as u32;
                entry.reputation = reputation;
                if let Err(error) = tables.sources.insert(key, entry, 0) {
                    tracing::debug!("cannot refresh the reputation of {source}: {error}");
                }
            }
        }
        count
    }
}

/// Refuses a block that would hit a trusted proxy, and with it all of its clients.
pub(super) fn spare_proxies(clients: &Clients, target: &IpNet) -> Result<(), Refusal> {
    if !clients.trusted.overlaps(target) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Protected,
        format!(
            "{} is not blocked: it holds a proxy that clients.trusted_proxies names",
            short_cidr(target)
        ),
        "block its client, or take the proxy off clients.trusted_proxies",
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves nothing half-changed that the next user could not live with.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
