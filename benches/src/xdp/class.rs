//! The classes of verdicts: a packet for each, and how it comes about.

use std::net::IpAddr;

use filter_common::{
    Address, FlowState, Reason,
    block::Block,
    challenge::{ChallengeSettings, ChallengeState},
    flood::{FloodLimits, PerClass},
    limit::{Limit, SharedLimit},
    service::Service,
    settings::Settings,
};
use xtask::lab::frame::{Frame, TAG_8021Q, flag};

use crate::{
    bed::{Bed, prefix},
    packets::{Family, SERVER_PORT, request, segment, syn, tcp_mut, udp},
};

const HOUR_NS: u64 = 3_600_000_000_000;
const FOR_EVER: u64 = u64::MAX / 2;
/// Which packets a limit admits none of.
const NONE: Limit = Limit {
    interval_ns: HOUR_NS,
    burst_ns: 0,
};
/// Which packets a limit admits all of.
const ALL: Limit = Limit {
    interval_ns: 1,
    burst_ns: HOUR_NS,
};

/// Packets with the same verdict for the same reason, however often they come.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) reason: Reason,
    /// Makes it so in programs that were reset, and gives the packet.
    pub(super) arrange: fn(&mut Bed) -> Vec<u8>,
}

/// Where a packet of a class comes from, if it is IP: what is malformed above that still has addresses.
pub(super) fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.get(12..14)? {
        [0x81 | 8, 0] => Some(Family::V4.client()),
        [0x86, 0xdd] => Some(Family::V6.client()),
        _ => None,
    }
}

fn plain() -> Vec<u8> {
    request(Family::V4).to_bytes()
}

/// A port that no service of another class has: flows are looked up on those that ever had an inspected one.
const OTHER_PORT: u16 = 8080;

fn elsewhere(family: Family) -> Vec<u8> {
    let mut request = request(family);
    tcp_mut(&mut request).destination_port = OTHER_PORT;
    request.to_bytes()
}

fn with_flow(bed: &mut Bed, state: FlowState) {
    bed.know(Family::V4.flow(), state);
}

fn inspected(bed: &mut Bed) {
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.start_engine();
}

fn failing(bed: &mut Bed, policy: u32) -> Vec<u8> {
    inspected(bed);
    bed.queue.set_heartbeat(0);
    bed.configure(|settings| settings.on_failure = policy);
    plain()
}

fn limited(bed: &mut Bed, source: PerClass<Limit>, all: PerClass<SharedLimit>) {
    bed.configure(|settings| settings.flood = FloodLimits::new(32, source, all));
}

fn shared(limit: Limit) -> SharedLimit {
    SharedLimit { limit, lease: 1 }
}

fn blocked(bed: &mut Bed, family: Family, list: &str) -> Vec<u8> {
    bed.tables
        .block(prefix(list), Block::default())
        .expect("there is room");
    request(family).to_bytes()
}

fn fragment() -> Frame {
    let mut frame = request(Family::V6);
    frame.extension_headers = vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])];
    frame
}

/// What is entered by the first packet and is another class from the second on (a new flow, a challenge's answer) is not here.
pub(super) const CLASSES: [Class; 24] = [
    Class {
        name: "drop: malformed, no TCP flags",
        reason: Reason::TcpNoFlags,
        arrange: |_| segment(Family::V4, 0, b"GET").to_bytes(),
    },
    Class {
        name: "drop: block list, IPv4",
        reason: Reason::BlockList,
        arrange: |bed| blocked(bed, Family::V4, "10.71.0.0/16"),
    },
    Class {
        name: "drop: block list, IPv6",
        reason: Reason::BlockList,
        arrange: |bed| blocked(bed, Family::V6, "fd71::/32"),
    },
    Class {
        name: "drop: source block",
        reason: Reason::SourceBlock,
        arrange: |bed| {
            let client = Address::from(Family::V4.client());
            let entered = bed.tables.block_source(client, Block::default());
            entered.expect("there is room");
            plain()
        },
    },
    Class {
        name: "drop: flow block",
        reason: Reason::FlowBlock,
        arrange: |bed| {
            with_flow(bed, FlowState::on(FlowState::PATH_BLOCK, 0));
            plain()
        },
    },
    Class {
        name: "drop: source over its limit of SYNs",
        reason: Reason::SourceSyns,
        arrange: |bed| {
            let source = PerClass {
                syns: NONE,
                ..PerClass::default()
            };
            limited(bed, source, PerClass::default());
            syn(Family::V4).to_bytes()
        },
    },
    Class {
        name: "drop: UDP over the limit of all",
        reason: Reason::TotalUdp,
        arrange: |bed| {
            let all = PerClass {
                udp: shared(NONE),
                ..PerClass::default()
            };
            limited(bed, PerClass::default(), all);
            udp(Family::V4, 4000).to_bytes()
        },
    },
    Class {
        name: "drop: stray segment over the limit",
        reason: Reason::Strays,
        arrange: |bed| {
            inspected(bed);
            let limits = FloodLimits::new(32, PerClass::default(), PerClass::default());
            bed.configure(|settings| settings.flood = limits.with_strays(shared(NONE)));
            plain()
        },
    },
    Class {
        name: "drop: reset that answers no challenge",
        reason: Reason::ChallengeFailed,
        arrange: |bed| {
            inspected(bed);
            bed.configure(|settings| {
                settings.challenge = ChallengeSettings {
                    above: shared(NONE),
                    keep: shared(NONE),
                    hold_ns: HOUR_NS,
                    proof_ns: HOUR_NS,
                    key: [1, 2],
                };
            });
            let state = ChallengeState {
                due_ns: 0,
                until_ns: FOR_EVER,
            };
            let set = bed.tables.challenge.set(0, state, 0);
            set.expect("the state is one entry");
            segment(Family::V4, flag::RST, b"").to_bytes()
        },
    },
    Class {
        name: "drop: VLAN tag, inspected service",
        reason: Reason::Vlan,
        arrange: |bed| {
            inspected(bed);
            request(Family::V4).tagged(TAG_8021Q, 7).to_bytes()
        },
    },
    Class {
        name: "drop: fragment, inspected address",
        reason: Reason::Fragment,
        arrange: |bed| {
            bed.serve(None, 0, Service::INSPECT_ALL);
            fragment().to_bytes()
        },
    },
    Class {
        name: "drop: no engine",
        reason: Reason::CrashDrop,
        arrange: |bed| failing(bed, Settings::FAIL_DROP),
    },
    Class {
        name: "pass: neither IPv4 nor IPv6",
        reason: Reason::NotIp,
        arrange: |_| [&[2; 12][..], &[8, 6], &[0; 46]].concat(),
    },
    Class {
        name: "pass: allow list",
        reason: Reason::AllowList,
        arrange: |bed| {
            bed.tables.allow(prefix("10.71.0.0/16")).expect("there is room");
            plain()
        },
    },
    Class {
        name: "pass: no service, IPv4",
        reason: Reason::NoService,
        arrange: |_| elsewhere(Family::V4),
    },
    Class {
        name: "pass: no service, IPv6",
        reason: Reason::NoService,
        arrange: |_| elsewhere(Family::V6),
    },
    Class {
        name: "pass: no service, lists and services in use",
        reason: Reason::NoService,
        arrange: |bed| {
            blocked(bed, Family::V4, "192.0.2.0/24");
            bed.tables
                .allow(prefix("198.51.100.0/24"))
                .expect("there is room");
            let other = Address::from(IpAddr::from([192, 0, 2, 1]));
            let entered = bed.tables.block_source(other, Block::default());
            entered.expect("there is room");
            bed.serve(None, 443, Service::INSPECT_ALL);
            bed.start_engine();
            elsewhere(Family::V4)
        },
    },
    Class {
        name: "pass: UDP within the source's limits",
        reason: Reason::NoService,
        arrange: |bed| {
            let source = PerClass {
                packets: ALL,
                udp: ALL,
                ..PerClass::default()
            };
            limited(bed, source, PerClass::default());
            udp(Family::V4, 4000).to_bytes()
        },
    },
    Class {
        name: "pass: service that is not inspected",
        reason: Reason::ServiceNone,
        arrange: |bed| {
            bed.serve(None, OTHER_PORT, Service::INSPECT_NONE);
            elsewhere(Family::V4)
        },
    },
    Class {
        name: "pass: plain request, pre-screened",
        reason: Reason::NotSuspicious,
        arrange: |bed| {
            bed.serve(None, SERVER_PORT, Service::INSPECT_SUSPICIOUS);
            bed.configure(|settings| settings.triggers = Settings::TRIGGER_PRESCREEN);
            plain()
        },
    },
    Class {
        name: "pass: bare acknowledgement, inspected flow",
        reason: Reason::Acknowledgement,
        arrange: |bed| {
            bed.start_engine();
            let open = FlowState {
                client_open: 1,
                ..FlowState::inspect(0)
            };
            with_flow(bed, open);
            segment(Family::V4, flag::ACK, b"").to_bytes()
        },
    },
    Class {
        name: "pass: no engine",
        reason: Reason::CrashPass,
        arrange: |bed| failing(bed, Settings::FAIL_PASS),
    },
    Class {
        name: "redirect: inspected flow",
        reason: Reason::FlowInspect,
        arrange: |bed| {
            bed.start_engine();
            with_flow(bed, FlowState::inspect(0));
            plain()
        },
    },
    Class {
        name: "redirect: inspected flow, source has a limit",
        reason: Reason::FlowInspect,
        arrange: |bed| {
            bed.start_engine();
            with_flow(bed, FlowState::inspect(0));
            let source = PerClass {
                inspected: ALL,
                ..PerClass::default()
            };
            limited(bed, source, PerClass::default());
            plain()
        },
    },
];
