//! The challenge to sources of SYNs.

use std::net::IpAddr;

use filter_common::{
    Action, Address, FlowState, Reason,
    challenge::{ChallengeSettings, ChallengeState, Cookie, Proof},
    limit::{Limit, SharedLimit},
    service::Service,
    settings::Settings,
};
use filter_user::bpf::monotonic_ns;
use xtask::lab::frame::{Checksum, Frame, TAG_8021AD, TAG_8021Q, flag};

use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, reply, request, segment, syn, tcp_mut},
};

const HOUR_NS: u64 = 3_600_000_000_000;
const FOR_EVER: u64 = u64::MAX / 2;
/// SYNs in a bucket; none comes back while a test runs.
const BURST: u64 = 4;

fn shared(burst: u64) -> SharedLimit {
    SharedLimit {
        limit: Limit {
            interval_ns: HOUR_NS,
            burst_ns: HOUR_NS * burst,
        },
        lease: 1,
    }
}

fn settings() -> ChallengeSettings {
    ChallengeSettings {
        above: shared(BURST),
        keep: shared(BURST),
        hold_ns: HOUR_NS,
        proof_ns: HOUR_NS,
        key: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
    }
}

/// One service, inspected, and an engine.
fn arrange(bed: &mut Bed) {
    bed.reset();
    bed.start_engine();
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    bed.configure(|all| all.challenge = settings());
}

/// The same with the challenge up.
pub(crate) fn raise(bed: &mut Bed) {
    arrange(bed);
    set_until(bed, FOR_EVER);
}

fn set_until(bed: &mut Bed, until_ns: u64) {
    let state = ChallengeState { due_ns: 0, until_ns };
    bed.tables
        .challenge
        .set(0, state, 0)
        .expect("the state is one entry");
}

fn until(bed: &Bed) -> u64 {
    bed.tables
        .challenge
        .get(&0, 0)
        .expect("the state is one entry")
        .until_ns
}

/// Runs a SYN that must be challenged, and reads the answer.
fn challenge(bed: &mut Bed, frame: &Frame) -> Frame {
    let (reason, bytes) = bed.answer(&frame.to_bytes());
    assert_eq!(reason, Reason::Challenge);
    let answer = Frame::parse(&bytes).expect("the answer is well formed");
    assert_eq!(bytes, answer.to_bytes(), "to the last bit, IP checksum and all");
    answer
}

/// The reset by which a client answers (RFC 9293 §3.10.7.3).
pub(crate) fn reset(frame: &Frame, answer: &Frame) -> Frame {
    let mut reset = frame.clone();
    let tcp = tcp_mut(&mut reset);
    tcp.flags = flag::RST;
    tcp.sequence = answer.tcp().expect("the answer is TCP").acknowledgement;
    tcp.acknowledgement = 0;
    tcp.options = Vec::new();
    tcp.payload = Vec::new();
    reset
}

/// SYNs as clients send them: bare, with options, with data, with IP options or extension headers, with tags.
fn syns(family: Family) -> Vec<Frame> {
    let plain = syn(family);
    let mut optioned = plain.clone();
    tcp_mut(&mut optioned).options = vec![2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let mut filled = optioned.clone();
    tcp_mut(&mut filled).payload = vec![b'x'; 1200];
    let mut odd = optioned.clone();
    match family {
        Family::V4 => odd.ip_options = vec![1; 8],
        Family::V6 => odd.extension_headers = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])],
    }
    let once = optioned.clone().tagged(TAG_8021Q, 100);
    let twice = plain.clone().tagged(TAG_8021AD, 7).tagged(TAG_8021Q, 100);
    vec![plain, optioned, filled, odd, once, twice]
}

#[test]
fn the_answer_is_a_syn_ack_that_acknowledges_what_was_never_sent() {
    let Some(mut bed) = Bed::new() else { return };
    raise(&mut bed);
    bed.configure(|all| all.vlan = Settings::VLAN_PASS);
    for family in Family::ALL {
        for frame in syns(family) {
            let answer = challenge(&mut bed, &frame);
            assert_eq!(answer.source_mac, frame.destination_mac);
            assert_eq!(answer.destination_mac, frame.source_mac);
            assert_eq!(answer.tags, frame.tags);
            assert_eq!(
                (answer.source, answer.destination),
                (frame.destination, frame.source)
            );
            assert_eq!(answer.checksum, Checksum::Valid);
            assert_eq!(answer.ttl, 64);
            let (sent, tcp) = (
                frame.tcp().expect("a SYN is TCP"),
                answer.tcp().expect("the answer is TCP"),
            );
            assert_eq!(tcp.source_port, sent.destination_port);
            assert_eq!(tcp.destination_port, sent.source_port);
            assert_eq!(tcp.flags, flag::SYN | flag::ACK);
            assert!(tcp.payload.is_empty() && tcp.options.is_empty());
            let ahead = tcp.acknowledgement.wrapping_sub(sent.sequence);
            assert!(ahead == 0 || ahead as usize > 1 + sent.payload.len(), "{ahead}");
        }
        let nothing = bed.tables.flows.keys().count() + bed.tables.proven.keys().count();
        assert_eq!(nothing, 0, "no state of sources that have proved nothing");
    }
    assert_eq!(bed.tables.rates.keys().count(), 0);
}

#[test]
fn the_reset_proves_the_source_and_its_next_syn_goes_on() {
    let Some(mut bed) = Bed::new() else { return };
    for family in Family::ALL {
        raise(&mut bed);
        let frame = syn(family);
        let answer = challenge(&mut bed, &frame);
        let proof = reset(&frame, &answer);
        assert_eq!(bed.receive(&proof.to_bytes()), Reason::ChallengeProved);
        assert!(
            bed.tables.flows.keys().next().is_none(),
            "the reset goes no further"
        );
        assert_eq!(bed.receive(&frame.to_bytes()), Reason::ServiceAll, "{family:?}");
        // It holds for all its connections.
        let mut other = syn(family);
        tcp_mut(&mut other).source_port += 1;
        assert_eq!(bed.receive(&other.to_bytes()), Reason::ServiceAll);
        // And for nobody else's.
        other.source = match family {
            Family::V4 => IpAddr::from([10, 71, 0, 3]),
            Family::V6 => IpAddr::from([0xfd71, 0, 0, 1, 0, 0, 0, 2]),
        };
        challenge(&mut bed, &other);
    }
}

#[test]
fn a_proof_ends() {
    let Some(mut bed) = Bed::new() else { return };
    raise(&mut bed);
    let frame = syn(Family::V4);
    let source = Address::from(Family::V4.client());
    for (until_ns, is_proven) in [(FOR_EVER, true), (1, false)] {
        let proof = Proof { until_ns };
        bed.tables.proven.insert(source, proof, 0).expect("there is room");
        if is_proven {
            assert_eq!(bed.receive(&frame.to_bytes()), Reason::ServiceAll);
        } else {
            challenge(&mut bed, &frame);
        }
    }
}

#[test]
fn a_reset_that_answers_nothing_proves_nothing() {
    let Some(mut bed) = Bed::new() else { return };
    for family in Family::ALL {
        raise(&mut bed);
        let frame = syn(family);
        let answer = challenge(&mut bed, &frame);
        let proof = reset(&frame, &answer);
        let mut wrong = vec![proof.clone(); 4];
        tcp_mut(&mut wrong[0]).sequence ^= 1;
        tcp_mut(&mut wrong[1]).source_port += 1;
        wrong[2].source = match family {
            Family::V4 => IpAddr::from([10, 71, 0, 9]),
            Family::V6 => IpAddr::from([0xfd71, 0, 0, 9, 0, 0, 0, 9]),
        };
        tcp_mut(&mut wrong[3]).sequence = 0;
        for frame in &wrong {
            assert_eq!(bed.receive(&frame.to_bytes()), Reason::ChallengeFailed);
        }
        assert!(bed.tables.proven.keys().next().is_none());
        // Another key, as after another start.
        bed.configure(|all| all.challenge.key[0] ^= 1);
        assert_eq!(bed.receive(&proof.to_bytes()), Reason::ChallengeFailed);
        // What could be a reset of a connection goes on: with ACK, or of a flow that is known.
        let mut acknowledging = wrong[0].clone();
        tcp_mut(&mut acknowledging).flags |= flag::ACK;
        assert_eq!(bed.receive(&acknowledging.to_bytes()), Reason::ServiceAll);
        assert_eq!(bed.receive(&wrong[0].to_bytes()), Reason::FlowInspect);
    }
}

#[test]
fn a_cookie_is_good_in_its_slot_of_time_and_the_next() {
    let Some(mut bed) = Bed::new() else { return };
    raise(&mut bed);
    // The slot may change while the test runs: then once more.
    loop {
        let slot = Cookie::slot(monotonic_ns());
        let results = [0, 1, 2, u32::MAX].map(|age| {
            let cookie = Cookie::new(settings().key, &Family::V4.flow(), slot.wrapping_sub(age));
            let mut frame = segment(Family::V4, flag::RST, b"");
            tcp_mut(&mut frame).sequence = cookie.to_word() as u32;
            let reason = bed.receive(&frame.to_bytes());
            for key in bed.tables.proven.keys().flatten().collect::<Vec<_>>() {
                bed.tables.proven.remove(&key).expect("it is there");
            }
            reason
        });
        if Cookie::slot(monotonic_ns()) == slot {
            use Reason::{ChallengeFailed, ChallengeProved};
            let expected = [ChallengeProved, ChallengeProved, ChallengeFailed, ChallengeFailed];
            assert_eq!(results, expected);
            return;
        }
    }
}

#[test]
fn it_goes_up_above_the_rate_and_down_below_the_lower_one_after_the_hold() {
    let Some(mut bed) = Bed::new() else { return };
    arrange(&mut bed);
    let mut port = 50_000;
    let mut next = || {
        port += 1;
        let mut frame = syn(Family::V4);
        tcp_mut(&mut frame).source_port = port;
        frame
    };
    for _ in 0..BURST {
        assert_eq!(bed.receive(&next().to_bytes()), Reason::ServiceAll);
    }
    // Other packets do not count.
    for _ in 0..10 {
        bed.receive(&request(Family::V4).to_bytes());
    }
    assert_eq!(until(&bed), 0);
    challenge(&mut bed, &next());
    let first = until(&bed);
    assert!(first > monotonic_ns(), "it holds");
    // Above the lower rate the hold begins anew, when an eighth of it is over.
    challenge(&mut bed, &next());
    assert_eq!(until(&bed), first);
    let nearly_over = monotonic_ns() + HOUR_NS / 2;
    let state = bed.tables.challenge.get(&0, 0).expect("the state is one entry");
    let state = ChallengeState {
        until_ns: nearly_over,
        ..state
    };
    bed.tables
        .challenge
        .set(0, state, 0)
        .expect("the state is one entry");
    challenge(&mut bed, &next());
    assert!(until(&bed) > nearly_over);
    // Below it, the hold runs out.
    set_until(&mut bed, nearly_over);
    challenge(&mut bed, &next());
    assert_eq!(until(&bed), nearly_over, "with tokens left nothing is prolonged");
    set_until(&mut bed, 1);
    assert_eq!(bed.receive(&next().to_bytes()), Reason::ServiceAll);
}

#[test]
fn only_syns_to_inspected_services_are_challenged() {
    let Some(mut bed) = Bed::new() else { return };
    for family in Family::ALL {
        raise(&mut bed);
        bed.serve(None, 81, Service::INSPECT_NONE);
        bed.serve(None, 82, Service::INSPECT_SUSPICIOUS);
        let to = |port: u16| {
            let mut frame = syn(family);
            tcp_mut(&mut frame).destination_port = port;
            frame
        };
        assert_eq!(bed.receive(&to(81).to_bytes()), Reason::ServiceNone);
        assert_eq!(bed.receive(&to(83).to_bytes()), Reason::NoService);
        challenge(&mut bed, &to(82));
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::ServiceAll);
        let tcp = tcp_mut(&mut segment(family, flag::SYN | flag::ACK, b"")).clone();
        assert_eq!(bed.receive(&reply(family, tcp).to_bytes()), Reason::NoService);
        // A SYN on the ports of a known flow is as good as any other, of a blocked one, too.
        for path in [FlowState::PATH_INSPECT, FlowState::PATH_BLOCK] {
            let state = FlowState::on(path, 0);
            bed.know(family.flow(), state);
            let answer = challenge(&mut bed, &syn(family));
            if path == FlowState::PATH_BLOCK {
                bed.receive(&reset(&syn(family), &answer).to_bytes());
                assert_eq!(bed.receive(&syn(family).to_bytes()), Reason::FlowBlock);
            }
        }
        // Tagged frames that are to be dropped are.
        let mut tagged = syn(family).tagged(TAG_8021Q, 1);
        tcp_mut(&mut tagged).source_port += 1;
        assert_eq!(bed.receive(&tagged.to_bytes()), Reason::Vlan);
    }
}

#[test]
fn without_a_threshold_there_is_none() {
    let Some(mut bed) = Bed::new() else { return };
    raise(&mut bed);
    bed.configure(|all| all.challenge.above = SharedLimit::default());
    assert_eq!(bed.receive(&syn(Family::V4).to_bytes()), Reason::ServiceAll);
    assert_eq!(Reason::Challenge.action(), Action::Answer);
}
