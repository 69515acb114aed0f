//! What goes over the control socket: one JSON object a line, a response for each request.
//!
//! A request is `{"v":1,"op":"block","target":"192.0.2.7/32","for_s":600}`, its response
//! `{"v":1,"result":"done","message":"…"}` or `{"v":1,"result":"error","code":"…","message":"…","remedy":"…"}`.

use std::{ops::RangeInclusive, path::PathBuf};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::{FeedStatus, Status};
use crate::{
    config::{Change, Config, Level},
    latency::Latencies,
};

/// The version of the protocol. The engine refuses any other, and says so.
pub const VERSION: u32 = 1;

/// The longest request line, in bytes, its newline included.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The longest response line, in bytes: the histograms of 256 queues fit.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// The most entries of one page of a listing.
pub const MAX_PAGE: u32 = 1000;

/// The most targets of one [`Request::BlockAll`]; they fit into a request.
pub const MAX_TARGETS: usize = 1000;

/// The longest reason of a block, in bytes.
pub const MAX_REASON_BYTES: usize = 200;

/// How long a reload may be on trial, in seconds.
pub const TRIAL_S: RangeInclusive<u64> = 5..=3600;

/// A message with the version of the protocol it is written in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// [`VERSION`].
    pub v: u32,
    /// The message.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Versioned<T> {
    /// The message in this version.
    pub fn new(body: T) -> Self {
        Self { v: VERSION, body }
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of the engine.
    Status {},
    /// Block a source.
    Block {
        /// The source.
        target: IpNet,
        /// For so many seconds; none: until it is unblocked.
        for_s: Option<u64>,
        /// Why, for those who list it later.
        #[serde(default)]
        reason: String,
    },
    /// Block many sources.
    BlockAll {
        /// The sources, at most [`MAX_TARGETS`].
        targets: Vec<IpNet>,
        /// For so many seconds; none: until they are unblocked.
        for_s: Option<u64>,
        /// Why, for those who list them later.
        #[serde(default)]
        reason: String,
    },
    /// End a block, and forget the source's offences.
    Unblock {
        /// The source, as it was blocked.
        target: IpNet,
    },
    /// Put a source on the allow list, or take it off.
    Allow {
        /// The source.
        target: IpNet,
        /// Take it off.
        #[serde(default)]
        remove: bool,
    },
    /// A page of what is blocked.
    Blocks(Page),
    /// A page of the allow list.
    Allowed(Page),
    /// The latency histograms.
    Latency {
        /// Start new ones after this.
        #[serde(default)]
        reset: bool,
    },
    /// Read the rules again.
    Reload {
        /// Take it back after so many seconds, within [`TRIAL_S`], unless it is confirmed; none: it stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_within_s: Option<u64>,
        /// Only say what would change.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// The configuration in force.
    Config {},
    /// The feeds.
    Feeds {},
    /// Fetch feeds at once.
    RefreshFeeds {
        /// This one; none: all.
        name: Option<String>,
    },
    /// The reload on trial stays.
    Confirm {},
    /// The reload on trial is taken back.
    Revert {},
    /// Let another engine go on with the flows.
    HandOver(Successor),
    /// It could not: go on as before.
    TakeBack {},
    /// It has taken over: end.
    Retire {},
    /// Give each interface so many queues, and read all of them.
    Queues {
        /// How many.
        count: u32,
    },
    /// Change what is logged until the next start.
    LogLevel {
        /// Of the engine.
        engine: Option<Level>,
        /// Of the XDP program.
        ebpf: Option<Level>,
    },
}

/// The engine that wants to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// Its process.
    pub pid: u32,
    /// The interface that it filters; of several, the names with commas between them.
    pub interface: String,
    /// On a bridge, the interface that the servers are behind.
    pub server_interface: Option<String>,
    /// The format of flow records that it reads.
    pub format: u32,
}

/// What was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The file with the flows' records, for the successor to remove.
    pub records: PathBuf,
    /// How many flows are in it.
    pub flows: u64,
}

/// Which entries of a listing are wanted, in the order of [`IpNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Those behind this one; none: from the first.
    pub after: Option<IpNet>,
    /// At most so many, up to [`MAX_PAGE`].
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            after: None,
            limit: MAX_PAGE,
        }
    }
}

impl Page {
    /// Entries on a full page.
    #[must_use]
    pub fn size(&self) -> usize {
        self.limit.min(MAX_PAGE) as usize
    }

    /// This page of `entries`, which may be in any order.
    #[must_use]
    pub fn of<T>(&self, mut entries: Vec<T>, target: impl Fn(&T) -> IpNet) -> Vec<T> {
        entries.retain(|entry| self.after.is_none_or(|after| target(entry) > after));
        entries.sort_unstable_by_key(&target);
        entries.truncate(self.size());
        entries
    }
}

/// What the engine answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Response {
    /// The state of the engine.
    Status(Box<Status>),
    /// What was handed over.
    HandedOver(HandedOver),
    /// What was asked is done.
    Done {
        /// What exactly.
        message: String,
    },
    /// What a reload has changed, or would.
    Reloaded(Reloaded),
    /// The configuration in force, without secrets.
    Config {
        /// It.
        config: Box<Config>,
    },
    /// The feeds, in the order of the configuration.
    Feeds {
        /// They.
        feeds: Vec<FeedStatus>,
    },
    /// What became of many blocks.
    BlockedAll(Blocked),
    /// A page of what is blocked; the next page is asked for with the last entry's target.
    Blocks {
        /// The entries.
        blocks: Vec<BlockEntry>,
    },
    /// A page of the allow list.
    Allowed {
        /// The entries.
        targets: Vec<IpNet>,
    },
    /// The latency histograms.
    Latency(Latencies),
    /// What was asked cannot be done.
    Error(Refusal),
}

/// What a reload has changed, or would.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reloaded {
    /// All of it in a sentence.
    pub message: String,
    /// What of the configuration has changed and is in force.
    pub applied: Vec<Change>,
    /// What has changed and is not, until the engine starts again.
    pub needs_restart: Vec<Change>,
}

/// What became of many blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Blocked {
    /// How many targets are blocked now.
    pub blocked: u64,
    /// Those that are not. Behind one whose refusal is not [`RefusalCode::Protected`], no others were tried.
    pub refused: Vec<RefusedTarget>,
}

/// One of many targets that is not blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTarget {
    /// Its place among the targets, from 0.
    pub at: usize,
    /// Why.
    pub refusal: Refusal,
}

/// One blocked source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockEntry {
    /// The source.
    #[schemars(with = "String")]
    pub target: IpNet,
    /// Who blocked it.
    pub origin: BlockOrigin,
    /// Seconds until the block ends; none: it stays.
    pub remaining_s: Option<u64>,
    /// Packets dropped because of it.
    pub packets: u64,
    /// Why; empty if it was not written down, as for blocks of an earlier run.
    #[serde(default)]
    pub reason: String,
}

/// Who blocked a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockOrigin {
    /// `lists.block` of the configuration.
    Config,
    /// `portcullis block`.
    Operator,
    /// The source's own requests.
    Reputation,
    /// A `[[feed]]`.
    Feed,
    /// `[geo]`.
    Geo,
    /// Found in the map: an earlier run, or another tool.
    Map,
}

impl std::fmt::Display for BlockOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Config => "config",
            Self::Operator => "operator",
            Self::Reputation => "reputation",
            Self::Feed => "feed",
            Self::Geo => "geo",
            Self::Map => "map",
        })
    }
}

/// Why the engine does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind it is, for scripts.
    pub code: RefusalCode,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    #[serde(default)]
    pub remedy: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The line is not a request.
    BadRequest,
    /// The line is longer than [`MAX_REQUEST_BYTES`].
    TooLong,
    /// The client speaks another version of the protocol.
    Version,
    /// All places for clients are taken.
    Busy,
    /// The target holds an address that must not be blocked.
    Protected,
    /// A reload is on trial, and has to be confirmed or taken back first.
    OnTrial,
    /// There is no such entry.
    NotFound,
    /// A table is full.
    Full,
    /// The rules or the configuration on disk are wrong; those in force stay.
    Invalid,
    /// The engine failed to do it.
    Failed,
}
