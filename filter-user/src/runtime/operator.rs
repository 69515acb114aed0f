//! What operators ask of the running engine.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use filter_common::{Action, Reason, block::Block};
use filter_score::{Family, Policies};
use ipnet::IpNet;
use serde_json::json;

use super::{
    blocks::not_blocked,
    logging,
    maps::prefix,
    notify::Reloading,
    orders::What,
    queue_set::Queue,
    second_tier,
    state::{State, spare_proxies},
    trial::Trial,
};
use crate::{
    audit::Counts,
    bpf::{TableError, Target, XdpMode, monotonic_ns},
    client::ClientCount,
    config::{self, Config, Level},
    control::{
        BaselineStatus, BlockEntry, BlockOrigin, Blocked, Engine, EventsStatus, ExclusionEntry, FeedStatus,
        Fill, HandedOver, InterfaceStatus, NewExclusion, PacketCounter, Page, QueueStatus, Refusal,
        RefusalCode, RefusedTarget, Reloaded, RequestCounters, RulesStatus, SourceRisk, Status, Successor,
    },
    engine::{EngineCounters, EngineDrop},
    flow::DropReason,
    host::Interface,
    latency::Latencies,
    live::{Chronicle, Topic},
};

const NS_PER_S: u64 = 1_000_000_000;
/// Of many targets that are blocked at once, so many are named to those who listen.
const TOLD_TARGETS: usize = 100;

impl Engine for State {
    fn status(&self) -> Status {
        let set = self.queue_set();
        let counters: Vec<_> = set.queues.iter().map(|queue| queue.counters.read()).collect();
        let packets = self.tables().counters().unwrap_or_default();
        let xdp = Reason::ALL.iter().map(|reason| PacketCounter {
            action: action_name(reason.action()).to_owned(),
            reason: bare_name(*reason).to_owned(),
            packets: packets.get(*reason),
        });
        let (rules, reload_on_trial_s) = {
            let state = self.rules_state();
            let rules = &state.in_force.tuned.rules;
            let status = RulesStatus {
                version: rules.version.clone(),
                count: rules.set.rules().len() as u64,
                model: rules.model.clone(),
                reloads: state.reloads,
                last_error: state.last_error.clone(),
            };
            (status, state.trial.as_ref().map(Trial::remaining_s))
        };
        let sources = {
            let reputation = self.reputation();
            Fill::new(reputation.len() as u64, reputation.capacity() as u64)
        };
        let feeds = self.feeds.all();
        let limits = &self.config.limits;
        let interfaces: Vec<_> = self
            .interfaces
            .iter()
            .zip(&self.xdp_modes)
            .map(interface)
            .collect();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            interface: self.interface_names(),
            xdp_mode: interfaces
                .first()
                .map_or(config::XdpMode::Auto, |first| first.xdp_mode),
            interfaces,
            forward: self.config.engine.forward,
            mode: self.rules_state().mode,
            on_failure: self.config.engine.on_failure,
            warnings: Self::warnings(&counters, &rules, &feeds),
            feeds,
            jobs: self.chronicle.board.jobs(),
            rules,
            reload_on_trial_s,
            redirected: packets
                .total(Action::Redirect)
                .saturating_sub(set.redirected_before),
            xdp: xdp.collect(),
            queues: set
                .queues
                .iter()
                .zip(&counters)
                .map(|(queue, counters)| self.queue(queue, counters))
                .collect(),
            requests: requests(&counters),
            clients: clients(&counters),
            deep: set.deep.as_ref().map(|pool| second_tier::status(pool, &counters)),
            baseline: baseline(&counters),
            flows: Fill::new(sum(&counters, |counters| counters.flows), limits.max_flows.into()),
            sources,
            blocks: Fill::new(self.blocked.load(Ordering::Relaxed), limits.max_blocks.into()),
            held_bytes: Fill::new(sum(&counters, |counters| counters.held_bytes), limits.held_bytes),
            events: EventsStatus {
                told: self.telling.told(),
                suppressed: self.telling.suppressed(),
                lost: sum(&counters, |counters| counters.events_lost),
                listeners: self.chronicle.hub.listeners() as u64,
                audited: self.chronicle.hub.written().map_or(0, Counts::written),
                audit_lost: self.chronicle.hub.written().map_or(0, Counts::lost),
            },
        }
    }

    fn exclusions(&self) -> Vec<ExclusionEntry> {
        self.all_exclusions()
    }

    fn exclude(&self, wanted: NewExclusion) -> Result<ExclusionEntry, Refusal> {
        let added = self.add_exclusion(wanted);
        self.tell_change("exclude", added, ToString::to_string)
    }

    fn end_exclusion(&self, id: u64) -> Result<(), Refusal> {
        let ended = State::end_exclusion(self, id);
        self.tell_change("end of an exclusion", ended, |()| {
            format!("exclusion {id} has ended")
        })
    }

    fn chronicle(&self) -> Chronicle {
        self.chronicle.clone()
    }

    fn risks(&self, limit: usize) -> Vec<SourceRisk> {
        let now = monotonic_ns();
        let threshold = self.rules_state().in_force.config.reputation.threshold;
        let worst = self.reputation().worst(limit, now);
        let tables = self.tables();
        let is_blocked = |source: IpAddr| {
            let block = tables.source_blocks.get(&source.into(), 0);
            block.is_ok_and(|block: Block| block.holds(now))
        };
        let risk = |(source, points, strikes)| SourceRisk {
            source: self.source_net(source),
            points,
            threshold: threshold.into(),
            strikes,
            blocked: is_blocked(source),
        };
        worst.into_iter().map(risk).collect()
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.rules_state().in_force.tuned.policies)
    }

    fn block(&self, target: IpNet, for_s: Option<u64>, reason: &str) -> Result<(), Refusal> {
        spare_proxies(&self.clients(), &target)?;
        self.enter(&mut self.tables(), &target, Self::operators_block(for_s))?;
        self.blocks_changed();
        self.note_reasons([target].iter(), reason);
        self.tell_block("blocked", target, "operator", for_s, reason);
        Ok(())
    }

    fn block_all(&self, targets: &[IpNet], for_s: Option<u64>, reason: &str) -> Blocked {
        let clients = self.clients();
        let block = Self::operators_block(for_s);
        let mut refused = Vec::new();
        let mut entered = Vec::with_capacity(targets.len());
        {
            let mut tables = self.tables();
            for (at, target) in targets.iter().enumerate() {
                let result =
                    spare_proxies(&clients, target).and_then(|()| self.enter(&mut tables, target, block));
                let Err(refusal) = result else {
                    entered.push(target);
                    continue;
                };
                let is_protected = refusal.code == RefusalCode::Protected;
                refused.push(RefusedTarget { at, refusal });
                if !is_protected {
                    break;
                }
            }
        }
        self.blocks_changed();
        self.note_reasons(entered.iter().copied(), reason);
        self.chronicle.hub.tell(
            Topic::Blocks,
            &json!({
                "action": "blocked",
                "by": "operator",
                "count": entered.len(),
                "targets": &entered[..entered.len().min(TOLD_TARGETS)],
                "for_s": for_s,
                "reason": reason,
            }),
        );
        Blocked {
            blocked: entered.len() as u64,
            refused,
        }
    }

    fn unblock(&self, target: IpNet) -> Result<(), Refusal> {
        let mut found = false;
        {
            let mut tables = self.tables();
            if self.is_source(&target) {
                let source = Target::Source(target.addr().into());
                found |= self.end(&mut tables, source).map_err(|error| failed(&error))?;
            }
            let listed = Target::Prefix(prefix(&target));
            found |= self.end(&mut tables, listed).map_err(|error| failed(&error))?;
        }
        self.blocks_changed();
        self.reasons().remove(&target);
        let forgotten = target.prefix_len() == self.source_net(target.addr()).prefix_len()
            && self.reputation().forget(target.addr());
        if found || forgotten {
            self.tell_block("unblocked", target, "operator", None, "");
            return Ok(());
        }
        Err(not_blocked(&target))
    }

    fn allow(&self, target: IpNet) -> Result<(), Refusal> {
        self.blocks_changed();
        self.tables()
            .allow(prefix(&target))
            .map_err(|error| full(&error.to_string()))?;
        self.tell_block("allowed", target, "operator", None, "");
        Ok(())
    }

    fn disallow(&self, target: IpNet) -> Result<(), Refusal> {
        self.blocks_changed();
        if self
            .tables()
            .disallow(prefix(&target))
            .map_err(|error| failed(&error))?
        {
            self.tell_block("disallowed", target, "operator", None, "");
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::NotFound,
            format!("{} is not on the allow list", config::short_cidr(&target)),
            "`portcullis allow` without an address lists what is",
        ))
    }

    fn blocks(&self, page: Page) -> Result<Vec<BlockEntry>, Refusal> {
        let entries = self.page_of_blocks(page)?;
        let now = monotonic_ns();
        let reasons = self.reasons();
        Ok(entries
            .into_iter()
            .map(|(target, block)| BlockEntry {
                target,
                origin: origin(&block),
                remaining_s: (block.until_ns != 0)
                    .then(|| block.until_ns.saturating_sub(now).div_ceil(NS_PER_S)),
                packets: block.hits,
                reason: reasons.get(&target).map(ToString::to_string).unwrap_or_default(),
            })
            .collect())
    }

    fn allowed(&self, page: Page) -> Result<Vec<IpNet>, Refusal> {
        let prefixes = self.tables().allowed();
        let nets = prefixes.into_iter().map(IpNet::from).collect();
        Ok(page.of(nets, |net| *net))
    }

    fn latencies(&self, reset: bool) -> Latencies {
        self.queue_set().latency.snapshot(reset)
    }

    fn reload(&self, trial: Option<Duration>) -> Result<Reloaded, Refusal> {
        let _reloading = Reloading::begin();
        self.tell_change("reload", self.reload_for(trial), |reloaded| {
            reloaded.message.clone()
        })
    }

    fn preview_reload(&self) -> Result<Reloaded, Refusal> {
        State::preview_reload(self)
    }

    fn config(&self) -> Config {
        self.rules_state().in_force.config.masked()
    }

    fn feeds(&self) -> Vec<FeedStatus> {
        self.feeds.all()
    }

    fn refresh_feeds(&self, name: Option<&str>) -> Result<u64, Refusal> {
        self.feeds.refresh(name)
    }

    fn confirm(&self) -> Result<String, Refusal> {
        self.tell_change("confirm", self.confirm_trial(), String::clone)
    }

    fn revert(&self) -> Result<String, Refusal> {
        self.tell_change("revert", self.revert_trial(), String::clone)
    }

    fn hand_over(&self, successor: &Successor) -> Result<HandedOver, Refusal> {
        self.order(What::HandOver(successor.clone()))?
            .ok_or_else(|| Refusal::new(RefusalCode::Failed, "nothing was handed over", ""))
    }

    fn take_back(&self) -> Result<(), Refusal> {
        self.order(What::TakeBack).map(drop)
    }

    fn retire(&self) -> Result<(), Refusal> {
        self.order(What::Retire).map(drop)
    }

    fn set_queues(&self, count: u32) -> Result<(), Refusal> {
        self.order(What::Queues(count)).map(drop)
    }

    fn set_log_level(&self, engine: Option<Level>, ebpf: Option<Level>) -> Result<(), Refusal> {
        if let Some(level) = ebpf
            && logging::ebpf_level(level) != logging::ebpf_level(self.config.engine.ebpf_log)
        {
            return Err(Refusal::new(
                RefusalCode::Failed,
                "the XDP program's log level is compiled in when it is loaded",
                format!("set engine.ebpf_log = \"{level}\" and restart the engine"),
            ));
        }
        if let Some(level) = engine {
            self.logging
                .set(level)
                .map_err(|error| Refusal::new(RefusalCode::Failed, error.to_string(), ""))?;
        }
        Ok(())
    }
}

impl State {
    /// Tells what became of a change of what is in force.
    fn tell_change<T>(
        &self,
        action: &str,
        outcome: Result<T, Refusal>,
        message: impl Fn(&T) -> String,
    ) -> Result<T, Refusal> {
        let body = match &outcome {
            Ok(done) => json!({ "action": action, "done": true, "message": message(done) }),
            Err(refusal) => json!({ "action": action, "done": false, "message": refusal.message }),
        };
        self.chronicle.hub.tell(Topic::Config, &body);
        outcome
    }

    /// Whether the target is keyed as a single source.
    pub(super) fn is_source(&self, target: &IpNet) -> bool {
        target.prefix_len() == self.source_net(target.addr()).prefix_len()
    }

    fn queue(&self, queue: &Queue, counters: &EngineCounters) -> QueueStatus {
        let limits = &self.config.limits;
        let heartbeat = queue.handle.heartbeat();
        let age = match heartbeat {
            0 => self.started.elapsed(),
            beat => Duration::from_nanos(monotonic_ns().saturating_sub(beat)),
        };
        let in_flight = queue.handle.redirected().saturating_sub(queue.handle.consumed());
        QueueStatus {
            queue: queue.slot.number,
            interface: self.interfaces[queue.slot.interface].name.clone(),
            rx_queue: queue.slot.rx_queue,
            cpu: queue.cpu,
            zero_copy: queue.zero_copy,
            heartbeat_age_ms: age.as_millis() as u64,
            read: counters.read,
            received: counters.received,
            joined: counters.joined,
            stalled: counters.stalled,
            fragments: counters.fragments,
            urgent: counters.urgent,
            handed_over: counters.handed_over,
            forwarded: counters.forwarded,
            dropped: dropped(counters),
            unscored: unscored(counters),
            lost: counters.lost,
            injected: counters.injected,
            credits: Fill::new(in_flight, limits.credits_per_queue().into()),
            held: Fill::new(counters.held, u64::from(limits.frames_per_queue) / 4),
            flows: counters.flows,
        }
    }

    fn warnings(counters: &[EngineCounters], rules: &RulesStatus, feeds: &[FeedStatus]) -> Vec<String> {
        let mut warnings = Vec::new();
        let leaked = crate::ring::leaked_frames();
        if leaked > 0 {
            warnings.push(format!(
                "{leaked} frames were lost inside the engine: a bug, please report it"
            ));
        }
        let lost = sum(counters, |counters| counters.events_lost);
        if lost > 0 {
            warnings.push(format!(
                "{lost} decisions came too fast to be logged and counted as offences"
            ));
        }
        let full = sum(counters, |counters| {
            counters.unscored[0] + counters.dropped[EngineDrop::TableFull as usize]
        });
        if full > 0 {
            warnings.push(format!(
                "the flow table was full for {full} packets; raise limits.max_flows"
            ));
        }
        if let Some(error) = &rules.model.error {
            let instead = rules
                .model
                .version
                .as_ref()
                .map_or("the rules judge alone", |_| "the model before it stays");
            warnings.push(format!("the model cannot be used, {instead}: {error}"));
        }
        if let Some(error) = &rules.last_error {
            warnings.push(format!("the last reload was refused: {error}"));
        }
        for feed in feeds {
            if let Some(error) = &feed.error {
                warnings.push(format!("feed {} is not taken: {error}", feed.name));
            }
            if feed.no_room > 0 {
                warnings.push(format!(
                    "there is no room for {} entries of feed {}; raise limits.max_list_entries",
                    feed.no_room, feed.name
                ));
            }
        }
        warnings
    }
}

fn interface((interface, mode): (&Interface, &XdpMode)) -> InterfaceStatus {
    InterfaceStatus {
        name: interface.name.clone(),
        xdp_mode: match mode {
            XdpMode::Generic => config::XdpMode::Generic,
            XdpMode::Native => config::XdpMode::Native,
        },
    }
}

fn requests(counters: &[EngineCounters]) -> RequestCounters {
    let mut families = BTreeMap::new();
    for family in Family::ALL {
        let count = sum(counters, |counters| counters.families[*family as usize]);
        if count > 0 {
            families.insert(family.name().to_owned(), count);
        }
    }
    let known = |at: usize| sum(counters, |counters| counters.known[at]);
    RequestCounters {
        known_lines: [known(0), known(1)],
        known_fields: [known(2), known(3)],
        allow: sum(counters, |counters| counters.requests[0]),
        suspicious: sum(counters, |counters| counters.requests[1]),
        block: sum(counters, |counters| counters.requests[2]),
        malformed: sum(counters, |counters| counters.malformed),
        cached: sum(counters, |counters| counters.cached),
        detect_only: sum(counters, |counters| counters.detect_only),
        excluded: sum(counters, |counters| counters.excluded),
        families,
    }
}

fn clients(counters: &[EngineCounters]) -> BTreeMap<String, u64> {
    let count = |what: &ClientCount| {
        (
            what.name(),
            sum(counters, |counters| counters.clients[*what as usize]),
        )
    };
    named(ClientCount::ALL.iter().map(count))
}

/// What is learnt of parameters; `None` if no service has a baseline.
fn baseline(counters: &[EngineCounters]) -> Option<BaselineStatus> {
    let of = |number: usize| sum(counters, |counters| counters.baseline[number]);
    let [profiles, mature, capacity] = [0, 1, 2].map(of);
    (capacity > 0).then(|| BaselineStatus {
        parameters: Fill::new(profiles, capacity),
        mature,
    })
}

fn dropped(counters: &EngineCounters) -> BTreeMap<String, u64> {
    let engine = EngineDrop::ALL
        .iter()
        .map(|reason| (reason.name(), counters.dropped[*reason as usize]));
    let stream = DropReason::ALL
        .iter()
        .map(|reason| (reason.name(), counters.stream_dropped[*reason as usize]));
    named(engine.chain(stream))
}

fn unscored(counters: &EngineCounters) -> BTreeMap<String, u64> {
    use crate::engine::counters::Unscored;
    named(
        Unscored::ALL
            .iter()
            .map(|reason| (reason.name(), counters.unscored[*reason as usize])),
    )
}

fn named<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn sum(counters: &[EngineCounters], count: impl Fn(&EngineCounters) -> u64) -> u64 {
    counters.iter().map(count).sum()
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Drop => "drop",
        Action::Pass => "pass",
        Action::Redirect => "redirect",
        Action::Answer => "tx",
    }
}

/// The counter's name without the action, which stands beside it.
fn bare_name(reason: Reason) -> &'static str {
    let name = reason.name();
    name.split_once('_').map_or(name, |(_, rest)| rest)
}

pub(super) fn origin(block: &Block) -> BlockOrigin {
    match block.reason {
        Block::REASON_CONFIGURATION => BlockOrigin::Config,
        Block::REASON_REPUTATION => BlockOrigin::Reputation,
        Block::REASON_FEED => BlockOrigin::Feed,
        Block::REASON_GEO => BlockOrigin::Geo,
        // Written by hand, all fields are zero.
        Block::REASON_OPERATOR if block.since_ns != 0 => BlockOrigin::Operator,
        _ => BlockOrigin::Map,
    }
}

fn full(error: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Full,
        format!("the map takes no more entries: {error}"),
        "remove some, or raise limits.max_list_entries and restart",
    )
}

fn failed(error: &TableError) -> Refusal {
    Refusal::new(RefusalCode::Failed, error.to_string(), "")
}
