//! An honest client on a bad path: any segmentation, order, duplication and loss.

use filter_user::flow::{FailurePolicy, Flags, Seq, StreamLimits};
use proptest::prelude::*;

use crate::harness::{Engine, Setup};
use crate::receiver::Overlap;

#[derive(Clone, Debug)]
struct Path {
    isn: Seq,
    /// Segment lengths, used in turn.
    cuts: Vec<usize>,
    /// Sort keys, used in turn: they shuffle each flight.
    order: Vec<u8>,
    /// In turn: whether a segment is sent twice, and whether it is lost behind the engine.
    twice: Vec<bool>,
    lost: Vec<bool>,
    /// In turn: whether another engine takes over before a segment.
    handed_over: Vec<bool>,
    limits: StreamLimits,
    chunk: usize,
    policy: Overlap,
    observed: bool,
}

fn path() -> impl Strategy<Value = Path> {
    let start = prop_oneof![Just(Seq(u32::MAX - 20)), any::<u32>().prop_map(Seq)];
    let chaos = (
        prop::collection::vec(1_usize..60, 1..12),
        prop::collection::vec(any::<u8>(), 1..40),
        prop::collection::vec(prop::bool::weighted(0.2), 1..16),
        prop::collection::vec(prop::bool::weighted(0.2), 1..16),
        prop::collection::vec(prop::bool::weighted(0.1), 1..16),
    );
    let bounds = (
        1_u16..8,
        60_u32..500,
        1_u32..300,
        1_usize..40,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (start, chaos, bounds).prop_map(|(isn, (cuts, order, twice, lost, handed_over), bounds)| {
        let (held_segments, held_bytes, ask_after, chunk, last, pass, observed) = bounds;
        let unverifiable = if pass {
            FailurePolicy::Pass
        } else {
            FailurePolicy::Drop
        };
        let limits = StreamLimits {
            held_segments,
            held_bytes,
            window: 4096,
            ask_after,
            unverifiable,
        };
        let policy = if last { Overlap::Last } else { Overlap::First };
        Path {
            isn,
            cuts,
            order,
            twice,
            lost,
            handed_over,
            limits,
            chunk,
            policy,
            observed,
        }
    })
}

/// Sends `source` until the receiver has acknowledged it and its end; returns the engine.
fn transfer(source: &[u8], path: &Path) -> Engine {
    // Without an observer nothing is ever released, so the evidence has to have room for all.
    let share = if path.observed { 130 } else { 4096 };
    let setup = Setup {
        limits: path.limits,
        chunks: share as usize / path.chunk + 3,
        chunk: path.chunk,
        share,
        overlap: path.policy,
        observed: path.observed,
    };
    let mut engine = Engine::new(&setup);
    engine.send(path.isn, Flags::SYN, &[], false);
    engine.arrive(1);
    engine.send(path.isn + 1, Flags::ACK, &[], false);
    let mut cuts = path.cuts.iter().copied().cycle();
    let mut order = path.order.iter().copied().cycle();
    let mut twice = path.twice.iter().copied().cycle();
    let mut lost = path.lost.iter().copied().cycle();
    let mut handed_over = path.handed_over.iter().copied().cycle();
    let first = path.isn + 1;
    let end = first + source.len() as u32;
    for flight in 0.. {
        assert!(flight < 2000, "the transfer makes no progress");
        engine.arrive(usize::MAX);
        engine.assert_receiver_saw_only_scored_bytes();
        let acknowledged = engine.receiver.next;
        if acknowledged == end + 1 {
            return engine;
        }
        let mut segments = Vec::new();
        let mut from = first.until(acknowledged);
        loop {
            let to = (from + cuts.next().unwrap_or(1)).min(source.len());
            segments.push((order.next(), from, to));
            if twice.next() == Some(true) {
                segments.push((order.next(), from, to));
            }
            from = to;
            if to == source.len() {
                break;
            }
        }
        // Later flights go in order, so that tiny holding bounds can be got over.
        if flight % 2 == 0 {
            segments.sort();
        }
        for (_, from, to) in segments {
            let fin = if to == source.len() {
                Flags::FIN
            } else {
                Flags::PSH
            };
            // From some flight on the path is good.
            let lost = flight < 20 && lost.next() == Some(true);
            if flight < 20 && handed_over.next() == Some(true) {
                engine.hand_over();
            }
            engine.send(first + from as u32, Flags::ACK.with(fin), &source[from..to], lost);
        }
    }
    unreachable!("the loop ends by returning or by its assertion")
}

proptest! {
    /// Whatever the segmentation, order, duplication and loss: delivered once, in order, whole; no frame is lost.
    #[test]
    fn every_byte_is_delivered_exactly_once_in_order(
        source in prop::collection::vec(0_u8..0xe0, 1..600),
        path in path(),
    ) {
        let mut engine = transfer(&source, &path);
        prop_assert_eq!(engine.scored.len(), 1);
        prop_assert_eq!(&engine.scored[0].bytes, &source);
        prop_assert_eq!(&engine.receiver.connections[0].bytes, &source);
        prop_assert!(engine.scored[0].ended && engine.receiver.connections[0].ended);
        engine.finish();
    }
}
