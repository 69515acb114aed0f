//! What is entered into the maps: blocks and flows, and how long that takes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Address, FlowState, block::Block, map};
use filter_user::bpf::{Prefix, Tables, monotonic_ns};
use serde::Serialize;

use super::{flows, memory};

/// Odd, so that its multiples are different in any number of lowest bits; and they lie anywhere.
const SCATTER: u32 = 0x9e37_79b1;
/// Lengths of CIDR blocks, as published lists have them: mostly networks, and single addresses.
const LENGTHS_V4: [u8; 8] = [24, 24, 24, 32, 24, 22, 28, 24];
const LENGTHS_V6: [u8; 4] = [48, 64, 48, 56];

/// The source with this number.
pub(super) fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(number.wrapping_mul(SCATTER))
}

/// A CIDR block for IPv4.
pub(super) fn prefix_v4(number: u32) -> Prefix {
    let (length, index) = pick(&LENGTHS_V4, number);
    let bits = index.wrapping_mul(SCATTER) << (32 - u32::from(length));
    Prefix {
        address: IpAddr::V4(bits.into()),
        length,
    }
}

/// A CIDR block for IPv6.
pub(super) fn prefix_v6(number: u32) -> Prefix {
    let (length, index) = pick(&LENGTHS_V6, number);
    let bits = u128::from(index.wrapping_mul(SCATTER)) << (128 - u32::from(length));
    let bits = bits & (u128::MAX >> 16) | 0x2001 << 112;
    Prefix {
        address: IpAddr::V6(Ipv6Addr::from(bits)),
        length,
    }
}

/// The length, and how many of that length were before.
fn pick(lengths: &[u8], number: u32) -> (u8, u32) {
    let (round, place) = (number as usize / lengths.len(), number as usize % lengths.len());
    let length = lengths[place];
    let same = |lengths: &[u8]| {
        lengths
            .iter()
            .map(|other| u32::from(*other == length))
            .sum::<u32>()
    };
    (length, round as u32 * same(lengths) + same(&lengths[..place]))
}

/// A kind of entry, and how one is made.
struct Kind {
    name: &'static str,
    map: &'static str,
    enter: fn(&mut Tables, u32) -> Result<()>,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "sources that end",
        map: map::SOURCE_BLOCKS,
        enter: |tables, number| {
            let ends = Block {
                until_ns: monotonic_ns() + 3_600_000_000_000,
                ..Block::default()
            };
            let is_new = tables.block_source(Address::from(IpAddr::V4(source(number))), ends)?;
            ensure!(is_new, "a source was there before");
            Ok(())
        },
    },
    Kind {
        name: "CIDR blocks for IPv4",
        map: map::BLOCK_V4,
        enter: |tables, number| {
            tables.block(prefix_v4(number), Block::default())?;
            Ok(())
        },
    },
    Kind {
        name: "CIDR blocks for IPv6",
        map: map::BLOCK_V6,
        enter: |tables, number| {
            tables.block(prefix_v6(number), Block::default())?;
            Ok(())
        },
    },
    Kind {
        name: "flows",
        map: map::FLOWS,
        enter: |tables, number| {
            tables
                .flows
                .insert(flows::key(number), FlowState::inspect(0), 0)?;
            Ok(())
        },
    },
];

/// What it took to enter some of a kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entered {
    pub(super) name: &'static str,
    pub(super) entries: u32,
    pub(super) seconds: f64,
    /// Bytes of the map, as the kernel says.
    pub(super) map_bytes: u64,
    /// By how much all objects of the kernel have grown, in bytes.
    pub(super) kernel_bytes: u64,
}

/// Enters the entries with these numbers of every kind, and adds what that took.
///
/// # Errors
/// If there is no room.
pub(super) fn enter(tables: &mut Tables, numbers: Range<u32>, entered: &mut Vec<Entered>) -> Result<()> {
    entered.resize_with(KINDS.len(), Entered::default);
    for (kind, entered) in KINDS.iter().zip(entered) {
        let kernel = memory::kernel_objects()?;
        let began = Instant::now();
        for number in numbers.clone() {
            (kind.enter)(tables, number).with_context(|| format!("{}: entry {number}", kind.name))?;
        }
        entered.seconds += began.elapsed().as_secs_f64();
        entered.name = kind.name;
        entered.entries += numbers.len() as u32;
        entered.map_bytes = memory::of_map(tables.pin_dir(), kind.map)?;
        entered.kernel_bytes += memory::kernel_objects()?.saturating_sub(kernel);
    }
    Ok(())
}
