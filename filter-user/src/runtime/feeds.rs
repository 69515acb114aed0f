//! The thread that keeps feeds and the map of countries: fetches them, and puts what they list into the maps.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use filter_common::block::Block;
use ipnet::IpNet;

use super::{
    listed::{List, Listed},
    saving::unix_s,
    state::State,
};
use crate::{
    bpf::{Prefix, Tables},
    config::{Config, Feed, FeedAction, GEO, Geo},
    control::{FeedStatus, Refusal, RefusalCode},
    feed::{Copies, Copy, FeedError, Fetched, Fetcher, Validators, parse},
    geo,
};

/// How often the databases of countries are looked at.
const LOOK: Duration = Duration::from_mins(1);
/// After a failure it is tried again after so long; after each further one after twice as long, up to the feed's own time.
const AGAIN: Duration = Duration::from_mins(1);
/// How long a fetch that has begun may go on when the engine ends.
const ENDING: Duration = Duration::from_millis(500);

/// What others ask of the thread.
enum Order {
    /// Another configuration is in force.
    Configure(Box<Config>),
    /// Fetch at once: one feed, or all.
    Refresh(Option<String>),
}

/// What others see of the feeds.
#[derive(Default)]
pub(super) struct Board {
    statuses: Mutex<Vec<FeedStatus>>,
    orders: Mutex<Option<Sender<Order>>>,
}

impl Board {
    fn statuses(&self) -> MutexGuard<'_, Vec<FeedStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    /// Each feed, in the order of the configuration.
    pub(super) fn all(&self) -> Vec<FeedStatus> {
        self.statuses().clone()
    }

    /// Another configuration is in force.
    pub(super) fn configure(&self, config: &Config) {
        self.order(Order::Configure(Box::new(config.clone())));
    }

    /// Has one feed or all fetched at once. Returns how many.
    pub(super) fn refresh(&self, name: Option<&str>) -> Result<u64, Refusal> {
        let count = self
            .statuses()
            .iter()
            .filter(|status| name.is_none_or(|name| status.name == name))
            .count() as u64;
        if count == 0 {
            let message = match name {
                Some(name) => format!("there is no feed {name}"),
                None => "there are no feeds".to_owned(),
            };
            return Err(Refusal::new(
                RefusalCode::NotFound,
                message,
                "`portcullis feeds` lists them",
            ));
        }
        if self.order(Order::Refresh(name.map(str::to_owned))) {
            return Ok(count);
        }
        Err(Refusal::new(
            RefusalCode::Failed,
            "the thread that fetches feeds has ended",
            "see the engine's log",
        ))
    }
}

/// The running thread. It ends when dropped.
pub(super) struct Feeds {
    state: Arc<State>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Feeds {
    /// Puts the copies of feeds in force, and starts the thread.
    pub(super) fn start(state: &Arc<State>) -> anyhow::Result<Self> {
        let tables = Tables::open(state.tables().pin_dir())?;
        let (orders, receiver) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let mut feeding = Feeding {
            state: Arc::clone(state),
            tables,
            fetcher: Fetcher::default(),
            copies: Copies::in_directory(&state.config.engine.state_dir),
            feeds: Vec::new(),
            map: Map::default(),
            watched: HashSet::new(),
        };
        let config = state.rules_state().in_force.config.clone();
        feeding.configure(&config);
        let thread = thread::Builder::new()
            .name("pc-feeds".into())
            .spawn(move || {
                feeding.run(&receiver);
                drop(end);
            })
            .context("cannot start a thread")?;
        *state.feeds.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
        Ok(Self {
            state: Arc::clone(state),
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        let mut orders = self
            .state
            .feeds
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(orders.take());
        drop(orders);
        // It may be waiting for a server; then it ends with the process.
        if self.ended.recv_timeout(ENDING) == Err(RecvTimeoutError::Timeout) {
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that fetches feeds did not end in order");
        }
    }
}

/// A feed and what is known of it.
struct Kept {
    feed: Feed,
    entries: Vec<IpNet>,
    validators: Validators,
    due: Instant,
    failures: u32,
    status: FeedStatus,
}

/// The map of countries.
#[derive(Default)]
struct Map {
    geo: Geo,
    entries: Vec<IpNet>,
    /// The databases as they were when they were read.
    read: Vec<(PathBuf, Option<SystemTime>)>,
    looked: Option<Instant>,
    status: Option<FeedStatus>,
}

struct Feeding {
    state: Arc<State>,
    tables: Tables,
    fetcher: Fetcher,
    copies: Copies,
    feeds: Vec<Kept>,
    map: Map,
    /// What is on the watch list because of feeds.
    watched: HashSet<Prefix>,
}

impl Feeding {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            let changed = self.fetch_due() | self.look_at_map();
            if changed {
                self.put_in_force();
            }
            self.publish();
            let due = self.feeds.iter().map(|kept| kept.due).min();
            let wait = due.map_or(LOOK, |due| {
                due.saturating_duration_since(Instant::now()).min(LOOK)
            });
            match orders.recv_timeout(wait) {
                Ok(Order::Configure(config)) => self.configure(&config),
                Ok(Order::Refresh(name)) => self.make_due(name.as_deref()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn make_due(&mut self, name: Option<&str>) {
        for kept in &mut self.feeds {
            if name.is_none_or(|name| name == kept.feed.name) {
                kept.due = Instant::now();
            }
        }
        if name.is_none_or(|name| name == GEO) {
            self.map.read.clear();
            self.map.looked = None;
        }
    }

    /// Keeps what is known of feeds that stay as they were; others begin with their copies.
    fn configure(&mut self, config: &Config) {
        let mut before: Vec<Kept> = self.feeds.drain(..).collect();
        for feed in &config.feed {
            let same = before.iter().position(|kept| kept.feed == *feed);
            let kept = match same {
                Some(at) => before.swap_remove(at),
                None => self.begin(feed),
            };
            self.feeds.push(kept);
        }
        self.copies.keep(&config.feed);
        if self.map.geo != config.geo {
            self.map = Map {
                geo: config.geo.clone(),
                ..Map::default()
            };
        }
        self.put_in_force();
        self.publish();
    }

    fn begin(&self, feed: &Feed) -> Kept {
        let mut kept = Kept {
            feed: feed.clone(),
            entries: Vec::new(),
            validators: Validators::default(),
            due: Instant::now(),
            failures: 0,
            status: FeedStatus::new(&feed.name, feed.source.masked().to_string(), feed.action),
        };
        match self.copies.read(feed) {
            Ok(Some(copy)) => match parse(feed, &copy.bytes) {
                Ok(entries) => {
                    kept.entries = entries;
                    kept.validators = copy.validators;
                    kept.status.last_success_s = Some(copy.fetched_s);
                }
                Err(error) => tracing::warn!("the copy of feed {} is not used: {error}", feed.name),
            },
            Ok(None) => {}
            Err(error) => tracing::warn!("the copy of feed {} is not used: {error}", feed.name),
        }
        kept
    }

    /// Fetches what is due. Returns whether any entries may have changed.
    fn fetch_due(&mut self) -> bool {
        let mut changed = false;
        for kept in self.feeds.iter_mut().filter(|kept| kept.due <= Instant::now()) {
            kept.status.last_run_s = Some(unix_s());
            let pause = Duration::from_secs(kept.feed.refresh_s.into());
            match kept.fetch(&self.fetcher, &self.copies) {
                Ok(()) => {
                    // Also what is the same: an operator may have ended blocks of it.
                    changed = true;
                    kept.failures = 0;
                    kept.due = Instant::now() + pause;
                    if kept.status.error.take().is_some() {
                        tracing::info!("feed {} is there again", kept.feed.name);
                    }
                }
                Err(error) => {
                    kept.due =
                        Instant::now() + (AGAIN * 2_u32.saturating_pow(kept.failures.min(16))).min(pause);
                    kept.failures += 1;
                    let error = error.to_string();
                    if kept.status.error.as_ref() != Some(&error) {
                        tracing::warn!(
                            "feed {} is not taken: {error}; its {} entries from before stay",
                            kept.feed.name,
                            kept.entries.len()
                        );
                    }
                    kept.status.error = Some(error);
                }
            }
        }
        changed
    }

    /// Reads the databases if they are not those that were read. Returns whether it has.
    fn look_at_map(&mut self) -> bool {
        let map = &mut self.map;
        if !map.geo.has_countries() && map.geo.block_asns.is_empty() {
            return false;
        }
        if map.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return false;
        }
        map.looked = Some(Instant::now());
        let files = [map.geo.database.as_ref(), map.geo.asn_database.as_ref()];
        let now: Vec<_> = files
            .into_iter()
            .flatten()
            .map(|path| {
                (
                    path.clone(),
                    path.metadata().and_then(|file| file.modified()).ok(),
                )
            })
            .collect();
        if map.read == now {
            return false;
        }
        map.read = now;
        let paths: Vec<_> = map
            .read
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        let before = map.status.take().and_then(|status| status.last_success_s);
        let mut status = FeedStatus::new(GEO, paths.join(", "), FeedAction::Block);
        status.last_run_s = Some(unix_s());
        let most = self.state.config.limits.max_list_entries as usize;
        match geo::networks(&map.geo, 2 * most) {
            Ok(networks) => {
                map.entries = networks;
                status.last_success_s = Some(unix_s());
            }
            Err(error) => {
                status.last_success_s = before;
                tracing::warn!(
                    "[geo]: {error}; the {} networks from before stay",
                    map.entries.len()
                );
                status.error = Some(error.to_string());
            }
        }
        map.status = Some(status);
        true
    }

    fn put_in_force(&mut self) {
        let mut lists: Vec<_> = self
            .feeds
            .iter()
            .map(|kept| List {
                name: &kept.feed.name,
                reason: Block::REASON_FEED,
                action: kept.feed.action,
                entries: &kept.entries,
            })
            .collect();
        lists.push(List {
            name: GEO,
            reason: Block::REASON_GEO,
            action: FeedAction::Block,
            entries: &self.map.entries,
        });
        let listed = self
            .state
            .put_lists_in_force(&self.tables, &mut self.watched, &lists);
        let statuses = self.feeds.iter_mut().map(|kept| Some(&mut kept.status));
        for (status, listed) in statuses.chain([self.map.status.as_mut()]).zip(listed) {
            let Some(status) = status else { continue };
            note(status, listed);
        }
    }

    fn publish(&self) {
        let feeds = self.feeds.iter().map(|kept| kept.status.clone());
        *self.state.feeds.statuses() = feeds.chain(self.map.status.clone()).collect();
    }
}

impl Kept {
    fn fetch(&mut self, fetcher: &Fetcher, copies: &Copies) -> Result<(), FeedError> {
        let now = unix_s();
        match fetcher.fetch(&self.feed, &self.validators)? {
            Fetched::Same => {}
            Fetched::New(bytes, validators) => {
                self.entries = parse(&self.feed, &bytes)?;
                self.validators = validators.clone();
                let copy = Copy {
                    bytes,
                    validators,
                    fetched_s: now,
                };
                if let Err(error) = copies.write(&self.feed, &copy) {
                    tracing::warn!(
                        "there is no copy of feed {}: {error}; make engine.state_dir writable",
                        self.feed.name
                    );
                }
            }
        }
        self.status.last_success_s = Some(now);
        Ok(())
    }
}

/// Notes what became of the entries.
fn note(status: &mut FeedStatus, listed: Listed) {
    let Listed {
        in_force,
        protected,
        no_room,
    } = listed;
    if no_room > 0 && status.no_room != no_room {
        tracing::warn!(
            "there is no room for {no_room} entries of {}; raise limits.max_list_entries and start the engine again",
            status.name
        );
    }
    if protected > 0 && status.protected != protected {
        tracing::warn!(
            "{protected} entries of {} hold protected addresses and are left out",
            status.name
        );
    }
    (status.entries, status.protected, status.no_room) = (in_force, protected, no_room);
}
