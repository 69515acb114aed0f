//! One packet for every reason there is.

use std::collections::HashSet;

use filter_common::{
    Address, FlowState, Reason, block::Block, service::Service, settings::Settings, source::Source,
};
use xtask::lab::frame::{Frame, TAG_8021Q};

use crate::{
    bed::{Bed, prefix},
    bridge, challenge, limits,
    packets::{Family, SERVER_PORT, request, segment, syn},
    parser,
};

/// Arranges for a reason and says which packet has it.
type Arrange = fn(&mut Bed) -> Frame;

fn plain() -> Frame {
    request(Family::V4)
}

fn with_flow(bed: &mut Bed, path: u32) -> Frame {
    bed.know(Family::V4.flow(), FlowState::on(path, 0));
    plain()
}

fn inspected(bed: &mut Bed, inspect: u32) -> Frame {
    bed.serve(None, SERVER_PORT, inspect);
    bed.start_engine();
    plain()
}

fn suspicious(bed: &mut Bed, trigger: u32) -> Frame {
    bed.configure(|settings| settings.triggers = trigger);
    inspected(bed, Service::INSPECT_SUSPICIOUS)
}

fn failing(bed: &mut Bed, policy: u32, heartbeat: u64, credits: u32) -> Frame {
    inspected(bed, Service::INSPECT_ALL);
    bed.queue.set_heartbeat(heartbeat);
    bed.configure(|settings| {
        settings.on_failure = policy;
        settings.credits = credits;
    });
    plain()
}

fn tagged(bed: &mut Bed, policy: u32) -> Frame {
    bed.configure(|settings| settings.vlan = policy);
    inspected(bed, Service::INSPECT_ALL).tagged(TAG_8021Q, 7)
}

fn fragment(bed: &mut Bed, policy: u32) -> Frame {
    bed.configure(|settings| settings.fragments = policy);
    bed.serve(None, 0, Service::INSPECT_ALL);
    let mut frame = request(Family::V6);
    frame.extension_headers = vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])];
    frame
}

fn source(bed: &mut Bed, source: Source) {
    bed.tables
        .sources
        .insert(Address::from(Family::V4.client()), source, 0)
        .expect("there is room");
}

/// All but the malformed ones, "not IP" and "not configured".
const ARRANGEMENTS: [(Reason, Arrange); 28] = [
    (Reason::BlockList, |bed| {
        bed.tables
            .block(prefix("10.0.0.0/8"), Block::default())
            .expect("there is room");
        plain()
    }),
    (Reason::SourceBlock, |bed| {
        bed.tables
            .block_source(Address::from(Family::V4.client()), Block::default())
            .expect("there is room");
        plain()
    }),
    (Reason::FlowBlock, |bed| with_flow(bed, FlowState::PATH_BLOCK)),
    (Reason::Fragment, |bed| fragment(bed, Settings::FRAGMENTS_DROP)),
    (Reason::FragmentPass, |bed| {
        fragment(bed, Settings::FRAGMENTS_PASS)
    }),
    (Reason::FragmentInspect, |bed| {
        bed.start_engine();
        fragment(bed, Settings::FRAGMENTS_INSPECT)
    }),
    (Reason::Vlan, |bed| tagged(bed, 0)),
    (Reason::VlanPass, |bed| tagged(bed, 1)),
    (Reason::CrashDrop, |bed| failing(bed, Settings::FAIL_DROP, 0, 1)),
    (Reason::HangDrop, |bed| failing(bed, Settings::FAIL_DROP, 1, 1)),
    (Reason::RingFullDrop, |bed| {
        failing(bed, Settings::FAIL_DROP, u64::MAX, 0)
    }),
    (Reason::CrashPass, |bed| failing(bed, Settings::FAIL_PASS, 0, 1)),
    (Reason::HangPass, |bed| failing(bed, Settings::FAIL_PASS, 1, 1)),
    (Reason::RingFullPass, |bed| {
        failing(bed, Settings::FAIL_PASS, u64::MAX, 0)
    }),
    (Reason::AllowList, |bed| {
        bed.tables.allow(prefix("10.0.0.0/8")).expect("there is room");
        plain()
    }),
    (Reason::NoService, |_| plain()),
    (Reason::ServiceNone, |bed| inspected(bed, Service::INSPECT_NONE)),
    (Reason::Acknowledgement, |bed| {
        bed.start_engine();
        let open = FlowState {
            client_open: 1,
            ..FlowState::inspect(0)
        };
        bed.know(Family::V4.flow(), open);
        segment(Family::V4, 16, b"")
    }),
    (Reason::NotSuspicious, |bed| {
        inspected(bed, Service::INSPECT_SUSPICIOUS)
    }),
    (Reason::ServiceAll, |bed| inspected(bed, Service::INSPECT_ALL)),
    (Reason::Strays, |bed| {
        bed.configure(|settings| settings.flood = limits::of_strays(0));
        inspected(bed, Service::INSPECT_ALL)
    }),
    (Reason::FlowInspect, |bed| {
        bed.start_engine();
        with_flow(bed, FlowState::PATH_INSPECT)
    }),
    (Reason::SuspectNew, |bed| {
        bed.configure(|settings| settings.new_source_requests = 1);
        suspicious(bed, Settings::TRIGGER_NEW)
    }),
    (Reason::SuspectReputation, |bed| {
        let known = Source {
            reputation: 500,
            ..Source::default()
        };
        source(bed, known);
        suspicious(bed, Settings::TRIGGER_REPUTATION)
    }),
    (Reason::SuspectWatch, |bed| {
        bed.tables.watch(prefix("10.0.0.0/8")).expect("there is room");
        suspicious(bed, Settings::TRIGGER_WATCH)
    }),
    (Reason::SuspectSoftLimit, |bed| {
        source(bed, Source::default());
        suspicious(bed, Settings::TRIGGER_SOFT_LIMIT)
    }),
    (Reason::SuspectPrescreen, |bed| {
        suspicious(bed, Settings::TRIGGER_PRESCREEN);
        segment(Family::V4, 16, b"POST / HTTP/1.1\r\n\r\n")
    }),
    (Reason::SuspectOdd, |bed| {
        let mut frame = suspicious(bed, Settings::TRIGGER_ODD);
        frame.ip_options = vec![1; 4];
        frame
    }),
];

#[test]
fn every_reason_has_a_packet_that_moves_its_counter_and_no_other() {
    let Some(mut bed) = Bed::unconfigured() else {
        return;
    };
    let mut reached = HashSet::from([bed.receive(&plain().to_bytes())]);
    for (reason, arrange) in ARRANGEMENTS {
        bed.reset();
        let frame = arrange(&mut bed);
        assert_eq!(bed.receive(&frame.to_bytes()), reason);
        reached.insert(reason);
    }
    for (reason, limits, frame) in limits::exceeding() {
        assert_eq!(limits::exceed(&mut bed, &limits, &frame), reason);
        reached.insert(reason);
    }
    challenge::raise(&mut bed);
    let opening = syn(Family::V4);
    let (challenged, answer) = bed.answer(&opening.to_bytes());
    let answer = Frame::parse(&answer).expect("the answer is well formed");
    let mut reset = challenge::reset(&opening, &answer);
    let proved = bed.receive(&reset.to_bytes());
    reset.source = std::net::IpAddr::from([10, 71, 0, 9]);
    reached.extend([challenged, proved, bed.receive(&reset.to_bytes())]);
    bed.reset();
    reached.insert(bed.receive(&[0; 60]));
    for (_, packet, _) in parser::malformed() {
        reached.insert(bed.receive(&packet));
    }
    reached.extend([bridge::lost(&mut bed), bridge::brought_back(&mut bed)]);
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !reached.contains(reason))
        .collect();
    assert!(missing.is_empty(), "no packet for {missing:?}");
}

#[test]
fn drops_are_sampled_as_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.tables
        .block(prefix("10.0.0.0/8"), Block::default())
        .expect("there is room");
    let mut events = bed.tables.events().expect("the ring buffer is pinned");
    let packet = plain().to_bytes();
    bed.receive(&packet);
    assert!(events.next().is_none(), "all ones switches sampling off");
    bed.configure(|settings| settings.sample_mask = 0);
    bed.receive(&packet);
    let event = events.next().expect("mask zero samples every drop").to_vec();
    let field = |at: usize| u32::from_ne_bytes(event[at..at + 4].try_into().expect("four bytes"));
    let flow = Family::V4.flow();
    assert_eq!(event[8..24], flow.source.octets);
    assert_eq!(event[24..40], flow.destination.octets);
    assert_eq!(Reason::from_number(field(48)), Some(Reason::BlockList));
    assert_eq!(field(52) as usize, packet.len());
    bed.configure(|settings| settings.sample_mask = 3);
    for _ in 0..1000 {
        bed.receive(&packet);
    }
    let mut sampled = 0;
    while events.next().is_some() {
        sampled += 1;
    }
    assert!(
        (150..350).contains(&sampled),
        "{sampled} of 1000 with one in four"
    );
    // Passed packets are no drops.
    bed.configure(|settings| settings.sample_mask = 0);
    bed.receive(&request(Family::V6).to_bytes());
    assert!(events.next().is_none());
}
