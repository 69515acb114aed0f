//! What makes a flow of a `suspicious` service go to the engine.

use filter_common::{Address, FlowState, Reason, service::Service, settings::Settings, source::Source};
use filter_user::bpf::monotonic_ns;
use xtask::lab::frame::flag;

use crate::{
    bed::{Bed, prefix},
    packets::{CLIENT_PORT, Family, SERVER_PORT, request, segment, syn, tcp_mut},
};

/// An engine, one `suspicious` service and these triggers.
fn bed(triggers: u32) -> Option<Bed> {
    let mut bed = Bed::new()?;
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_SUSPICIOUS);
    bed.configure(|settings| settings.triggers = triggers);
    Some(bed)
}

/// Plain requests, each on a flow of its own.
struct Requests {
    family: Family,
    port: u16,
}

impl Requests {
    fn of(family: Family) -> Self {
        Self {
            family,
            port: CLIENT_PORT,
        }
    }

    fn next(&mut self, bed: &mut Bed) -> Reason {
        self.port += 1;
        let mut frame = request(self.family);
        tcp_mut(&mut frame).source_port = self.port;
        bed.receive(&frame.to_bytes())
    }
}

fn source_of(family: Family) -> Address {
    Address::from(family.client()).masked_v6(64)
}

#[test]
fn without_triggers_nothing_is_suspicious_for_good() {
    let Some(mut bed) = bed(0) else { return };
    for family in Family::ALL {
        assert_eq!(bed.receive(&syn(family).to_bytes()), Reason::NotSuspicious);
        let state = bed
            .tables
            .flows
            .get(&family.flow(), 0)
            .expect("the flow is entered");
        assert_eq!(state.path, FlowState::PATH_PASS);
        // Decided once: what happens to the source later is for its next flow.
        bed.tables.watch(prefix("10.71.0.0/24")).expect("there is room");
        bed.tables.watch(prefix("fd71::/64")).expect("there is room");
        bed.configure(|settings| settings.triggers = Settings::TRIGGER_WATCH);
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::NotSuspicious);
        assert_eq!(bed.receive(&syn(family).to_bytes()), Reason::SuspectWatch);
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::FlowInspect);
        bed.configure(|settings| settings.triggers = 0);
    }
}

#[test]
fn pure_acknowledgements_decide_nothing() {
    let Some(mut bed) = bed(Settings::TRIGGER_ALL) else {
        return;
    };
    bed.tables.watch(prefix("10.71.0.0/24")).expect("there is room");
    let ack = segment(Family::V4, flag::ACK, b"").to_bytes();
    assert_eq!(bed.receive(&ack), Reason::NotSuspicious);
    assert!(bed.tables.flows.get(&Family::V4.flow(), 0).is_err());
    assert_eq!(bed.receive(&request(Family::V4).to_bytes()), Reason::SuspectWatch);
    assert_eq!(bed.receive(&ack), Reason::FlowInspect);
}

#[test]
fn watched_prefixes_only_with_their_trigger() {
    let Some(mut bed) = bed(Settings::TRIGGER_ALL & !Settings::TRIGGER_WATCH & !Settings::TRIGGER_NEW) else {
        return;
    };
    bed.configure(|settings| settings.soft_limit = u32::MAX);
    for (family, list) in [(Family::V4, "10.71.0.0/24"), (Family::V6, "fd71::/64")] {
        let mut requests = Requests::of(family);
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        bed.tables.watch(prefix(list)).expect("there is room");
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        bed.configure(|settings| settings.triggers |= Settings::TRIGGER_WATCH);
        assert_eq!(requests.next(&mut bed), Reason::SuspectWatch);
        bed.tables.unwatch(prefix(list)).expect("it was there");
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        bed.configure(|settings| settings.triggers &= !Settings::TRIGGER_WATCH);
    }
}

#[test]
fn a_source_is_new_for_its_first_requests() {
    let Some(mut bed) = bed(Settings::TRIGGER_NEW) else {
        return;
    };
    bed.configure(|settings| settings.new_source_requests = 3);
    for family in Family::ALL {
        let mut requests = Requests::of(family);
        for _ in 0..3 {
            assert_eq!(requests.next(&mut bed), Reason::SuspectNew);
        }
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        let source = bed
            .tables
            .sources
            .get(&source_of(family), 0)
            .expect("it is known");
        assert_eq!(source.requests, 4);
        // Connections are no requests.
        bed.receive(&syn(family).to_bytes());
        let again = bed
            .tables
            .sources
            .get(&source_of(family), 0)
            .expect("it is known");
        assert_eq!(again.requests, 4);
    }
    bed.configure(|settings| settings.new_source_requests = 0);
    let mut stranger = request(Family::V4);
    stranger.source = [10, 71, 9, 9].into();
    assert_eq!(bed.receive(&stranger.to_bytes()), Reason::NotSuspicious);
}

#[test]
fn a_source_with_reputation_is_suspicious() {
    let Some(mut bed) = bed(Settings::TRIGGER_REPUTATION) else {
        return;
    };
    for family in Family::ALL {
        let mut requests = Requests::of(family);
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        let mut source: Source = bed
            .tables
            .sources
            .get(&source_of(family), 0)
            .expect("it is known");
        source.reputation = 1;
        bed.tables
            .sources
            .insert(source_of(family), source, 0)
            .expect("it is there");
        assert_eq!(requests.next(&mut bed), Reason::SuspectReputation);
        bed.configure(|settings| settings.triggers = Settings::TRIGGER_NEW);
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        bed.configure(|settings| settings.triggers = Settings::TRIGGER_REPUTATION);
    }
}

#[test]
fn a_source_over_its_soft_limit_is_suspicious_for_the_rest_of_the_second() {
    let Some(mut bed) = bed(Settings::TRIGGER_SOFT_LIMIT) else {
        return;
    };
    bed.configure(|settings| settings.soft_limit = 5);
    for family in Family::ALL {
        let mut requests = Requests::of(family);
        requests.next(&mut bed);
        // A window that began just now.
        let fresh = Source {
            window_ns: monotonic_ns(),
            window_requests: 3,
            ..Source::default()
        };
        let insert = |bed: &mut Bed, source| {
            bed.tables
                .sources
                .insert(source_of(family), source, 0)
                .expect("it is there");
        };
        insert(&mut bed, fresh);
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        assert_eq!(requests.next(&mut bed), Reason::SuspectSoftLimit);
        // One that ended.
        insert(
            &mut bed,
            Source {
                window_ns: monotonic_ns() - 1_000_000_001,
                window_requests: 100,
                ..Source::default()
            },
        );
        assert_eq!(requests.next(&mut bed), Reason::NotSuspicious);
        let source = bed
            .tables
            .sources
            .get(&source_of(family), 0)
            .expect("it is known");
        assert_eq!(source.window_requests, 1);
    }
}

#[test]
fn odd_options_only_with_their_trigger() {
    let Some(mut bed) = bed(Settings::TRIGGER_ODD) else {
        return;
    };
    let mut v4 = request(Family::V4);
    v4.ip_options = vec![1; 4];
    let mut v6 = request(Family::V6);
    v6.extension_headers = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])];
    for (odd, plain) in [(v4, Family::V4), (v6, Family::V6)] {
        assert_eq!(Requests::of(plain).next(&mut bed), Reason::NotSuspicious);
        assert_eq!(bed.receive(&odd.to_bytes()), Reason::SuspectOdd);
        bed.configure(|settings| settings.triggers = 0);
        let mut other = odd;
        tcp_mut(&mut other).source_port += 1000;
        assert_eq!(bed.receive(&other.to_bytes()), Reason::NotSuspicious);
        bed.configure(|settings| settings.triggers = Settings::TRIGGER_ODD);
    }
}
