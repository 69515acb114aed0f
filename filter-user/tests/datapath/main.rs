//! The whole way of a packet, on real links: client, engine and server in network namespaces.
//!
//! Needs root and a kernel with eBPF, `AF_XDP` and veth; without root every test says that it is skipped. Tests
//! that say `serial` in their name load the machine or measure time, and run alone.

mod support;

mod accounting;
mod api;
mod attacks;
mod blocking;
mod blocklist;
mod challenge;
mod clients;
mod dashboard;
mod evasion;
mod failure;
mod flood;
mod forwarding;
mod http_evasion;
mod interfaces;
mod links;
mod mistakes;
mod offloads;
mod placement;
mod polling;
mod queues;
mod reloading;
mod replacing;
mod report;
mod router;
mod second_tier;
mod segmentation;
mod suspicious;
mod takeover;
mod telling;
mod vlan;

/// What the gateway of these tests is.
const GATEWAY: xtask::lab::Gateway = xtask::lab::Gateway::Router;
