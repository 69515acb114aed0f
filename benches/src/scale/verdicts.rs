//! What a verdict costs with full maps and without.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use filter_common::{Action, service::Service};
use filter_user::bpf::{Prefix, Sizes};
use serde::Serialize;

use super::{blocks, flows};
use crate::{
    bed::Bed,
    packets::{Family, SERVER_PORT, request},
};

const ROUNDS: usize = 5;
/// What is entered where the maps are not full.
const FEW: u32 = 1_000;

/// The program twice, with maps of the same sizes.
pub(super) struct Beds {
    /// With a few entries.
    few: Bed,
    pub(super) full: Bed,
}

impl Beds {
    /// With room for so many entries of each kind.
    ///
    /// # Errors
    /// Without root.
    pub(super) fn new(entries: u32) -> Result<Self> {
        let sizes = Sizes {
            flows: entries,
            sources: 1024,
            blocks: entries,
            prefixes: entries,
            services: 64,
        };
        let bed = || Bed::sized(sizes).context("loading the program (fix: run as root)");
        let (mut few, mut full) = (bed()?, bed()?);
        blocks::enter(&mut few.tables, 0..FEW.min(entries), &mut Vec::new())?;
        few.start_engine();
        full.start_engine();
        Ok(Self { few, full })
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
    fn add(&mut self, bed: &mut Bed, class: &Class, packets: &[Vec<u8>], repeat: u32) -> Result<()> {
        bed.tables.set_services(&[]).context("removing services")?;
        if class.is_served {
            bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
        }
        let run = |packet: &Vec<u8>, repeat| {
            let options = TestRunOptions {
                data_in: Some(packet),
                repeat,
                ..TestRunOptions::default()
            };
            let result = bed.xdp().test_run(options).context("running the program")?;
            let is_right = result.return_value == number_of(class.action);
            anyhow::Ok(is_right.then_some(result.duration.as_nanos()))
        };
        // Some addresses cannot be sources, and of those that are in no map some are in a prefix by chance.
        let mut fitting = Vec::new();
        for packet in packets {
            fitting.extend(run(packet, 1)?.map(|_| packet));
        }
        ensure!(
            fitting.len() > packets.len() / 2,
            "{}: only {} of {} packets got that verdict",
            class.name,
            fitting.len(),
            packets.len()
        );
        self.same.extend(run(fitting[0], repeat)?);
        // What was asked for last is what was not asked for the longest.
        let mut all = Vec::new();
        for packet in fitting {
            all.extend(run(packet, 1)?);
        }
        all.sort_unstable();
        self.other.push(all[all.len() / 2]);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one packet")]
    fn lowest(&self) -> [f64; 2] {
        [&self.same, &self.other].map(|figures| figures.iter().min().map_or(f64::NAN, |ns| *ns as f64))
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

/// Packets of so many of the entries, at most `asked`.
fn packets(class: &Class, entries: u32, asked: u32) -> Vec<Vec<u8>> {
    let asked = asked.min(entries);
    let from = |number: u32| {
        let source = (class.source)(number * (entries / asked));
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut frame = request(family);
        frame.source = source;
        frame.to_bytes()
    };
    (0..asked).map(from).collect()
}

/// What a verdict costs with few entries in the maps and with many.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) class: &'static str,
    pub(super) entries: u32,
    /// Nanoseconds of the same packet over and over, and of packets that are all of other sources: with few entries.
    pub(super) few: [f64; 2],
    /// The same with all.
    pub(super) full: [f64; 2],
}

/// Both programs in turn; the full one has so many entries now.
///
/// # Errors
/// If packets get other verdicts.
pub(super) fn compare(beds: &mut Beds, entries: u32, asked: u32, repeat: u32) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for class in &CLASSES {
        let of_few = packets(class, FEW.min(entries), asked);
        let of_all = packets(class, entries, asked);
        let (mut few, mut full) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            few.add(&mut beds.few, class, &of_few, repeat)?;
            full.add(&mut beds.full, class, &of_all, repeat)?;
        }
        verdicts.push(Verdict {
            class: class.name,
            entries,
            few: few.lowest(),
            full: full.lowest(),
        });
    }
    Ok(verdicts)
}
