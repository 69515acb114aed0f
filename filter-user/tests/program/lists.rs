//! Allow list, block list and blocked sources.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use filter_common::{Address, Reason, block::Block, lists::Known, service::Service};
use filter_user::bpf::{TableError, monotonic_ns};

use crate::{
    bed::{Bed, prefix},
    packets::{Family, SERVER_PORT, request},
};

const HOUR_NS: u64 = 3_600_000_000_000;

fn until(until_ns: u64) -> Block {
    Block {
        until_ns,
        ..Block::default()
    }
}

#[test]
fn the_longest_prefix_of_a_list_counts_and_allow_beats_block() {
    let Some(mut bed) = Bed::new() else { return };
    bed.serve(None, SERVER_PORT, Service::INSPECT_ALL);
    for (family, wide, narrow, other) in [
        (Family::V4, "10.0.0.0/8", "10.71.0.2/32", "10.71.0.3/32"),
        (Family::V6, "fd71::/16", "fd71::2/128", "fd71::3/128"),
    ] {
        let packet = request(family).to_bytes();
        let tables = &mut bed.tables;
        tables.block(prefix(other), until(0)).expect("there is room");
        assert_eq!(
            bed.receive(&packet),
            Reason::CrashDrop,
            "{family:?}: another address is blocked"
        );
        bed.tables.block(prefix(wide), until(0)).expect("there is room");
        assert_eq!(bed.receive(&packet), Reason::BlockList);
        assert_eq!(bed.receive(&packet), Reason::BlockList);
        let (_, block) = bed
            .tables
            .blocked()
            .find(|(blocked, _)| *blocked == prefix(wide))
            .expect("the block is there");
        assert_eq!(block.hits, 2);
        // A more specific entry that has ended shadows the wider one, as tries go.
        bed.tables.block(prefix(narrow), until(1)).expect("there is room");
        assert_eq!(bed.receive(&packet), Reason::CrashDrop);
        bed.tables.unblock(prefix(narrow)).expect("it was there");
        bed.tables.allow(prefix(narrow)).expect("there is room");
        assert_eq!(bed.receive(&packet), Reason::AllowList);
        bed.tables.disallow(prefix(narrow)).expect("it was there");
        assert_eq!(bed.receive(&packet), Reason::BlockList);
    }
}

#[test]
fn a_default_route_matches_everything() {
    let Some(mut bed) = Bed::new() else { return };
    bed.tables
        .block(prefix("0.0.0.0/0"), until(0))
        .expect("there is room");
    assert_eq!(bed.receive(&request(Family::V4).to_bytes()), Reason::BlockList);
    assert_eq!(bed.receive(&request(Family::V6).to_bytes()), Reason::NoService);
    bed.tables.allow(prefix("::/0")).expect("there is room");
    assert_eq!(bed.receive(&request(Family::V6).to_bytes()), Reason::AllowList);
}

#[test]
fn blocks_end_by_themselves_and_zero_never_ends() {
    let Some(mut bed) = Bed::new() else { return };
    let now = monotonic_ns();
    for family in Family::ALL {
        let source = Address::from(family.client()).masked_v6(64);
        let packet = request(family).to_bytes();
        for (end, reason) in [
            (0, Reason::SourceBlock),
            (now + HOUR_NS, Reason::SourceBlock),
            (now, Reason::NoService),
            (1, Reason::NoService),
        ] {
            bed.tables
                .block_source(source, until(end))
                .expect("there is room");
            assert_eq!(bed.receive(&packet), reason, "{family:?} until {end}");
            let hits = bed.tables.source_blocks.get(&source, 0).expect("it stays").hits;
            assert_eq!(hits, u64::from(reason == Reason::SourceBlock));
        }
    }
    // Until they are swept away.
    assert_eq!(bed.sweep(), (2, Some(0)));
    for list in ["10.71.0.0/16", "fd71::/32"] {
        bed.tables.block(prefix(list), until(now)).expect("there is room");
    }
    for family in Family::ALL {
        assert_eq!(bed.receive(&request(family).to_bytes()), Reason::NoService);
    }
    assert_eq!(bed.sweep(), (2, Some(0)));
}

/// The walk is on an entry that has ended, at every rest.
#[test]
fn everything_that_has_ended_is_swept_in_one_pass() {
    const ENDED: u16 = 1000;
    let Some(mut bed) = Bed::new() else { return };
    for number in 0..ENDED {
        let [high, low] = number.to_be_bytes();
        let source = Address::v4([192, 0, high, low]);
        bed.tables
            .block_source(source, until(1 + u64::from(number)))
            .expect("there is room");
        let list = format!("198.18.{high}.{low}/32");
        bed.tables.block(prefix(&list), until(1)).expect("there is room");
    }
    let stays = Address::v4([203, 0, 113, 1]);
    assert_eq!(bed.tables.block_source(stays, until(0)).ok(), Some(true));
    assert_eq!(
        bed.tables.block_source(stays, until(HOUR_NS * 1000)).ok(),
        Some(false)
    );
    bed.tables
        .block(prefix("203.0.113.0/24"), until(0))
        .expect("there is room");
    assert_eq!(bed.sweep(), (2 * usize::from(ENDED), Some(1)));
    assert_eq!(bed.tables.blocked().count(), 1);
    assert_eq!(bed.sweep(), (0, Some(1)));
}

#[test]
fn a_full_map_says_so() {
    let Some(mut bed) = Bed::new() else { return };
    let fill = |bed: &mut Bed| {
        let error = (0..=u16::MAX).find_map(|number| {
            let [high, low] = number.to_be_bytes();
            bed.tables
                .block_source(Address::v4([192, 0, high, low]), until(0))
                .err()
        });
        error.expect("the map has an end")
    };
    let error = fill(&mut bed);
    assert!(error.is_full(), "{error}");
    let error = (0..=u16::MAX).find_map(|number| {
        let [high, low] = number.to_be_bytes();
        bed.tables
            .block(prefix(&format!("192.0.{high}.{low}/32")), until(0))
            .err()
    });
    assert!(error.as_ref().is_some_and(TableError::is_full), "{error:?}");
}

#[test]
fn a_block_short_of_now_begins_to_pass_when_it_ends() {
    let Some(mut bed) = Bed::new() else { return };
    let packet = request(Family::V4).to_bytes();
    let source = Address::from(Family::V4.client());
    let end = monotonic_ns() + 50_000_000;
    bed.tables
        .block_source(source, until(end))
        .expect("there is room");
    let mut last = bed.receive(&packet);
    while monotonic_ns() < end {
        last = bed.receive(&packet);
    }
    assert!(last == Reason::SourceBlock || last == Reason::NoService);
    assert_eq!(bed.receive(&packet), Reason::NoService);
}

#[test]
fn ipv6_sources_are_known_by_their_prefix() {
    let Some(mut bed) = Bed::new() else { return };
    let from = |last: u16, subnet: u16| {
        let mut frame = request(Family::V6);
        frame.source = [0xfd71, 0, 0, subnet, 1, 2, 3, last].into();
        frame.to_bytes()
    };
    let source = |subnet| Address::from(IpAddr::from([0xfd71, 0, 0, subnet, 0, 0, 0, 0]));
    let insert = |bed: &mut Bed, source| {
        bed.tables.block_source(source, until(0)).expect("there is room");
    };
    insert(&mut bed, source(7));
    assert_eq!(bed.receive(&from(1, 7)), Reason::SourceBlock);
    assert_eq!(bed.receive(&from(9, 7)), Reason::SourceBlock);
    assert_eq!(bed.receive(&from(1, 8)), Reason::NoService);
    bed.configure(|settings| settings.source_mask = Address::v6([0xff; 16]));
    assert_eq!(bed.receive(&from(1, 7)), Reason::NoService);
    // IPv4 sources are whole, whatever the mask.
    bed.configure(|settings| settings.source_mask = Address::default());
    insert(&mut bed, Address::from(Family::V4.client()));
    assert_eq!(bed.receive(&request(Family::V4).to_bytes()), Reason::SourceBlock);
    let mut neighbour = request(Family::V4);
    neighbour.source = [10, 71, 0, 3].into();
    assert_eq!(bed.receive(&neighbour.to_bytes()), Reason::NoService);
}

/// What is known of a source is forgotten with each change, and with each tick.
#[test]
fn what_was_found_in_the_lists_holds_until_they_change() {
    let Some(mut bed) = Bed::new() else { return };
    for (family, long, short) in [
        (Family::V4, "10.71.0.2/32", "10.0.0.0/8"),
        (Family::V6, "fd71::/64", "fd00::/8"),
    ] {
        let packet = request(family).to_bytes();
        let source = Address::from(family.client()).masked_v6(64);
        let expect = |bed: &mut Bed, reason| {
            for _ in 0..3 {
                assert_eq!(bed.receive(&packet), reason, "{family:?}");
            }
        };
        expect(&mut bed, Reason::NoService);
        assert_eq!(bed.tables.block_source(source, until(0)).ok(), Some(true));
        expect(&mut bed, Reason::SourceBlock);
        bed.tables.block(prefix(short), until(0)).expect("there is room");
        expect(&mut bed, Reason::BlockList);
        bed.tables.allow(prefix(long)).expect("there is room");
        expect(&mut bed, Reason::AllowList);
        assert_eq!(bed.tables.disallow(prefix(long)).ok(), Some(true));
        expect(&mut bed, Reason::BlockList);
        // One that has ended hides that of a shorter prefix, until it is removed.
        bed.tables.block(prefix(long), until(1)).expect("there is room");
        expect(&mut bed, Reason::SourceBlock);
        assert_eq!(bed.tables.unblock(prefix(long)).ok(), Some(true));
        expect(&mut bed, Reason::BlockList);
        assert_eq!(bed.tables.unblock(prefix(short)).ok(), Some(true));
        expect(&mut bed, Reason::SourceBlock);
        assert_eq!(bed.tables.unblock_source(&source).ok(), Some(true));
        expect(&mut bed, Reason::NoService);
    }
}

/// A CPU remembers few sources. Those that share a place are looked up again, and none is taken for another.
#[test]
fn sources_that_share_a_place_are_told_apart() {
    let Some(mut bed) = Bed::new() else { return };
    let place = |source: [u8; 4]| {
        let octets = Address::from(IpAddr::from(source)).octets;
        let (words, _) = octets.as_chunks();
        Known::place([u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])])
    };
    let first = [10, 71, 0, 2];
    let second = (0..=u16::MAX)
        .map(u16::to_be_bytes)
        .map(|[high, low]| [10, 72, high, low])
        .find(|other| place(*other) == place(first))
        .expect("65,536 sources have 256 places");
    let from = |source: [u8; 4]| {
        let mut packet = request(Family::V4);
        packet.source = source.into();
        packet.to_bytes()
    };
    let blocked = Address::from(IpAddr::from(second));
    bed.tables
        .block_source(blocked, Block::default())
        .expect("there is room");
    for _ in 0..100 {
        assert_eq!(bed.receive(&from(first)), Reason::NoService);
        assert_eq!(bed.receive(&from(second)), Reason::SourceBlock);
    }
}

/// As with bpftool: nobody says that the map has changed.
#[test]
fn a_block_written_by_hand_is_in_force_with_the_next_tick() {
    let Some(mut bed) = Bed::new() else { return };
    let packet = request(Family::V4).to_bytes();
    assert_eq!(bed.receive(&packet), Reason::NoService);
    bed.tables
        .source_blocks
        .insert(Address::from(Family::V4.client()), Block::default(), 0)
        .expect("there is room");
    let deadline = Instant::now() + Duration::from_secs(10);
    while bed.receive(&packet) != Reason::SourceBlock {
        assert!(Instant::now() < deadline, "the block is not in force");
    }
    for _ in 0..100 {
        assert_eq!(bed.receive(&packet), Reason::SourceBlock);
    }
}
