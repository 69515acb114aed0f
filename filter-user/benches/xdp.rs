//! Nanoseconds a packet of the XDP program by `BPF_PROG_TEST_RUN`, for the classes of verdicts. Needs root.
//!
//! The kernel's figure is a mean over all repetitions in one call; each class is measured several times in turn
//! with the others, and the lowest and the median figure are printed.

use aya::programs::{TestRun as _, TestRunOptions};
use filter_common::{Address, FlowState, Reason, block::Block, service::Service};

#[path = "../tests/program/bed.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod bed;
#[path = "../tests/program/packets.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod packets;

use bed::{Bed, prefix};
use packets::{Family, request, segment};

const ROUNDS: usize = 7;

type Arrange = fn(&mut Bed) -> Vec<u8>;

fn plain() -> Vec<u8> {
    request(Family::V4).to_bytes()
}

fn verdict(bed: &mut Bed, path: u32) -> Vec<u8> {
    bed.tables
        .flows
        .insert(Family::V4.flow(), FlowState::on(path, 0), 0)
        .expect("there is room");
    plain()
}

/// A class of packets, the counter it moves, and how it comes about.
const CLASSES: [(&str, Reason, Arrange); 8] = [
    ("drop malformed (no TCP flags)", Reason::TcpNoFlags, |_| {
        segment(Family::V4, 0, b"GET").to_bytes()
    }),
    ("drop block list", Reason::BlockList, |bed| {
        bed.tables
            .block(prefix("10.71.0.0/16"), Block::default())
            .expect("there is room");
        plain()
    }),
    ("drop source block", Reason::SourceBlock, |bed| {
        bed.tables
            .source_blocks
            .insert(Address::from(Family::V4.client()), Block::default(), 0)
            .expect("there is room");
        plain()
    }),
    ("drop flow block", Reason::FlowBlock, |bed| {
        verdict(bed, FlowState::PATH_BLOCK)
    }),
    ("pass allow list", Reason::AllowList, |bed| {
        bed.tables.allow(prefix("10.71.0.0/16")).expect("there is room");
        plain()
    }),
    ("pass no service", Reason::NoService, |_| plain()),
    ("pass plain request (pre-screen)", Reason::NotSuspicious, |bed| {
        bed.serve(None, packets::SERVER_PORT, Service::INSPECT_SUSPICIOUS);
        bed.configure(|settings| settings.triggers = filter_common::settings::Settings::TRIGGER_PRESCREEN);
        plain()
    }),
    ("redirect (inspected flow)", Reason::FlowInspect, |bed| {
        bed.start_engine();
        verdict(bed, FlowState::PATH_INSPECT)
    }),
];

fn main() {
    // As a test, once is enough; `cargo bench` says so.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let repeat = if is_bench { 1_000_000 } else { 100 };
    let Some(mut bed) = Bed::new() else { return };
    let mut figures = vec![Vec::new(); CLASSES.len()];
    for _ in 0..ROUNDS {
        for ((name, reason, arrange), figures) in CLASSES.iter().zip(&mut figures) {
            bed.reset();
            let packet = arrange(&mut bed);
            assert_eq!(bed.receive(&packet), *reason, "{name}");
            let options = TestRunOptions {
                data_in: Some(&packet),
                repeat,
                ..TestRunOptions::default()
            };
            let result = bed.xdp().test_run(options).expect("it ran just now");
            figures.push(result.duration.as_nanos());
        }
    }
    println!(
        "{:<34} {:>8} {:>8}   ns a packet, {repeat} runs a call",
        "class", "lowest", "median"
    );
    for ((name, ..), figures) in CLASSES.iter().zip(&mut figures) {
        figures.sort_unstable();
        println!("{name:<34} {:>8} {:>8}", figures[0], figures[ROUNDS / 2]);
    }
    println!(
        "a redirect's metadata are written in the first 15 runs of a call only: the area is not reset between runs"
    );
}
