//! The state of a running engine. Counters never go back, and count from the engine's start; those of the XDP program from
//! when its maps were made, which outlive engines.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::{FailurePolicy, FeedAction, Forward, Mode, XdpMode},
    schedule::JobStatus,
};

/// The state of a running engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The engine's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// The interface it filters; of several, the names with commas between them.
    pub interface: String,
    /// The interfaces, in the order in which their queues are numbered.
    #[serde(default)]
    pub interfaces: Vec<InterfaceStatus>,
    /// How the XDP program is attached to the first of them; never `auto`.
    pub xdp_mode: XdpMode,
    /// How accepted packets go on.
    pub forward: Forward,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// What becomes of packets that cannot be inspected.
    pub on_failure: FailurePolicy,
    /// The rules in force.
    pub rules: RulesStatus,
    /// Seconds until the last reload is taken back, if it is on trial.
    #[serde(default)]
    pub reload_on_trial_s: Option<u64>,
    /// What the XDP program did, by action and reason.
    pub xdp: Vec<PacketCounter>,
    /// Packets that the XDP program has redirected since the engine started: those that the queues have read and lost, and
    /// those that are on their way.
    #[serde(default)]
    pub redirected: u64,
    /// The queues.
    pub queues: Vec<QueueStatus>,
    /// The requests that were judged.
    pub requests: RequestCounters,
    /// What was learnt of clients and those who speak for them, by what it is; what there was none of is left out.
    #[serde(default)]
    pub clients: BTreeMap<String, u64>,
    /// The second look at suspicious requests, if there is one.
    #[serde(default)]
    pub deep: Option<DeepStatus>,
    /// What is learnt of the parameters of services, if it is.
    #[serde(default)]
    pub baseline: Option<BaselineStatus>,
    /// Tracked flows.
    pub flows: Fill,
    /// Sources with reputation.
    pub sources: Fill,
    /// Blocks with an end.
    pub blocks: Fill,
    /// Bytes of segments held out of order.
    pub held_bytes: Fill,
    /// What is told of what happens.
    #[serde(default)]
    pub events: EventsStatus,
    /// The feeds, in the order of the configuration.
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    /// What is done now and then.
    #[serde(default)]
    pub jobs: Vec<JobStatus>,
    /// What an operator should look at, in plain words.
    pub warnings: Vec<String>,
}

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedStatus {
    /// Its name; `geo` is that of `[geo]`.
    pub name: String,
    /// Where it is, without secrets.
    pub source: String,
    /// What becomes of its entries.
    pub action: FeedAction,
    /// Entries that are in force.
    pub entries: u64,
    /// Entries that are left out because they hold protected addresses.
    pub protected: u64,
    /// Entries that there was no room for.
    pub no_room: u64,
    /// Entries that are left out because their prefixes are shorter than the feed's bounds.
    #[serde(default)]
    pub too_wide: u64,
    /// When it was last asked for, in seconds of Unix time.
    pub last_run_s: Option<u64>,
    /// When it was last had, in seconds of Unix time.
    pub last_success_s: Option<u64>,
    /// Why it could not be had the last time; then what it had before stays in force.
    pub error: Option<String>,
}

impl FeedStatus {
    /// A feed of which nothing is known yet.
    #[must_use]
    pub fn new(name: &str, source: String, action: FeedAction) -> Self {
        Self {
            name: name.to_owned(),
            source,
            action,
            entries: 0,
            protected: 0,
            no_room: 0,
            too_wide: 0,
            last_run_s: None,
            last_success_s: None,
            error: None,
        }
    }
}

/// A filtered interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// How the XDP program is attached to it; never `auto`.
    pub xdp_mode: XdpMode,
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RulesStatus {
    /// What identifies them: the packs' own version or a digest.
    pub version: String,
    /// How many there are.
    pub count: u64,
    /// The learned model beside them.
    #[serde(default)]
    pub model: ModelStatus,
    /// How often they were reloaded.
    pub reloads: u64,
    /// Why the last reload failed, if it did; then those before it are in force.
    pub last_error: Option<String>,
}

/// The learned model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ModelStatus {
    /// Where it should come from: `builtin`, `off` or a file.
    pub source: String,
    /// The checksum of the one in force; none if the rules judge alone.
    pub version: Option<String>,
    /// Why the one that was asked for is not in force.
    pub error: Option<String>,
}

/// Packets of the XDP program that had the same fate for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PacketCounter {
    /// `pass`, `drop`, `redirect` or `tx`.
    pub action: String,
    /// Why, by the reason's name (`source_blocked`, `bad_tcp_flags`, …).
    pub reason: String,
    /// How many.
    pub packets: u64,
}

/// One receive queue and its thread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatus {
    /// The queue's number, over all interfaces.
    pub queue: u32,
    /// Its interface.
    #[serde(default)]
    pub interface: String,
    /// Its number there.
    #[serde(default)]
    pub rx_queue: u32,
    /// The CPU its thread is pinned to.
    pub cpu: Option<u32>,
    /// Whether the kernel hands over frames without copying them.
    pub zero_copy: bool,
    /// Milliseconds since the thread's last heartbeat.
    pub heartbeat_age_ms: u64,
    /// Packets read, as they were redirected.
    #[serde(default)]
    pub read: u64,
    /// What came of them: each segment of a joined packet for itself, fragments as the packet that they make. Each was
    /// forwarded or dropped, or is held.
    pub received: u64,
    /// Packets that came in parts or were cut into segments.
    #[serde(default)]
    pub joined: u64,
    /// Flows given up in the middle of a request of which nothing more came.
    #[serde(default)]
    pub stalled: u64,
    /// Fragments read; their packets are among those received once they are complete.
    #[serde(default)]
    pub fragments: u64,
    /// Packets whose urgent data were put in line with the rest.
    #[serde(default)]
    pub urgent: u64,
    /// Packets given to the thread of another queue, which knows their flow.
    #[serde(default)]
    pub handed_over: u64,
    /// Packets passed on.
    pub forwarded: u64,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Packets passed on without being scored, by reason; also in `forwarded`.
    pub unscored: BTreeMap<String, u64>,
    /// Packets redirected to the queue that the kernel could not deliver.
    pub lost: u64,
    /// Packets made by the engine: pages, resets.
    pub injected: u64,
    /// Frames of packets redirected and not yet read.
    pub credits: Fill,
    /// Segments held out of order.
    pub held: Fill,
    /// Flows this queue owns.
    pub flows: u64,
}

/// The requests that were judged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RequestCounters {
    /// Those that went on.
    pub allow: u64,
    /// Those that went on and are worth a look.
    pub suspicious: u64,
    /// Those that were blocked, or would have been in detect mode.
    pub block: u64,
    /// Those that do not parse; they are also counted by decision.
    pub malformed: u64,
    /// Those that went on because the same bytes were found clean before.
    #[serde(default)]
    pub cached: u64,
    /// Header lines that were found clean before and so were not scored, and how many were looked up.
    #[serde(default)]
    pub known_lines: [u64; 2],
    /// The same for parameters, members of JSON objects and the like.
    #[serde(default)]
    pub known_fields: [u64; 2],
    /// Those in which a rule above the paranoia level hit, without counting.
    #[serde(default)]
    pub detect_only: u64,
    /// Those in which exclusions kept hits from counting.
    #[serde(default)]
    pub excluded: u64,
    /// Blocked ones by attack family.
    pub families: BTreeMap<String, u64>,
}

impl RequestCounters {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.allow + self.suspicious + self.block
    }
}

/// The second look at suspicious requests, and the threads that take it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeepStatus {
    /// `closed` if requests are looked at, `open` if none is because too many were not answered in time, `half-open` if
    /// some are to see whether that is over; the worst of all queues.
    pub breaker: String,
    /// What became of undecided requests: `submitted`, `answered`, `blocked`, `missed_deadline`, …
    pub requests: BTreeMap<String, u64>,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that no worker has taken yet.
    pub depth: u64,
    /// Workers.
    pub workers: u64,
    /// Times the pool grew.
    pub grown: u64,
    /// Times it shrank.
    pub shrunk: u64,
    /// Workers that panicked and were replaced.
    pub died: u64,
    /// Workers that hung and were replaced.
    pub stalled: u64,
}

/// What is learnt of the parameters of services, over all queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct BaselineStatus {
    /// Parameters of which something is known; each queue learns for itself.
    pub parameters: Fill,
    /// Those that were seen often enough to count.
    pub mature: u64,
}

/// A source with a reputation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRisk {
    /// The source: an address, or the block of addresses that one stands for.
    #[schemars(with = "String")]
    pub source: ipnet::IpNet,
    /// Its points.
    pub points: f64,
    /// With how many it is blocked.
    pub threshold: f64,
    /// How often it was blocked.
    pub strikes: u32,
    /// Whether it is blocked now.
    pub blocked: bool,
}

/// What is told of what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EventsStatus {
    /// Decisions that were told.
    pub told: u64,
    /// Those beyond `events.rate`, which were not.
    pub suppressed: u64,
    /// Those that queues could not hand on.
    pub lost: u64,
    /// Who listens now.
    pub listeners: u64,
    /// Lines of the audit log that were written.
    #[serde(default)]
    pub audited: u64,
    /// Those that found no room before the disk, or no disk.
    #[serde(default)]
    pub audit_lost: u64,
}

/// How full something bounded is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Fill {
    /// How much is in use.
    pub used: u64,
    /// How much there is.
    pub capacity: u64,
}

impl Fill {
    /// A fill level.
    #[must_use]
    pub fn new(used: u64, capacity: u64) -> Self {
        Self { used, capacity }
    }
}

impl std::fmt::Display for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.used, self.capacity)
    }
}

impl Status {
    /// Packets of the XDP program with this action.
    #[must_use]
    pub fn packets(&self, action: &str) -> u64 {
        self.xdp
            .iter()
            .filter(|counter| counter.action == action)
            .map(|counter| counter.packets)
            .sum()
    }
}
