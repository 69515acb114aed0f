//! The thread that keeps feeds and the map of countries: fetches them, and puts what they list into the maps.

use std::{
    collections::HashSet,
    mem,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use filter_common::block::Block;
use ipnet::IpNet;

use super::{
    board::Order,
    country_map::CountryMap,
    listed::{List, Listed},
    saving::unix_s,
    state::State,
};
use crate::{
    bpf::{Prefix, Tables},
    config::{Config, Feed, FeedAction, GEO},
    control::FeedStatus,
    feed::{Copies, Copy, Entries, FeedError, Fetched, Fetcher, Validators, parse},
};

/// How long the thread sleeps at most: so often the map of countries is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// After a failure it is tried again after so long; after each further one after twice as long, up to the feed's own time.
const AGAIN: Duration = Duration::from_mins(1);
/// How long a fetch that has begun may go on when the engine ends.
const ENDING: Duration = Duration::from_millis(500);

/// The running thread. It ends when dropped.
pub(super) struct Feeds {
    state: Arc<State>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Feeds {
    /// Starts the thread, which puts the copies of feeds in force.
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
            map: CountryMap::new(state.config.limits.max_list_entries as usize),
            watched: HashSet::new(),
            changed: true,
        };
        let config = state.rules_state().in_force.config.clone();
        let thread = thread::Builder::new()
            .name("pc-feeds".into())
            .spawn(move || {
                feeding.configure(&config);
                feeding.run(&receiver);
                drop(end);
            })
            .context("cannot start a thread")?;
        state.feeds.employ(Some(orders));
        Ok(Self {
            state: Arc::clone(state),
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.state.feeds.employ(None);
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

struct Feeding {
    state: Arc<State>,
    tables: Tables,
    fetcher: Fetcher,
    copies: Copies,
    feeds: Vec<Kept>,
    map: CountryMap,
    /// What is on the watch list because of feeds.
    watched: HashSet<Prefix>,
    /// The maps have to be changed.
    changed: bool,
}

impl Feeding {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            self.look_at_map();
            // What is there, before what may take its time.
            self.put_in_force();
            self.changed |= self.fetch_due();
            self.put_in_force();
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

    fn look_at_map(&mut self) {
        let began = Instant::now();
        if !self.map.look() {
            return;
        }
        self.changed = true;
        let board = &self.state.chronicle.board;
        let Some(status) = self.map.status() else {
            return board.remove(&job(GEO));
        };
        board.add(&job(GEO), LOOK);
        let outcome = match &status.error {
            None => Ok(format!("{} networks", self.map.entries().len())),
            Some(error) => Err(error.clone()),
        };
        board.note(&job(GEO), began.elapsed(), outcome);
    }

    fn make_due(&mut self, name: Option<&str>) {
        for kept in &mut self.feeds {
            if name.is_none_or(|name| name == kept.feed.name) {
                kept.due = Instant::now();
            }
        }
        if name.is_none_or(|name| name == GEO) {
            self.map.forget();
        }
    }

    /// Keeps what is known of feeds that stay as they were; others begin with their copies.
    fn configure(&mut self, config: &Config) {
        let mut before: Vec<Kept> = self.feeds.drain(..).collect();
        let board = Arc::clone(&self.state.chronicle.board);
        for feed in &config.feed {
            board.add(&job(&feed.name), Duration::from_secs(feed.refresh_s.into()));
            let same = |kept: &Kept| (&kept.feed.name, &kept.feed.source) == (&feed.name, &feed.source);
            let kept = match before.iter().position(same) {
                Some(at) => before.swap_remove(at).adapted(feed),
                None => self.begin(feed),
            };
            self.feeds.push(kept);
        }
        for gone in before.iter().map(|kept| kept.feed.name.as_str()) {
            if config.feed.iter().all(|feed| feed.name != gone) {
                board.remove(&job(gone));
            }
        }
        self.copies.keep(&config.feed);
        self.map.configure(&config.geo);
        self.changed = true;
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
                    kept.take(entries);
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
            let began = Instant::now();
            let fetched = kept.fetch(&self.fetcher, &self.copies);
            let outcome = match &fetched {
                Ok(()) => Ok(format!("{} entries", kept.entries.len())),
                Err(error) => Err(error.to_string()),
            };
            let board = &self.state.chronicle.board;
            board.note(&job(&kept.feed.name), began.elapsed(), outcome);
            match fetched {
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

    /// Puts what has changed into the maps, and shows what became of everything.
    fn put_in_force(&mut self) {
        if !mem::take(&mut self.changed) {
            return self.publish();
        }
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
            entries: self.map.entries(),
        });
        let listed = self
            .state
            .put_lists_in_force(&self.tables, &mut self.watched, &lists);
        let statuses = self.feeds.iter_mut().map(|kept| Some(&mut kept.status));
        for (status, listed) in statuses.chain([self.map.status_mut()]).zip(listed) {
            if let Some(status) = status {
                note(status, listed);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let feeds = self.feeds.iter().map(|kept| kept.status.clone());
        *self.state.feeds.statuses() = feeds.chain(self.map.status().cloned()).collect();
    }
}

impl Kept {
    /// The same feed with other settings: what is in force of it stays until it is fetched again, at once.
    fn adapted(mut self, feed: &Feed) -> Self {
        if self.feed != *feed {
            self.feed = feed.clone();
            self.status.action = feed.action;
            self.validators = Validators::default();
            self.due = Instant::now();
        }
        self
    }

    fn take(&mut self, Entries { nets, too_wide }: Entries) {
        if too_wide > 0 && self.status.too_wide != too_wide {
            tracing::warn!(
                "{too_wide} entries of {} are wider than its min_prefix_ipv4 and min_prefix_ipv6, and are left out",
                self.feed.name
            );
        }
        self.entries = nets;
        self.status.too_wide = too_wide;
    }

    fn fetch(&mut self, fetcher: &Fetcher, copies: &Copies) -> Result<(), FeedError> {
        let now = unix_s();
        match fetcher.fetch(&self.feed, &self.validators)? {
            Fetched::Same => {}
            Fetched::New(bytes, validators) => {
                let entries = parse(&self.feed, &bytes)?;
                self.take(entries);
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

/// What the refresh of a feed is called among the jobs.
fn job(feed: &str) -> String {
    format!("feed:{feed}")
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
