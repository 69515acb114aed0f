//! Any segmentation and any order of the segments give the same verdict, and the server gets what was accepted.

use filter_score::Verdict;
use proptest::{prelude::*, sample::Index};
use xtask::lab::frame::flag;

use crate::{
    client::Client,
    requests::{ATTACKS, BENIGN},
    site::Site,
};

/// Segments that may be ahead of a gap, for streams cut into single bytes.
const HELD: u16 = 2048;

fn site() -> Site {
    Site::with(|config| {
        config.stream.held_segments = HELD;
        config.held_segments = usize::from(HELD);
    })
}

/// What a client has to say, and how it gets there.
#[derive(Clone, Debug)]
struct Conversation {
    v6: bool,
    isn: u32,
    stream: Vec<u8>,
    fin: bool,
    /// Pieces of the stream, in the order in which they arrive; together they cover it.
    pieces: Vec<(usize, usize)>,
    /// Segments between two acknowledgements of the server that are observed.
    lag: usize,
}

impl Conversation {
    fn client(&self) -> Client {
        let client = if self.v6 {
            Client::v6(40_000)
        } else {
            Client::v4(40_000)
        };
        Client {
            isn: self.isn,
            ..client
        }
    }

    /// Says it all to a fresh loop.
    fn run(&self) -> (Site, Client) {
        let (mut site, client) = (site(), self.client());
        site.open(&client);
        for (number, (from, to)) in self.pieces.iter().enumerate() {
            site.observed = number % self.lag == 0;
            let last = self.fin && *to == self.stream.len();
            let flags = flag::ACK | if last { flag::FIN } else { 0 };
            site.send(client.segment(*from, flags, &self.stream[*from..*to]).to_bytes());
        }
        (site, client)
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let benign = || prop::collection::vec(prop::sample::select(&BENIGN[..]), 0..3);
    let attack = prop::option::of(prop::sample::select(&ATTACKS[..]));
    (benign(), attack, benign()).prop_filter_map("something is said", |(before, attack, after)| {
        let attack = attack.map(|(_, request)| request);
        let all = [before, attack.into_iter().collect(), after].concat().concat();
        (!all.is_empty()).then_some(all)
    })
}

/// How a stream is cut: in a few places, or into single bytes.
fn cuts() -> impl Strategy<Value = Option<Vec<Index>>> {
    prop_oneof![
        4 => prop::collection::vec(any::<Index>(), 0..12).prop_map(Some),
        1 => Just(None),
    ]
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let shape = (any::<bool>(), any::<u32>(), any::<bool>(), 1_usize..8);
    let again = prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>()), 0..6);
    (shape, stream(), cuts(), again, prop::option::of(any::<u64>())).prop_map(
        |((v6, isn, fin, lag), stream, cuts, again, order)| {
            let length = stream.len();
            let mut places = match cuts {
                Some(cuts) => cuts.iter().map(|cut| cut.index(length)).collect(),
                None => (0..length).collect::<Vec<_>>(),
            };
            places.extend([0, length]);
            places.sort_unstable();
            places.dedup();
            let mut pieces: Vec<_> = places.windows(2).map(|pair| (pair[0], pair[1])).collect();
            // Honest retransmissions, cut differently, at any time.
            for (a, b, when) in again {
                let (a, b) = (a.index(length), b.index(length));
                pieces.insert(when.index(pieces.len() + 1), (a.min(b), a.max(b) + 1));
            }
            if let Some(seed) = order {
                shuffle(&mut pieces, seed);
            }
            Conversation {
                v6,
                isn,
                stream,
                fin,
                pieces,
                lag,
            }
        },
    )
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for at in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

/// The same stream in one segment, which is what all others are measured by.
fn whole(conversation: &Conversation) -> Conversation {
    Conversation {
        pieces: vec![(0, conversation.stream.len())],
        ..conversation.clone()
    }
}

fn check(conversation: &Conversation) -> Result<(), TestCaseError> {
    let (mut reference, _) = whole(conversation).run();
    let (mut site, client) = conversation.run();
    let counters = site.counters();
    prop_assert_eq!(site.decisions(), reference.decisions());
    prop_assert_eq!(counters.requests, reference.counters().requests);
    prop_assert_eq!(counters.unscored, [0; 4]);
    let server = site.server(&client);
    if counters.requests[Verdict::Block as usize] == 0 {
        prop_assert_eq!(&server.bytes, &conversation.stream);
        prop_assert_eq!(server.finished, conversation.fin);
        prop_assert_eq!(site.answers.len(), 0);
        prop_assert_eq!(counters.dropped.iter().sum::<u64>(), 0);
        prop_assert_eq!(counters.held, 0);
    } else {
        prop_assert_eq!(counters.requests[Verdict::Block as usize], 1);
        prop_assert!(conversation.stream.starts_with(&server.bytes));
        prop_assert!(server.bytes.len() < conversation.stream.len());
        prop_assert!(!server.finished && server.reset.is_some());
        prop_assert_eq!(counters.held, 0, "what was held behind the attack is given back");
        // What was accepted is never more than what one byte at a time would let through.
        let single = Conversation {
            pieces: (0..conversation.stream.len()).map(|at| (at, at + 1)).collect(),
            ..conversation.clone()
        };
        let (strictest, client) = single.run();
        prop_assert!(server.bytes.len() <= strictest.server(&client).bytes.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_segmentation_and_order_gives_the_same_verdict(conversation in conversation()) {
        check(&conversation)?;
    }
}

#[test]
fn every_request_in_single_bytes_forwards_backwards_and_shuffled() {
    let requests = BENIGN.iter().chain(ATTACKS.iter().map(|(_, request)| request));
    for (number, request) in requests.enumerate() {
        let bytes: Vec<_> = (0..request.len()).map(|at| (at, at + 1)).collect();
        let mut shuffled = bytes.clone();
        shuffle(&mut shuffled, number as u64);
        for (pieces, v6) in [
            (bytes.clone(), false),
            (bytes.into_iter().rev().collect(), true),
            (shuffled, false),
        ] {
            let conversation = Conversation {
                v6,
                // Over the wrap of the sequence numbers.
                isn: u32::MAX - 20,
                stream: request.to_vec(),
                fin: true,
                pieces,
                lag: 1,
            };
            check(&conversation).unwrap_or_else(|error| panic!("request {number}: {error}"));
        }
    }
}

#[test]
fn each_family_is_blocked_and_each_benign_request_is_not() {
    for (family, request) in ATTACKS {
        let (mut site, client) = (site(), Client::v4(40_000));
        site.open(&client);
        site.send(client.data(0, request));
        let event = site.events.try_recv().expect("an attack is reported");
        assert_eq!(event.decision.decision, Verdict::Block, "{family}");
        let families: Vec<_> = event
            .decision
            .categories
            .iter()
            .map(|family| family.name())
            .collect();
        assert!(families.contains(&family), "{families:?} instead of {family}");
        assert_eq!(event.flow, client.key());
        assert!(site.server(&client).bytes.is_empty());
    }
    for request in BENIGN {
        let (mut site, client) = (site(), Client::v6(40_000));
        site.open(&client);
        site.send(client.data(0, request));
        let event = site
            .events
            .try_recv()
            .expect("allowed ones are reported here, too");
        assert_eq!(event.decision.decision, Verdict::Allow, "{:?}", event.decision);
        assert_eq!(site.server(&client).bytes, request);
    }
}
