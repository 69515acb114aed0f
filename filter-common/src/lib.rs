//! What the XDP program and userspace must agree on: map keys and values, counters, the header parser and
//! the pre-screen. No allocation and no I/O; `unsafe` only for the marker impls that let aya copy the map
//! types as bytes.
//!
//! Every map type is `#[repr(C)]`, has no implicit padding (checked at compile time) and spells its fields
//! out, because `bpftool map dump` shows these names to operators.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "packet pointers have to stay within one function for the eBPF verifier to follow their bounds"
)]

pub mod address;
pub mod block;
pub mod challenge;
pub mod counter;
pub mod event;
pub mod flood;
pub mod flow;
pub mod limit;
pub mod lists;
pub mod metadata;
pub mod packet;
mod pod;
pub mod ports;
pub mod prescreen;
pub mod queue;
pub mod service;
pub mod settings;
pub mod siphash;
pub mod source;

pub use address::Address;
pub use counter::{Action, Counters, Reason};
pub use flow::{FlowKey, FlowState};
pub use packet::{Bytes, Malformed, Packet};

/// Names of the pinned maps, below the pin directory.
pub mod map {
    /// CIDR prefixes (IPv4) that are never filtered.
    pub const ALLOW_V4: &str = "ALLOW_V4";
    /// CIDR prefixes (IPv6) that are never filtered.
    pub const ALLOW_V6: &str = "ALLOW_V6";
    /// CIDR prefixes (IPv4) that are dropped until their entry expires.
    pub const BLOCK_V4: &str = "BLOCK_V4";
    /// CIDR prefixes (IPv6) that are dropped until their entry expires.
    pub const BLOCK_V6: &str = "BLOCK_V6";
    /// CIDR prefixes (IPv4) whose flows are always inspected on `suspicious` services.
    pub const WATCH_V4: &str = "WATCH_V4";
    /// CIDR prefixes (IPv6) whose flows are always inspected on `suspicious` services.
    pub const WATCH_V6: &str = "WATCH_V6";
    /// When the lists changed last.
    pub const LISTS: &str = "LISTS";
    /// Expiring blocks of single sources.
    pub const SOURCE_BLOCKS: &str = "SOURCE_BLOCKS";
    /// What is known of each source that talks to a `suspicious` service.
    pub const SOURCES: &str = "SOURCES";
    /// The verdict on, and what was observed of, each flow.
    pub const FLOWS: &str = "FLOWS";
    /// What services each TCP port has.
    pub const PORTS: &str = "PORTS";
    /// Which address and port is inspected, and how.
    pub const SERVICES: &str = "SERVICES";
    /// The one entry of run-time settings.
    pub const SETTINGS: &str = "SETTINGS";
    /// Per queue: credits and heartbeat, memory-mapped by the engine.
    pub const QUEUES: &str = "QUEUES";
    /// The token buckets of each source.
    pub const RATES: &str = "RATES";
    /// The token buckets of all sources together.
    pub const TOTALS: &str = "TOTALS";
    /// Tokens of all sources' buckets that each CPU has taken beforehand.
    pub const LEASES: &str = "LEASES";
    /// Whether sources of SYNs are challenged.
    pub const CHALLENGE: &str = "CHALLENGE";
    /// Sources that have answered a challenge.
    pub const PROVEN: &str = "PROVEN";
    /// Packets by reason, per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Sampled drops.
    pub const EVENTS: &str = "EVENTS";
    /// The `AF_XDP` sockets, by RX queue.
    pub const SOCKETS: &str = "SOCKETS";
    /// The two interfaces of a bridge.
    pub const BRIDGE: &str = "BRIDGE";
    /// Which queues of the engine are those of an interface.
    pub const INTERFACES: &str = "INTERFACES";
    /// All of the above that are pinned.
    pub const PINNED: [&str; 24] = [
        ALLOW_V4,
        ALLOW_V6,
        BLOCK_V4,
        BLOCK_V6,
        WATCH_V4,
        WATCH_V6,
        LISTS,
        SOURCE_BLOCKS,
        SOURCES,
        FLOWS,
        PORTS,
        SERVICES,
        SETTINGS,
        QUEUES,
        RATES,
        TOTALS,
        LEASES,
        CHALLENGE,
        PROVEN,
        COUNTERS,
        EVENTS,
        SOCKETS,
        BRIDGE,
        INTERFACES,
    ];
}

/// Names of the programs inside the object file.
pub mod program {
    /// The XDP program.
    pub const XDP: &str = "portcullis";
    /// The egress observer (tcx).
    pub const EGRESS: &str = "portcullis_out";
    /// The XDP program on the servers' side of a bridge.
    pub const BACK: &str = "portcullis_back";
    /// What takes its place in generic mode, on the ingress hook (tcx).
    pub const BACK_INGRESS: &str = "portcullis_in";
}

/// Entries of [`map::BRIDGE`].
pub mod bridge {
    /// The interface that clients come in by.
    pub const CLIENTS: u32 = 0;
    /// The interface that the servers are behind.
    pub const SERVERS: u32 = 1;
    /// How many there are.
    pub const SIDES: u32 = 2;
}

/// Most interfaces that one engine filters.
pub const MAX_INTERFACES: u32 = 8;

/// Most RX queues of all filtered interfaces together that the maps have room for.
pub const MAX_QUEUES: u32 = 64;
