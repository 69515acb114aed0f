//! The failure policy: no engine, a hung one, a full ring; each passing and dropping.

use filter_common::{Action, FlowState, Reason, service::Service, settings::Settings};
use filter_user::{
    bpf::{Tables, monotonic_ns},
    engine::{KernelMaps as _, live::LiveMaps},
};
use xtask::lab::frame::flag;

use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, request, segment},
};

const SECOND_NS: u64 = 1_000_000_000;

/// A failure, and what it is counted under when the policy is to drop and to pass.
struct Failure {
    arrange: fn(&mut Bed),
    drop: Reason,
    pass: Reason,
}

const FAILURES: [Failure; 4] = [
    // Started never, or ended in order: the heartbeat is zero.
    Failure {
        arrange: |bed| bed.queue.set_heartbeat(0),
        drop: Reason::CrashDrop,
        pass: Reason::CrashPass,
    },
    // Killed: the last heartbeat is still young, but the socket has gone.
    Failure {
        arrange: |bed| bed.kill_engine(),
        drop: Reason::CrashDrop,
        pass: Reason::CrashPass,
    },
    Failure {
        arrange: |bed| bed.queue.set_heartbeat(monotonic_ns() - SECOND_NS),
        drop: Reason::HangDrop,
        pass: Reason::HangPass,
    },
    Failure {
        arrange: |bed| bed.configure(|settings| settings.credits = 0),
        drop: Reason::RingFullDrop,
        pass: Reason::RingFullPass,
    },
];

#[test]
fn each_failure_does_as_told_on_new_and_on_known_flows() {
    for Failure { arrange, drop, pass } in FAILURES {
        let Some(mut bed) = Bed::new() else { return };
        bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
        bed.start_engine();
        for (policy, reason) in [(Settings::FAIL_DROP, drop), (Settings::FAIL_PASS, pass)] {
            bed.configure(|settings| {
                settings.on_failure = policy;
                settings.credits = 10;
            });
            bed.start_engine();
            assert_eq!(bed.receive(&request(Family::V4).to_bytes()), Reason::ServiceAll);
            arrange(&mut bed);
            let redirected = bed.queue.redirected();
            for _ in 0..3 {
                assert_eq!(bed.receive(&request(Family::V4).to_bytes()), reason);
                assert_eq!(bed.receive(&request(Family::V6).to_bytes()), reason);
            }
            assert_eq!(bed.queue.redirected(), redirected, "no credit was taken");
            assert!(
                bed.tables.flows.get(&Family::V6.flow(), 0).is_err(),
                "a flow that did not go to the engine is not entered"
            );
            bed.configure(|settings| settings.credits = 10);
            bed.start_engine();
            assert_eq!(bed.receive(&request(Family::V4).to_bytes()), Reason::FlowInspect);
            bed.tables.flows.remove(&Family::V4.flow()).expect("it is there");
        }
    }
}

#[test]
fn a_heartbeat_gets_old_and_young_again() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.start_engine();
    let packet = request(Family::V4).to_bytes();
    bed.configure(|settings| settings.heartbeat_timeout_ns = 60 * SECOND_NS);
    bed.queue.set_heartbeat(monotonic_ns() - 30 * SECOND_NS);
    assert_eq!(bed.receive(&packet), Reason::ServiceAll);
    bed.queue.set_heartbeat(monotonic_ns() - 61 * SECOND_NS);
    assert_eq!(bed.receive(&packet), Reason::HangDrop);
    // A little in the future, as seen from another CPU.
    bed.queue.set_heartbeat(monotonic_ns() + SECOND_NS);
    assert_eq!(bed.receive(&packet), Reason::FlowInspect);
}

#[test]
fn credits_are_what_was_redirected_and_not_consumed() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.start_engine();
    bed.configure(|settings| settings.credits = 4);
    let packet = request(Family::V4).to_bytes();
    let mut redirected = 0;
    for round in 0..3 {
        for _ in 0..4 {
            assert_ne!(bed.receive(&packet), Reason::RingFullDrop, "round {round}");
            redirected += 1;
            assert_eq!(bed.queue.redirected(), redirected);
        }
        assert_eq!(bed.receive(&packet), Reason::RingFullDrop);
        bed.queue.set_consumed(redirected - 3);
        assert_eq!(bed.receive(&packet), Reason::FlowInspect);
        redirected += 1;
        assert_eq!(bed.receive(&packet), Reason::RingFullDrop);
        bed.queue.set_consumed(redirected);
    }
}

#[test]
fn a_packet_takes_a_credit_for_each_of_its_frames() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.start_engine();
    for family in Family::ALL {
        let packet = |length: usize| {
            let headers = segment(family, flag::ACK, b"").to_bytes().len();
            segment(family, flag::ACK, &vec![b'a'; length - headers]).to_bytes()
        };
        for (length, frame_bytes, frames) in [
            (1000, 1000, 1),
            (1001, 1000, 2),
            (2000, 1000, 2),
            (2001, 1000, 3),
            (2001, 0, 1),
            // Beyond one buffer of the driver's.
            (16_000, 1792, 9),
            (60_000, 1792, 34),
        ] {
            let packet = packet(length);
            assert_eq!(packet.len(), length);
            for credits in [frames, frames - 1] {
                bed.configure(|settings| {
                    settings.credits = credits;
                    settings.frame_bytes = frame_bytes;
                });
                let redirected = bed.queue.redirected();
                bed.queue.set_consumed(redirected);
                let fits = credits == frames;
                let reason = bed.receive(&packet);
                assert_eq!(reason != Reason::RingFullDrop, fits, "{length}: {reason:?}");
                let taken = if fits { frames } else { 0 };
                assert_eq!(bed.queue.redirected(), redirected + u64::from(taken));
            }
        }
    }
}

#[test]
fn credits_of_packets_that_never_came_are_given_back() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.start_engine();
    let tables = Tables::open(bed.tables.pin_dir()).expect("the loader has pinned every map");
    let mut maps = LiveMaps::new(tables, bed.queue.clone());
    // As of an engine that never gets old.
    maps.beat(u64::MAX / 2);
    maps.settle();
    let packet = request(Family::V4).to_bytes();
    let redirect = |bed: &mut Bed, count| {
        for _ in 0..count {
            assert_eq!(bed.receive(&packet).action(), Action::Redirect);
        }
    };
    let in_flight = |bed: &Bed| {
        bed.queue
            .redirected()
            .wrapping_sub(bed.queue.consumed())
            .cast_signed()
    };
    redirect(&mut bed, 3);
    maps.consumed(1);
    maps.settle();
    assert_eq!(in_flight(&bed), 2, "they may be on their way");
    redirect(&mut bed, 1);
    maps.settle();
    assert_eq!(in_flight(&bed), 1, "only the last may be");
    // Those given up come all the same.
    maps.consumed(3);
    assert_eq!(in_flight(&bed), -2);
    maps.settle();
    assert_eq!(in_flight(&bed), 0);
}

#[test]
fn verdicts_and_lists_stay_in_force_without_an_engine() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.configure(|settings| settings.on_failure = Settings::FAIL_PASS);
    let packet = request(Family::V4).to_bytes();
    bed.know(Family::V4.flow(), FlowState::on(FlowState::PATH_BLOCK, 0));
    assert_eq!(bed.receive(&packet), Reason::FlowBlock);
    bed.tables
        .block(
            crate::bed::prefix("10.71.0.0/16"),
            filter_common::block::Block::default(),
        )
        .expect("there is room");
    assert_eq!(bed.receive(&packet), Reason::BlockList);
}
