//! The tests of the datapath, with an engine that bridges client and server, and those of what only a bridge does.
//!
//! Those of routing, of VLAN devices on the gateway and of several interfaces have no counterpart here; `crossing` has that of tagged
//! flows.

#[path = "../datapath/support/mod.rs"]
mod support;

#[path = "../datapath/accounting.rs"]
mod accounting;
#[path = "../datapath/api.rs"]
mod api;
#[path = "../datapath/attacks.rs"]
mod attacks;
#[path = "../datapath/blocking.rs"]
mod blocking;
#[path = "../datapath/blocklist.rs"]
mod blocklist;
#[path = "../datapath/challenge.rs"]
mod challenge;
#[path = "../datapath/clients.rs"]
mod clients;
mod crossing;
#[path = "../datapath/evasion.rs"]
mod evasion;
#[path = "../datapath/failure.rs"]
mod failure;
#[path = "../datapath/flood.rs"]
mod flood;
#[path = "../datapath/forwarding.rs"]
mod forwarding;
#[path = "../datapath/http_evasion/mod.rs"]
mod http_evasion;
#[path = "../datapath/links.rs"]
mod links;
#[path = "../datapath/mistakes.rs"]
mod mistakes;
#[path = "../datapath/offloads.rs"]
mod offloads;
#[path = "../datapath/placement.rs"]
mod placement;
#[path = "../datapath/polling.rs"]
mod polling;
#[path = "../datapath/queues.rs"]
mod queues;
#[path = "../datapath/reloading.rs"]
mod reloading;
#[path = "../datapath/replacing.rs"]
mod replacing;
#[path = "../datapath/report.rs"]
mod report;
#[path = "../datapath/second_tier.rs"]
mod second_tier;
#[path = "../datapath/segmentation.rs"]
mod segmentation;
#[path = "../datapath/suspicious.rs"]
mod suspicious;
#[path = "../datapath/takeover.rs"]
mod takeover;

/// What the gateway of these tests is.
const GATEWAY: xtask::lab::Gateway = xtask::lab::Gateway::Bridge;
