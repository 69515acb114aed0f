//! What a verdict costs with full maps and without.

use std::net::{IpAddr, Ipv6Addr};

use aya::programs::{TestRun as _, TestRunOptions};
use filter_common::{Action, Address, FlowState, block::Block, service::Service};
use filter_user::bpf::{Prefix, Sizes};

use crate::{
    Scale,
    bed::Bed,
    blocks, flows,
    packets::{Family, SERVER_PORT, request},
};

const ROUNDS: usize = 5;
/// What is entered where the maps are not full.
const FEW: u32 = 1_000;

/// The program twice, with maps of the same sizes.
pub(crate) struct Beds {
    /// With a few entries.
    few: Bed,
    pub(crate) full: Bed,
}

impl Beds {
    /// `None` without root.
    pub(crate) fn new(scale: Scale) -> Option<Self> {
        let sizes = Sizes {
            flows: scale.entries,
            sources: 1024,
            blocks: scale.entries,
            prefixes: scale.entries,
            services: 64,
        };
        let mut few = Bed::sized(sizes)?;
        let full = Bed::sized(sizes)?;
        for number in 0..FEW.min(scale.entries) {
            let (tables, client) = (&mut few.tables, IpAddr::V4(blocks::source(number)));
            let there_is_room = "there is room";
            tables
                .block_source(Address::from(client), Block::default())
                .expect(there_is_room);
            tables
                .block(blocks::prefix_v4(number), Block::default())
                .expect(there_is_room);
            tables
                .block(blocks::prefix_v6(number), Block::default())
                .expect(there_is_room);
            tables
                .flows
                .insert(flows::key(number), FlowState::inspect(0), 0)
                .expect(there_is_room);
        }
        Some(Self { few, full })
    }
}

/// Packets that get the same verdict.
struct Class {
    name: &'static str,
    action: Action,
    /// Where the packet with this number comes from.
    source: fn(u32) -> IpAddr,
    /// Whether the service is inspected.
    is_served: bool,
}

const CLASSES: [Class; 5] = [
    Class {
        name: "drop: source block",
        action: Action::Drop,
        source: |number| IpAddr::V4(blocks::source(number)),
        is_served: false,
    },
    Class {
        name: "drop: block list, IPv4",
        action: Action::Drop,
        source: |number| inside(blocks::prefix_v4(number)),
        is_served: false,
    },
    Class {
        name: "drop: block list, IPv6",
        action: Action::Drop,
        source: |number| inside(blocks::prefix_v6(number)),
        is_served: false,
    },
    Class {
        name: "pass: neither blocked nor served",
        action: Action::Pass,
        source: |number| IpAddr::V4(blocks::source(number.wrapping_add(1 << 30))),
        is_served: false,
    },
    Class {
        name: "redirect: flow that is known",
        action: Action::Redirect,
        source: |number| flows::key(number).source.into(),
        is_served: true,
    },
];

/// An address of the block that is not its first.
fn inside(prefix: Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) | u32::from(prefix.length < 32)).into()),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) | 1)),
    }
}

/// Nanoseconds a packet, of one round or more.
#[derive(Default)]
struct Figures {
    /// The same packet over and over: all it touches is in the cache.
    same: Vec<u128>,
    /// The median of packets that are all of other sources, each run once.
    other: Vec<u128>,
}

impl Figures {
    fn add(&mut self, bed: &mut Bed, class: &Class, packets: &[Vec<u8>], repeat: u32) {
        bed.tables.set_services(&[]).expect("services can be removed");
        if class.is_served {
            bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
        }
        let run = |packet: &Vec<u8>, repeat| {
            let options = TestRunOptions {
                data_in: Some(packet),
                repeat,
                ..TestRunOptions::default()
            };
            let result = bed.xdp().test_run(options).expect("the program runs");
            (result.return_value == number_of(class.action)).then_some(result.duration.as_nanos())
        };
        // Some addresses cannot be sources, and of those that are in no map some are in a prefix by chance.
        let fitting: Vec<_> = packets.iter().filter(|packet| run(packet, 1).is_some()).collect();
        assert!(
            fitting.len() > packets.len() / 2,
            "{}: only {}",
            class.name,
            fitting.len()
        );
        self.same.push(run(fitting[0], repeat).expect("it did just now"));
        // What was asked for last is what was not asked for the longest.
        let mut all: Vec<_> = fitting.iter().filter_map(|packet| run(packet, 1)).collect();
        all.sort_unstable();
        self.other.push(all[all.len() / 2]);
    }

    fn lowest(&self) -> [u128; 2] {
        [&self.same, &self.other].map(|figures| figures.iter().copied().min().unwrap_or_default())
    }
}

/// An action's number in the kernel (`enum xdp_action`).
const fn number_of(action: Action) -> u32 {
    match action {
        Action::Drop => 1,
        Action::Pass => 2,
        Action::Answer => 3,
        Action::Redirect => 4,
    }
}

fn packets(class: &Class, entries: u32, scale: Scale) -> Vec<Vec<u8>> {
    let asked = scale.asked.min(entries);
    let from = |number: u32| {
        let source = (class.source)(number * (entries / asked));
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut frame = request(family);
        frame.source = source;
        frame.to_bytes()
    };
    (0..asked).map(from).collect()
}

/// Both programs in turn.
pub(crate) fn compare(beds: &mut Beds, scale: Scale, repeat: u32) {
    beds.few.start_engine();
    beds.full.start_engine();
    println!(
        "{:<34} {:>10} {:>10} {:>12} {:>12}   ns a packet, the least of {ROUNDS} rounds",
        "verdict", "same, few", "same, full", "others, few", "others, full"
    );
    for class in &CLASSES {
        let of_few = packets(class, FEW.min(scale.entries), scale);
        let of_all = packets(class, scale.entries, scale);
        let (mut few, mut full) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            few.add(&mut beds.few, class, &of_few, repeat);
            full.add(&mut beds.full, class, &of_all, repeat);
        }
        let ([same_few, other_few], [same_full, other_full]) = (few.lowest(), full.lowest());
        println!(
            "{:<34} {same_few:>10} {same_full:>10} {other_few:>12} {other_full:>12}",
            class.name
        );
    }
    println!(
        "few: {FEW} entries; others: as many sources as entries, {} at most, each packet once",
        scale.asked
    );
}
