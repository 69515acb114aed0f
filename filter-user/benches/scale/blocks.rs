//! Blocks: which there are, and how long they take into the maps.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use filter_common::{Address, block::Block, map};
use filter_user::bpf::{Prefix, Tables, monotonic_ns};

use crate::{Scale, memory};

/// Odd, so that its multiples are different in any number of lowest bits; and they lie anywhere.
const SCATTER: u32 = 0x9e37_79b1;
/// Lengths of CIDR blocks, as published lists have them: mostly networks, and single addresses.
const LENGTHS_V4: [u8; 8] = [24, 24, 24, 32, 24, 22, 28, 24];
const LENGTHS_V6: [u8; 4] = [48, 64, 48, 56];

/// The source with this number.
pub(crate) fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(number.wrapping_mul(SCATTER))
}

/// A CIDR block for IPv4.
pub(crate) fn prefix_v4(number: u32) -> Prefix {
    let (length, index) = pick(&LENGTHS_V4, number);
    let bits = index.wrapping_mul(SCATTER) << (32 - u32::from(length));
    Prefix {
        address: IpAddr::V4(bits.into()),
        length,
    }
}

/// A CIDR block for IPv6.
pub(crate) fn prefix_v6(number: u32) -> Prefix {
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

/// Fills the maps, and says how long that takes.
pub(crate) fn load(tables: &mut Tables, scale: Scale) {
    let ends = Block {
        until_ns: monotonic_ns() + 3_600_000_000_000,
        ..Block::default()
    };
    println!(
        "{:<34} {:>8} {:>12} {:>12} {:>14}",
        "loaded", "seconds", "ns an entry", "map, MiB", "kernel, MiB"
    );
    timed(
        tables,
        scale,
        "sources that end",
        &[map::SOURCE_BLOCKS],
        |tables, number| {
            let is_new = tables.block_source(Address::from(IpAddr::V4(source(number))), ends);
            assert!(is_new.expect("there is room"));
        },
    );
    timed(
        tables,
        scale,
        "CIDR blocks for IPv4",
        &[map::BLOCK_V4],
        |tables, number| {
            tables
                .block(prefix_v4(number), Block::default())
                .expect("there is room");
        },
    );
    timed(
        tables,
        scale,
        "CIDR blocks for IPv6",
        &[map::BLOCK_V6],
        |tables, number| {
            tables
                .block(prefix_v6(number), Block::default())
                .expect("there is room");
        },
    );
    let began = Instant::now();
    let listed = tables.blocked().count();
    println!(
        "read back: {listed} CIDR blocks in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(listed, 2 * scale.entries as usize, "they are all different");
}

/// Enters what there is for each number.
pub(crate) fn timed(
    tables: &mut Tables,
    scale: Scale,
    what: &str,
    maps: &[&str],
    mut enter: impl FnMut(&mut Tables, u32),
) {
    let kernel = memory::kernel_objects();
    let began = Instant::now();
    for number in 0..scale.entries {
        enter(tables, number);
    }
    let took = began.elapsed();
    let kernel = memory::kernel_objects().saturating_sub(kernel);
    let map: u64 = maps
        .iter()
        .map(|name| memory::of_map(tables.pin_dir(), name))
        .sum();
    println!(
        "{what:<34} {:>8.2} {:>12} {:>12.1} {:>14.1}",
        took.as_secs_f64(),
        took.as_nanos() / u128::from(scale.entries),
        memory::mib(map),
        memory::mib(kernel),
    );
}
