//! Limits: token buckets of sources, and of all sources together.
//!
//! A token takes hours to come back here, so that nothing depends on how long a test takes.

use std::{collections::HashSet, net::IpAddr, thread};

use aya::programs::{TestRun as _, TestRunOptions};
use filter_common::{
    Action, Address, FlowState, Reason,
    block::Block,
    flood::{Class, FloodLimits, PerClass, SourceRates},
    limit::{ATTEMPTS, Limit, SharedLimit},
    service::Service,
    settings::Settings,
};
use xtask::lab::frame::{Frame, flag};

use crate::{
    bed::{Bed, prefix},
    packets::{Family, SERVER_PORT, raw, request, segment, syn, tcp_mut, udp},
};

const HOURS_NS: u64 = 3 * 3_600_000_000_000;
const BURST: u64 = 3;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

fn limit(burst: u64) -> Limit {
    Limit {
        interval_ns: HOURS_NS,
        burst_ns: HOURS_NS * burst,
    }
}

fn of_source(class: Class, burst: u64) -> FloodLimits {
    FloodLimits::new(32, one(class, limit(burst)), PerClass::default())
}

fn of_all(class: Class, burst: u64, lease: u64) -> FloodLimits {
    let shared = SharedLimit {
        limit: limit(burst),
        lease,
    };
    FloodLimits::new(32, PerClass::default(), one(class, shared))
}

fn one<T: Default>(class: Class, value: T) -> PerClass<T> {
    let mut each = PerClass::default();
    *match class {
        Class::Packets => &mut each.packets,
        Class::Syns => &mut each.syns,
        Class::Flows => &mut each.flows,
        Class::Inspected => &mut each.inspected,
        Class::Udp => &mut each.udp,
        Class::Icmp => &mut each.icmp,
        Class::Reflection => &mut each.reflection,
    } = value;
    each
}

fn echo(family: Family) -> Frame {
    match family {
        Family::V4 => raw(family, ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]),
        Family::V6 => raw(family, ICMP_V6, &[128, 0, 0, 0, 0, 1, 0, 1]),
    }
}

/// A class, a packet of it by its number, and what such a packet is counted under within the limit.
type Sample = (Class, fn(Family, u16) -> Frame, Reason);

const SAMPLES: [Sample; 7] = [
    (Class::Packets, |family, _| request(family), Reason::NoService),
    (Class::Syns, |family, _| syn(family), Reason::NoService),
    (
        Class::Flows,
        |family, number| {
            let mut frame = on_port(request(family), 443);
            tcp_mut(&mut frame).source_port = 50_000 + number;
            frame
        },
        Reason::ServiceAll,
    ),
    (
        Class::Inspected,
        |family, _| on_port(request(family), 444),
        Reason::FlowInspect,
    ),
    (Class::Udp, |family, _| udp(family, 4000), Reason::NoService),
    (Class::Icmp, |family, _| echo(family), Reason::NoService),
    (Class::Reflection, |family, _| udp(family, 53), Reason::NoService),
];

fn on_port(mut frame: Frame, port: u16) -> Frame {
    tcp_mut(&mut frame).destination_port = port;
    frame
}

/// From another source.
fn from(mut frame: Frame, family: Family, last: u8) -> Frame {
    frame.source = match family {
        Family::V4 => IpAddr::from([10, 71, 0, last]),
        Family::V6 => IpAddr::from([0xfd71, 0, 0, u16::from(last), 0, 0, 0, 2]),
    };
    frame
}

/// Port 443 is inspected; so is a flow to port 444 that is known already.
fn arrange(bed: &mut Bed, limits: &FloodLimits) {
    bed.reset();
    bed.start_engine();
    bed.serve(None, 443, Service::INSPECT_ALL);
    for family in Family::ALL {
        for frame in [request(family), from(request(family), family, 9)] {
            let mut flow = family.flow();
            flow.source = Address::from(frame.source);
            flow.destination_port = 444;
            bed.know(flow, FlowState::on(FlowState::PATH_INSPECT, 0));
        }
    }
    bed.configure(|settings| settings.flood = *limits);
}

#[test]
fn each_source_has_its_burst_of_each_class() {
    let Some(mut bed) = Bed::new() else { return };
    for (class, packet, within) in SAMPLES {
        for family in Family::ALL {
            arrange(&mut bed, &of_source(class, BURST));
            let over = Reason::source_limit(class);
            for number in 0..8 {
                let expected = if u64::from(number) < BURST { within } else { over };
                let frame = packet(family, number);
                assert_eq!(
                    bed.receive(&frame.to_bytes()),
                    expected,
                    "{class:?} {family:?} {number}"
                );
            }
            let rates = bed.tables.rates.get(&Address::from(key(family)), 0);
            assert_eq!(rates.expect("the source has buckets").drops, 5);
            // Another source has its own, and packets of other classes are not concerned.
            let other = from(packet(family, 99), family, 9);
            assert_eq!(bed.receive(&other.to_bytes()), within, "{class:?} {family:?}");
            if class != Class::Packets {
                let plain = on_port(request(family), 80);
                assert_eq!(bed.receive(&plain.to_bytes()), Reason::NoService);
            }
        }
    }
}

/// The client as sources are keyed.
fn key(family: Family) -> IpAddr {
    match family {
        Family::V4 => family.client(),
        Family::V6 => IpAddr::from([0xfd71, 0, 0, 0, 0, 0, 0, 0]),
    }
}

#[test]
fn all_sources_share_the_burst_of_each_class() {
    let Some(mut bed) = Bed::new() else { return };
    for (class, packet, within) in SAMPLES {
        arrange(&mut bed, &of_all(class, BURST * 2, 1));
        for number in 0..5_u16 {
            for family in Family::ALL {
                let is_within = u64::from(number) < BURST;
                let frame = packet(family, number);
                let frame = if number % 2 == 0 {
                    frame
                } else {
                    from(frame, family, 9)
                };
                let expected = if is_within {
                    within
                } else {
                    Reason::total_limit(class)
                };
                assert_eq!(
                    bed.receive(&frame.to_bytes()),
                    expected,
                    "{class:?} {family:?} {number}"
                );
            }
        }
        assert_eq!(bed.tables.rates.keys().count(), 0, "no state of single sources");
    }
}

#[test]
fn the_failure_policy_is_not_asked_about_what_is_over_the_budget() {
    let Some(mut bed) = Bed::new() else { return };
    for policy in [Settings::FAIL_PASS, Settings::FAIL_DROP] {
        arrange(&mut bed, &of_source(Class::Inspected, BURST));
        bed.kill_engine();
        bed.configure(|settings| settings.on_failure = policy);
        let packet = on_port(request(Family::V4), 444).to_bytes();
        let failed = if policy == Settings::FAIL_PASS {
            Reason::CrashPass
        } else {
            Reason::CrashDrop
        };
        for _ in 0..BURST {
            assert_eq!(bed.receive(&packet), failed);
        }
        assert_eq!(bed.receive(&packet), Reason::SourceInspected);
    }
}

#[test]
fn what_lists_and_verdicts_settle_takes_no_tokens() {
    let Some(mut bed) = Bed::new() else { return };
    let packet = request(Family::V4).to_bytes();
    let none = |bed: &mut Bed| {
        arrange(bed, &of_source(Class::Packets, 0));
        assert_eq!(bed.receive(&packet), Reason::SourcePackets);
    };
    none(&mut bed);
    bed.tables.allow(prefix("10.71.0.2/32")).expect("there is room");
    assert_eq!(bed.receive(&packet), Reason::AllowList);
    none(&mut bed);
    bed.tables
        .block(prefix("10.71.0.2/32"), Block::default())
        .expect("there is room");
    assert_eq!(bed.receive(&packet), Reason::BlockList);
    none(&mut bed);
    bed.tables
        .block_source(Address::from(Family::V4.client()), Block::default())
        .expect("there is room");
    assert_eq!(bed.receive(&packet), Reason::SourceBlock);
    none(&mut bed);
    bed.know(Family::V4.flow(), FlowState::on(FlowState::PATH_BLOCK, 0));
    assert_eq!(bed.receive(&packet), Reason::FlowBlock);
}

#[test]
fn suspicion_remembers_nothing_of_what_is_over_a_limit() {
    let Some(mut bed) = Bed::new() else { return };
    for (class, over) in [
        (Class::Packets, Reason::SourcePackets),
        (Class::Flows, Reason::SourceFlows),
        (Class::Inspected, Reason::SourceInspected),
    ] {
        arrange(&mut bed, &of_source(class, 0));
        bed.serve(None, SERVER_PORT, Service::INSPECT_SUSPICIOUS);
        bed.configure(|settings| settings.triggers = Settings::TRIGGER_ODD);
        let mut frame = request(Family::V4);
        frame.ip_options = vec![1; 4];
        assert_eq!(bed.receive(&frame.to_bytes()), over);
        let flow = bed.tables.flows.get(&Family::V4.flow(), 0);
        assert!(flow.is_err(), "{class:?}: {flow:?}");
    }
}

#[test]
fn a_prefix_of_addresses_can_be_one_source() {
    let Some(mut bed) = Bed::new() else { return };
    for (family, neighbour) in [
        (Family::V4, IpAddr::from([10, 71, 0, 77])),
        (Family::V6, IpAddr::from([0xfd71, 0, 0, 0, 7, 7, 7, 7])),
    ] {
        let mut limits = of_source(Class::Packets, 1);
        limits.v4_mask = FloodLimits::new(24, limits.source, limits.total).v4_mask;
        arrange(&mut bed, &limits);
        let mut frame = request(family);
        assert_eq!(bed.receive(&frame.to_bytes()), Reason::NoService);
        frame.source = neighbour;
        assert_eq!(
            bed.receive(&frame.to_bytes()),
            Reason::SourcePackets,
            "{family:?}"
        );
    }
}

#[test]
fn neighbour_discovery_is_not_limited() {
    let Some(mut bed) = Bed::new() else { return };
    for limits in [of_source(Class::Icmp, 0), of_all(Class::Icmp, 0, 1)] {
        arrange(&mut bed, &limits);
        for (kind, hops, is_within) in [
            (132, 255, false),
            (133, 255, true),
            (135, 255, true),
            (137, 255, true),
            (138, 255, false),
            (135, 254, false),
        ] {
            let mut frame = raw(Family::V6, ICMP_V6, &[kind, 0, 0, 0, 0, 0, 0, 0]);
            frame.ttl = hops;
            let reason = bed.receive(&frame.to_bytes());
            assert_eq!(
                reason == Reason::NoService,
                is_within,
                "{kind} {hops}: {}",
                reason.name()
            );
        }
    }
}

#[test]
fn ports_that_reflect_are_told_by_the_source_port() {
    let Some(mut bed) = Bed::new() else { return };
    arrange(&mut bed, &of_source(Class::Reflection, 0));
    for (port, reflects) in [
        (19, true),
        (53, true),
        (123, true),
        (389, true),
        (1900, true),
        (11211, true),
        (54, false),
        (443, false),
        (51820, false),
    ] {
        let expected = if reflects {
            Reason::SourceReflection
        } else {
            Reason::NoService
        };
        assert_eq!(bed.receive(&udp(Family::V4, port).to_bytes()), expected, "{port}");
    }
}

#[test]
fn more_sources_than_there_is_room_for_push_out_those_that_are_silent() {
    let Some(mut bed) = Bed::new() else { return };
    arrange(&mut bed, &of_source(Class::Packets, 1));
    // The bed has room for 1024.
    let mut frame = request(Family::V4);
    for number in 0..3000_u16 {
        let [high, low] = number.to_be_bytes();
        frame.source = IpAddr::from([10, 80, high, low]);
        assert_eq!(
            bed.receive(&frame.to_bytes()),
            Reason::NoService,
            "{number}: a new source"
        );
    }
    let sources: HashSet<_> = bed.tables.rates.keys().flatten().collect();
    assert!(sources.len() <= 1024, "{}", sources.len());
    let known = sources.iter().next().expect("some are known");
    frame.source = (*known).into();
    assert_eq!(bed.receive(&frame.to_bytes()), Reason::SourcePackets);
}

#[test]
fn cpus_that_race_stay_within_the_stated_error() {
    const BURST: u64 = 10_000;
    const EACH: u32 = 20_000;
    let Some(mut bed) = Bed::new() else { return };
    let packet = request(Family::V4).to_bytes();
    let lease = SharedLimit::MAX_LEASE;
    for limits in [
        of_source(Class::Packets, BURST),
        of_all(Class::Packets, BURST, lease),
    ] {
        arrange(&mut bed, &limits);
        let before = bed.tables.counters().expect("the counters are one entry");
        let xdp = bed.xdp();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let options = TestRunOptions {
                        data_in: Some(&packet),
                        repeat: EACH,
                        ..TestRunOptions::default()
                    };
                    xdp.test_run(options).expect("the program runs");
                });
            }
        });
        let after = bed.tables.counters().expect("the counters are one entry");
        let since = |reason| after.get(reason) - before.get(reason);
        let admitted = since(Reason::NoService);
        let refused = since(Reason::SourcePackets) + since(Reason::TotalPackets);
        assert_eq!(admitted + refused, 2 * u64::from(EACH));
        // Two threads run on two CPUs at most at any time.
        let most = BURST + BURST / u64::from(ATTEMPTS);
        assert!((BURST - 2 * lease..=most).contains(&admitted), "{admitted}");
    }
}

/// For the list of all reasons: a packet over each limit.
pub(crate) fn exceeding() -> impl Iterator<Item = (Reason, FloodLimits, Frame)> {
    SAMPLES.into_iter().flat_map(|(class, packet, _)| {
        let frame = packet(Family::V4, 0);
        [
            (Reason::source_limit(class), of_source(class, 0), frame.clone()),
            (Reason::total_limit(class), of_all(class, 0, 1), frame),
        ]
    })
}

/// Puts limits in force for one of [`exceeding`].
pub(crate) fn exceed(bed: &mut Bed, limits: &FloodLimits, frame: &Frame) -> Reason {
    arrange(bed, limits);
    let reason = bed.receive(&frame.to_bytes());
    assert_eq!(reason.action(), Action::Drop);
    reason
}

#[test]
fn a_source_starts_with_full_buckets() {
    let Some(mut bed) = Bed::new() else { return };
    arrange(&mut bed, &of_source(Class::Syns, 2));
    assert_eq!(bed.receive(&syn(Family::V4).to_bytes()), Reason::NoService);
    let rates = bed
        .tables
        .rates
        .get(&Address::from(Family::V4.client()), 0)
        .expect("the source has buckets");
    assert_ne!(rates.due_ns.syns, 0);
    let others = SourceRates {
        due_ns: one(Class::Syns, rates.due_ns.syns),
        drops: 0,
    };
    assert_eq!(rates, others, "only what is limited takes tokens");
    // SYN+ACK opens nothing.
    for _ in 0..5 {
        let answer = segment(Family::V4, flag::SYN | flag::ACK, b"");
        assert_eq!(bed.receive(&answer.to_bytes()), Reason::NoService);
    }
}

/// A limit for strays, and one for the packets of a source that are inspected.
pub(crate) fn of_strays(burst: u64) -> FloodLimits {
    of_source(Class::Inspected, BURST).with_strays(SharedLimit {
        limit: limit(burst),
        lease: 1,
    })
}

/// Segments of no known flow have a limit of their own, which is not asked about others, and not when the engine takes nothing.
#[test]
fn strays_are_limited_and_others_are_not() {
    let Some(mut bed) = Bed::new() else { return };
    // From a port and with flags of its own.
    let to_service = |family, number: u16, flags| {
        let mut frame = on_port(request(family), 443);
        tcp_mut(&mut frame).source_port = 50_000 + number;
        tcp_mut(&mut frame).flags = flags;
        frame.to_bytes()
    };
    for family in Family::ALL {
        for flags in [
            flag::ACK,
            flag::PSH | flag::ACK,
            flag::SYN | flag::ACK,
            flag::RST,
            flag::FIN,
        ] {
            arrange(&mut bed, &of_strays(BURST));
            for number in 0..BURST as u16 {
                let stray = to_service(family, number, flags);
                assert_eq!(bed.receive(&stray), Reason::ServiceAll, "{family:?} {flags:#x}");
            }
            for number in 10..20 {
                let stray = to_service(family, number, flags);
                assert_eq!(bed.receive(&stray), Reason::Strays, "{family:?} {flags:#x}");
            }
            assert_eq!(bed.tables.rates.keys().count(), 0, "strays are nobody's");
            let known = to_service(family, 0, flag::PSH | flag::ACK);
            assert_eq!(bed.receive(&known), Reason::FlowInspect, "{family:?}");
            let opens = to_service(family, 30, flag::SYN);
            assert_eq!(bed.receive(&opens), Reason::ServiceAll, "{family:?}");
            let opened = to_service(family, 30, flag::PSH | flag::ACK);
            assert_eq!(bed.receive(&opened), Reason::FlowInspect, "{family:?}");
            bed.kill_engine();
            let unseen = to_service(family, 40, flags);
            assert_eq!(bed.receive(&unseen), Reason::CrashDrop, "the failure policy");
        }
    }
}
