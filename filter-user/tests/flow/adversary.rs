//! A client that sends whatever it likes, and knows which of its frames will not arrive.

use filter_user::flow::{FailurePolicy, Flags, Seq, StreamLimits};
use proptest::prelude::*;

use crate::harness::{BAD, Engine, Setup};
use crate::receiver::Overlap;

#[derive(Clone, Debug)]
enum Step {
    /// Payload at `at`, one byte of it perhaps changed.
    Data {
        at: u32,
        len: u32,
        other: Option<(u32, u8)>,
        fin: bool,
        ack: bool,
        lost: bool,
    },
    Syn {
        at: u32,
        lost: bool,
    },
    Rst {
        at: u32,
        lost: bool,
    },
    /// Another engine takes over.
    HandOver,
    /// Some frames get from the engine to the server.
    Arrive(usize),
}

/// All positions lie in this many sequence numbers, so that everything overlaps, new connections included.
const SPACE: u32 = 48;

fn step() -> impl Strategy<Value = Step> {
    let lost = || prop::bool::weighted(0.25);
    let other = prop_oneof![
        3 => Just(None),
        2 => (0_u32..16, 0_u8..3).prop_map(Some),
    ];
    prop_oneof![
        12 => (0..SPACE, 0_u32..16, other, prop::bool::weighted(0.1), prop::bool::weighted(0.95), lost())
            .prop_map(|(at, len, other, fin, ack, lost)| Step::Data { at, len, other, fin, ack, lost }),
        1 => (0..SPACE, lost()).prop_map(|(at, lost)| Step::Syn { at, lost }),
        1 => (0..SPACE, lost()).prop_map(|(at, lost)| Step::Rst { at, lost }),
        4 => (1_usize..6).prop_map(Step::Arrive),
        1 => Just(Step::HandOver),
    ]
}

/// A step whose position is likely to be just where the stream is.
fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    prop::collection::vec((step(), prop::bool::weighted(0.4)), 1..60)
}

fn byte(seq: Seq, variant: u8) -> u8 {
    // Variant 2 is rarely enough the byte that gets a segment rejected.
    if variant == 2 && seq.0.is_multiple_of(5) {
        BAD
    } else {
        (seq.0 as u8).wrapping_mul(29) % 0x70 + variant
    }
}

fn run(start: Seq, seen: bool, steps: &[(Step, bool)], setup: &Setup) {
    let mut engine = Engine::new(setup);
    if seen {
        engine.send(start, Flags::SYN, &[], false);
        engine.arrive(1);
    } else {
        engine.receiver.receive_syn(start);
    }
    for (step, aim) in steps {
        let place = |at: u32| {
            if *aim {
                engine.receiver.next + at % 4 - 2
            } else {
                start + at
            }
        };
        match *step {
            Step::Data {
                at,
                len,
                other,
                fin,
                ack,
                lost,
            } => {
                let seq = place(at);
                let mut payload: Vec<u8> = (0..len).map(|n| byte(seq + n, 0)).collect();
                if let Some((position, variant)) = other
                    && let Some(changed) = payload.get_mut(position as usize)
                {
                    *changed = byte(seq + position, variant);
                }
                let flags = [(ack, Flags::ACK), (fin, Flags::FIN)];
                let flags = flags
                    .into_iter()
                    .filter(|(on, _)| *on)
                    .fold(Flags::PSH, |all, (_, flag)| all.with(flag));
                engine.send(seq, flags, &payload, lost);
            }
            Step::Syn { at, lost } => {
                let seq = place(at);
                engine.send(seq, Flags::SYN, &[], lost);
            }
            Step::Rst { at, lost } => {
                let seq = place(at);
                engine.send(seq, Flags::RST.with(Flags::ACK), &[], lost);
            }
            Step::Arrive(count) => engine.arrive(count),
            Step::HandOver => engine.hand_over(),
        }
        engine.assert_receiver_saw_only_scored_bytes();
    }
    engine.arrive(usize::MAX);
    engine.assert_receiver_saw_only_scored_bytes();
    engine.finish();
}

proptest! {
    /// What the server can see is a beginning of what was scored, whatever is sent and whatever gets lost.
    #[test]
    fn the_server_sees_only_what_was_scored(
        start in prop_oneof![Just(Seq(u32::MAX - 10)), any::<u32>().prop_map(Seq)],
        steps in steps(),
        last in any::<bool>(),
        // Who observes, and whether the flow was seen from its beginning; unobserved, nothing is known of a missed one.
        (observed, seen) in prop::sample::select(vec![(true, true), (true, false), (false, true)]),
        bounds in (1_u16..8, 8_u32..64, 1_u32..40, 1_usize..20, 8_u32..80),
    ) {
        let (held_segments, held_bytes, ask_after, chunk, share) = bounds;
        let setup = Setup {
            limits: StreamLimits {
                held_segments,
                held_bytes,
                window: 64,
                ask_after,
                unverifiable: FailurePolicy::Drop,
            },
            chunks: 6,
            chunk,
            share,
            overlap: if last { Overlap::Last } else { Overlap::First },
            observed,
        };
        run(start, seen, &steps, &setup);
    }
}
