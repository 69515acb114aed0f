//! Blocks, and what operators have allowed, are saved now and then and at the end, and put into fresh maps at the start.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash as _, Hasher as _},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use filter_common::block::Block;
use ipnet::IpNet;

use super::{
    maps::prefix,
    operator::origin,
    state::{State, spare_proxies},
};
use crate::{
    bpf::{Tables, monotonic_ns},
    control::BlockOrigin,
    saved::{Header, Read, Saved, SavedBlocks, SavedError},
    schedule::Outcome,
};

/// How often what has changed is saved: a crash of the machine loses so much.
const SAVE: Duration = Duration::from_secs(30);
/// What that is called among the jobs.
const SAVING: &str = "saving";
const NS_PER_S: u64 = 1_000_000_000;

/// The running thread. When dropped it saves once more, and ends.
pub(super) struct Saver {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// Restores what was saved, and starts the thread.
    pub(super) fn start(state: &Arc<State>) -> anyhow::Result<Self> {
        let file = SavedBlocks::in_directory(&state.config.engine.state_dir);
        let pin_dir = state.tables().pin_dir().to_owned();
        let tables = Tables::open(&pin_dir)?;
        let maps = Maps {
            blocks: tables.block_maps()?,
            allows: tables.allow_maps()?,
        };
        state.restore(&file, &tables, maps);
        let (stop, stopped) = mpsc::channel();
        let mut saving = Saving {
            state: Arc::clone(state),
            tables,
            maps,
            file,
            saved: None,
            error: None,
        };
        let thread = thread::Builder::new()
            .name("pc-saver".into())
            .spawn(move || saving.run(&stopped))
            .context("cannot start a thread")?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Saver {
    /// Another engine has taken over, and saves what is in the maps: this one ends without.
    pub(super) fn leave(&self) {
        if let Some(stop) = &self.stop {
            // A thread that has ended saves nothing anyway.
            let _ = stop.send(());
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that saves the blocks did not end in order");
        }
    }
}

/// The identities of the maps, as [`Tables::block_maps`] and [`Tables::allow_maps`] have them.
#[derive(Clone, Copy)]
struct Maps {
    blocks: [u32; 3],
    allows: [u32; 2],
}

struct Saving {
    state: Arc<State>,
    tables: Tables,
    maps: Maps,
    file: SavedBlocks,
    /// What stands for all that is in the file.
    saved: Option<u64>,
    /// The last failure, which is said once.
    error: Option<String>,
}

impl Saving {
    fn run(&mut self, stopped: &Receiver<()>) {
        let board = Arc::clone(&self.state.chronicle.board);
        board.add(SAVING, SAVE);
        loop {
            let began = Instant::now();
            let outcome = self.save();
            board.note(SAVING, began.elapsed(), outcome);
            match stopped.recv_timeout(SAVE) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // What is wrong is in the log.
                    let _ = self.save();
                    return;
                }
                // Another engine saves them now.
                Ok(()) => return,
            }
        }
    }

    fn save(&mut self) -> Outcome {
        let mut blocks = self.state.blocks_to_save(&self.tables);
        blocks.sort_unstable_by_key(|(target, _)| *target);
        let allowed = self.tables.allowed_by_operators();
        let mut allows: Vec<_> = allowed.into_iter().map(IpNet::from).collect();
        allows.sort_unstable();
        let reasons = self.state.reasons();
        let mut hasher = DefaultHasher::new();
        for (target, block) in &blocks {
            let reason = reasons.get(target);
            (target, block.until_ns, block.reason, block.strikes, reason).hash(&mut hasher);
        }
        drop(reasons);
        allows.hash(&mut hasher);
        let count = format!("{} blocks, {} allows", blocks.len(), allows.len());
        let stands_for_them = hasher.finish();
        if self.saved == Some(stands_for_them) {
            return Ok(format!("nothing has changed: {count}"));
        }
        let (wall_s, now_ns) = (unix_s(), monotonic_ns());
        let header = Header::new(wall_s, boot(), self.maps.blocks, self.maps.allows);
        let entries = blocks.into_iter().map(|(target, block)| Saved {
            target,
            until_s: (block.until_ns != 0)
                .then(|| wall_s.saturating_add(block.until_ns.saturating_sub(now_ns).div_ceil(NS_PER_S))),
            by: origin(&block),
            strikes: block.strikes,
            reason: self
                .state
                .reasons()
                .get(&target)
                .map(ToString::to_string)
                .unwrap_or_default(),
        });
        match self.file.write(&header, &allows, entries) {
            Ok(()) => {
                self.saved = Some(stands_for_them);
                self.error = None;
                Ok(format!("written: {count}"))
            }
            Err(error) => {
                let error = error.to_string();
                if self.error.as_ref() != Some(&error) {
                    tracing::warn!(
                        "blocks are not saved: {error}; make engine.state_dir writable, or name another one"
                    );
                }
                self.error = Some(error.clone());
                Err(error)
            }
        }
    }
}

impl State {
    /// The blocks by operators and by reputation that hold; those of the configuration and of feeds come from there again.
    fn blocks_to_save(&self, tables: &Tables) -> Vec<(IpNet, Block)> {
        let now = monotonic_ns();
        self.blocks_in(tables)
            .filter(|(_, block)| {
                block.holds(now) && matches!(origin(block), BlockOrigin::Operator | BlockOrigin::Reputation)
            })
            .collect()
    }

    /// Puts what was saved into maps that are not those it was in. An engine's own maps outlive it, and know better: there, only
    /// the reasons of blocks come back.
    fn restore(&self, file: &SavedBlocks, tables: &Tables, maps: Maps) {
        let limits = &self.config.limits;
        let most = limits.max_blocks as usize + 4 * limits.max_list_entries as usize;
        let Read {
            header,
            allows,
            blocks,
            left_out,
        } = match file.read(most) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return set_aside(file, &error),
        };
        let old = if header.boot == boot() {
            Maps {
                blocks: header.maps,
                allows: header.allow_maps,
            }
        } else {
            Maps {
                blocks: [0; 3],
                allows: [0; 2],
            }
        };
        self.restore_allows(&allows, |allow| {
            let family = usize::from(!allow.addr().is_ipv4());
            old.allows[family] == maps.allows[family]
        });
        // A clock that has gone back must not prolong anything.
        let wall_s = unix_s().max(header.saved_s);
        let now_ns = monotonic_ns();
        let clients = self.clients();
        let there: HashSet<IpNet> = self.blocks_in(tables).map(|(target, _)| target).collect();
        let (mut restored, mut refused) = (0_u64, left_out as u64);
        for Saved {
            target,
            until_s,
            by,
            strikes,
            reason,
        } in blocks
        {
            let map = self.map_of(&target);
            if there.contains(&target) || old.blocks[map] == maps.blocks[map] {
                if there.contains(&target) {
                    self.note_reasons([target].iter(), &reason);
                }
                continue;
            }
            let until_ns = match until_s {
                None => 0,
                Some(until_s) if until_s <= wall_s => continue,
                Some(until_s) => now_ns.saturating_add((until_s - wall_s).saturating_mul(NS_PER_S)),
            };
            let block = Block {
                until_ns,
                since_ns: now_ns,
                reason: match by {
                    BlockOrigin::Reputation => Block::REASON_REPUTATION,
                    _ => Block::REASON_OPERATOR,
                },
                strikes,
                ..Block::default()
            };
            let entered = self
                .protected()
                .check(&target)
                .and_then(|()| spare_proxies(&clients, &target))
                .and_then(|()| self.enter(&mut self.tables(), &target, block));
            match entered {
                Ok(()) => {
                    self.note_reasons([target].iter(), &reason);
                    restored += 1;
                }
                Err(refusal) => {
                    refused += 1;
                    tracing::debug!("a saved block is left out: {refusal}");
                }
            }
        }
        if restored > 0 || refused > 0 {
            tracing::info!("{restored} saved blocks are in force again, {refused} are left out");
            self.blocks_changed();
        }
    }

    /// Puts what operators have allowed back, but for what `is_known` to be, or not to be, in the maps still.
    fn restore_allows(&self, allows: &[IpNet], is_known: impl Fn(&IpNet) -> bool) {
        let (mut restored, mut refused) = (0_u64, 0_u64);
        for allow in allows.iter().filter(|allow| !is_known(allow)) {
            match self.tables().allow(prefix(allow)) {
                Ok(()) => restored += 1,
                Err(error) => {
                    refused += 1;
                    tracing::debug!("what was allowed is left out: {error}");
                }
            }
        }
        if restored > 0 || refused > 0 {
            tracing::info!("{restored} saved allows are in force again, {refused} are left out");
            self.blocks_changed();
        }
    }

    /// Which of the maps of blocks the target is in, as [`Tables::block_maps`] has them.
    fn map_of(&self, target: &IpNet) -> usize {
        if self.is_source(target) {
            0
        } else if prefix(target).address.is_ipv4() {
            1
        } else {
            2
        }
    }
}

fn set_aside(file: &SavedBlocks, error: &SavedError) {
    let is_broken = matches!(error, SavedError::Broken { .. });
    match is_broken.then(|| file.set_aside()) {
        Some(Ok(aside)) => tracing::error!(
            "the saved blocks cannot be used: {error}; the file is now {}, and the engine starts without them",
            aside.display()
        ),
        Some(Err(aside)) => {
            tracing::error!("the saved blocks cannot be used: {error}; nor set aside: {aside}");
        }

        None => tracing::error!("the saved blocks cannot be read: {error}; the engine starts without them"),
    }
}

/// Seconds of Unix time.
pub(super) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// What tells one boot of the kernel from another; empty if it is unknown.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
