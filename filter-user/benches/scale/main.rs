//! A million of everything: blocked sources, CIDR blocks, flows. How long they take to load, what memory they take, and what a
//! verdict costs with them beside without. The first two need root; `--test` runs on a few only, to see that it works.

mod blocks;
mod flows;
mod memory;
#[path = "../engine_turn/traffic.rs"]
#[expect(dead_code, reason = "the other benchmark uses more of it")]
mod traffic;
mod verdicts;

#[path = "../../tests/program/bed.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod bed;
#[path = "../../tests/program/packets.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod packets;

/// How many of what.
#[derive(Clone, Copy)]
struct Scale {
    /// Entries of a full map.
    entries: u32,
    /// Entries that are asked for, one after the other.
    asked: u32,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(flows::RESIDENT) {
        return flows::print_resident(arguments);
    }
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_bench {
        Scale {
            entries: 1_000_000,
            asked: 50_000,
        }
    } else {
        Scale {
            entries: 2_000,
            asked: 100,
        }
    };
    flows::in_user_space(scale);
    if let Some(mut beds) = verdicts::Beds::new(scale) {
        blocks::load(&mut beds.full.tables, scale);
        flows::in_the_kernel(&mut beds.full.tables, scale);
        verdicts::compare(&mut beds, scale, if is_bench { 1_000_000 } else { 100 });
    }
}
