//! What the control server asks of the engine.

use std::{sync::Arc, time::Duration};

use filter_score::Policies;
use ipnet::IpNet;

use super::{
    exclusion::{ExclusionEntry, NewExclusion},
    protocol::{BlockEntry, Blocked, HandedOver, Page, Refusal, Reloaded, Successor},
    status::{FeedStatus, SourceRisk, Status},
};
use crate::{
    config::{Config, Level},
    latency::Latencies,
    live::Chronicle,
};

/// What the control server asks of the engine.
///
/// Calls come from the server's blocking threads, possibly several at once, and may take system calls and
/// locks of their own; the queues' threads must not wait for them. A target has no host bits, a reason at
/// most [`MAX_REASON_BYTES`](super::protocol::MAX_REASON_BYTES). The server has checked a target of
/// [`Engine::block`] or [`Engine::block_all`] against the never-block list.
pub trait Engine: Send + Sync + 'static {
    /// The state.
    fn status(&self) -> Status;

    /// Blocks a source, for `for_s` seconds or until it is unblocked; a block that is there is replaced.
    fn block(&self, target: IpNet, for_s: Option<u64>, reason: &str) -> Result<(), Refusal>;

    /// Blocks many sources, as [`Engine::block`] does each. Protected ones are left out; any other refusal ends it.
    fn block_all(&self, targets: &[IpNet], for_s: Option<u64>, reason: &str) -> Blocked;

    /// Ends a block and forgets the source's offences; an error if there is none.
    fn unblock(&self, target: IpNet) -> Result<(), Refusal>;

    /// Puts a source on the allow list.
    fn allow(&self, target: IpNet) -> Result<(), Refusal>;

    /// Takes a source off the allow list; an error if it is not there.
    fn disallow(&self, target: IpNet) -> Result<(), Refusal>;

    /// A page of what is blocked; see [`Page::of`].
    fn blocks(&self, page: Page) -> Result<Vec<BlockEntry>, Refusal>;

    /// A page of the allow list.
    fn allowed(&self, page: Page) -> Result<Vec<IpNet>, Refusal>;

    /// The exclusions that were made while it runs.
    fn exclusions(&self) -> Vec<ExclusionEntry>;

    /// Lets hits not count from now on. An error if it makes no sense, there are too many, or a reload is on trial.
    fn exclude(&self, wanted: NewExclusion) -> Result<ExclusionEntry, Refusal>;

    /// Lets them count again; an error if there is no such exclusion, or a reload is on trial.
    fn end_exclusion(&self, id: u64) -> Result<(), Refusal>;

    /// The policies that requests are judged by.
    fn policies(&self) -> Arc<Policies>;

    /// What it keeps of what has happened.
    fn chronicle(&self) -> Chronicle;

    /// The sources with the worst reputation, at most `limit`, the worst first.
    fn risks(&self, limit: usize) -> Vec<SourceRisk>;

    /// The latency histograms since the start or the last reset; with `reset`, later ones start anew.
    fn latencies(&self, reset: bool) -> Latencies;

    /// Reads the rules again, and says what is in force now. On an error those in force stay. With a `trial` what was in force
    /// before comes back after that time, unless [`Engine::confirm`] is called; until then an error if one is going on.
    fn reload(&self, trial: Option<Duration>) -> Result<Reloaded, Refusal>;

    /// What [`Engine::reload`] would do; nothing changes.
    fn preview_reload(&self) -> Result<Reloaded, Refusal>;

    /// The configuration in force, without secrets.
    fn config(&self) -> Config;

    /// The feeds, in the order of the configuration.
    fn feeds(&self) -> Vec<FeedStatus>;

    /// Has one feed or all fetched at once, without waiting for it. Returns how many; an error if there is none.
    fn refresh_feeds(&self, name: Option<&str>) -> Result<u64, Refusal>;

    /// Ends a trial: what was reloaded stays. An error if there is none.
    fn confirm(&self) -> Result<String, Refusal>;

    /// Ends a trial: what was in force before comes back at once. An error if there is none.
    fn revert(&self) -> Result<String, Refusal>;

    /// Stops the queues' threads, so that the successor can go on with their flows. Until [`Engine::retire`] or
    /// [`Engine::take_back`] nothing is filtered.
    fn hand_over(&self, successor: &Successor) -> Result<HandedOver, Refusal>;

    /// The successor could not take over: goes on as before.
    fn take_back(&self) -> Result<(), Refusal>;

    /// The successor has taken over: ends, and leaves everything as it is.
    fn retire(&self) -> Result<(), Refusal>;

    /// Gives each interface so many queues, and reads all of them.
    fn set_queues(&self, count: u32) -> Result<(), Refusal>;

    /// Changes what is logged.
    fn set_log_level(&self, engine: Option<Level>, ebpf: Option<Level>) -> Result<(), Refusal>;
}
