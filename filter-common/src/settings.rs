//! Run-time settings of the XDP program, one map entry.

use crate::{Address, challenge::ChallengeSettings, flood::FloodLimits};

/// Value of the `SETTINGS` map. All zero (as the map starts) passes every packet untouched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Counts configurations; 0 means not configured yet.
    pub generation: u32,
    /// The failure policy: one of the `FAIL` constants.
    pub on_failure: u32,
    /// Age of a queue's heartbeat after which its engine counts as hung, nanoseconds.
    pub heartbeat_timeout_ns: u64,
    /// Most frames that may be redirected to a queue and not yet consumed.
    pub credits: u32,
    /// VLAN-tagged packets for inspected services: one of the `VLAN` constants.
    pub vlan: u32,
    /// TCP fragments for inspected addresses: one of the `FRAGMENTS` constants.
    pub fragments: u32,
    /// Which triggers of `suspicious` are on: `TRIGGER_*` bits.
    pub triggers: u32,
    /// Requests after which a source is no longer new.
    pub new_source_requests: u32,
    /// Requests in one second above which a source is over its soft limit.
    pub soft_limit: u32,
    /// Drops are sampled when a random number masked with this is 0; all ones switches sampling off.
    pub sample_mask: u32,
    /// Bytes of a packet that one frame holds; 0 for any number.
    pub frame_bytes: u32,
    /// How what passes goes on: one of the `FORWARD` constants.
    pub forward: u32,
    /// On a bridge, the index of the interface that clients come in by: a program on the ingress hook may not use a device map.
    pub clients: u32,
    /// Mask on an IPv6 source before it is looked up as a source.
    pub source_mask: Address,
    /// Limits against floods.
    pub flood: FloodLimits,
    /// The challenge to sources of SYNs.
    pub challenge: ChallengeSettings,
}

impl Settings {
    /// What cannot be inspected is dropped.
    pub const FAIL_DROP: u32 = 0;
    /// What cannot be inspected is passed.
    pub const FAIL_PASS: u32 = 1;

    /// Tagged packets are dropped.
    pub const VLAN_DROP: u32 = 0;
    /// Tagged packets are passed.
    pub const VLAN_PASS: u32 = 1;
    /// Tagged packets are treated like others.
    pub const VLAN_INSPECT: u32 = 2;

    /// Into this host's stack.
    pub const FORWARD_HOST: u32 = 0;
    /// Out of the interface on the other side.
    pub const FORWARD_BRIDGE: u32 = 1;
    /// Into this host's stack, from several interfaces: which queues are those of each is in the map `INTERFACES`.
    pub const FORWARD_SEVERAL: u32 = 2;

    /// Fragments are dropped.
    pub const FRAGMENTS_DROP: u32 = 0;
    /// Fragments are passed.
    pub const FRAGMENTS_PASS: u32 = 1;
    /// Fragments go to the engine, which puts them together.
    pub const FRAGMENTS_INSPECT: u32 = 2;

    /// The source has sent fewer than [`Settings::new_source_requests`] requests.
    pub const TRIGGER_NEW: u32 = 1;
    /// The source has a reputation.
    pub const TRIGGER_REPUTATION: u32 = 2;
    /// The source is on a watch list.
    pub const TRIGGER_WATCH: u32 = 4;
    /// The source is over [`Settings::soft_limit`].
    pub const TRIGGER_SOFT_LIMIT: u32 = 8;
    /// The pre-screen of the payload's head fails.
    pub const TRIGGER_PRESCREEN: u32 = 16;
    /// IPv4 options, IPv6 extension headers or odd TCP options.
    pub const TRIGGER_ODD: u32 = 32;
    /// Every trigger.
    pub const TRIGGER_ALL: u32 = 63;
}

const _: () =
    assert!(size_of::<Settings>() == 72 + size_of::<FloodLimits>() + size_of::<ChallengeSettings>());
