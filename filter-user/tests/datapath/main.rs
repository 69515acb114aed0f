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
mod browser;
mod challenge;
mod cleanup;
mod clients;
mod configuration;
mod dashboard;
mod doctor;
mod evasion;
mod failure;
mod feeds;
mod flood;
mod forwarding;
mod http_evasion;
mod interfaces;
mod links;
mod listeners;
mod mistakes;
mod offloads;
mod placement;
mod polling;
mod privileges;
mod queues;
mod reloading;
mod renewing;
mod replacing;
mod report;
mod router;
mod saved;
mod second_tier;
mod segmentation;
mod service_manager;
mod suspicious;
mod takeover;
mod telling;
mod vlan;

/// What the gateway of these tests is.
const GATEWAY: xtask::lab::Gateway = xtask::lab::Gateway::Router;
