//! Flows: what an idle one takes, in user space and in the kernel.

use std::process::{Command, Stdio};

use filter_common::{Address, FlowKey, FlowState, map};
use filter_user::bpf::Tables;

use crate::{
    Scale, blocks, memory,
    packets::{CLIENT_PORT, Family, SERVER_PORT},
    traffic::{Kind, Traffic},
};

/// The argument for [`print_resident`].
pub(crate) const RESIDENT: &str = "--resident";

/// The flow with this number.
pub(crate) fn key(number: u32) -> FlowKey {
    let client = Address::from(std::net::IpAddr::V4(blocks::source(number.wrapping_add(1 << 31))));
    FlowKey::tcp(
        client,
        CLIENT_PORT,
        Address::from(Family::V4.server()),
        SERVER_PORT,
    )
}

/// As many connections through the loop, each with a request behind it and idle since.
pub(crate) fn in_user_space(scale: Scale) {
    let one = resident_with(1, scale.entries);
    let all = resident_with(scale.entries, scale.entries);
    let empty = resident_with(1, 1);
    let share = |bytes: u64| bytes / u64::from(scale.entries);
    println!("flows in the engine: {}", scale.entries);
    println!(
        "  a table for so many, empty      {:>8} bytes a flow",
        share(one.saturating_sub(empty))
    );
    println!(
        "  all idle in it                  {:>8} bytes a flow, of which up to 32 MiB are evidence ({} bytes)",
        share(all.saturating_sub(empty)),
        share(32 << 20)
    );
}

/// What a process with a loop of this many flows has taken, by its own account: one that has had others has room to spare.
fn resident_with(flows: u32, capacity: u32) -> u64 {
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new(program)
        .args([RESIDENT, &flows.to_string(), &capacity.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("a program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("not a number of bytes: {text}"))
}

/// In the process of [`resident_with`].
pub(crate) fn print_resident(mut numbers: impl Iterator<Item = String>) {
    let mut next = || {
        numbers
            .next()
            .and_then(|text| text.parse().ok())
            .expect("two numbers")
    };
    let (flows, capacity) = (next(), next());
    let mut traffic = Traffic::with_capacity(flows, capacity, Kind::Known);
    assert_eq!(traffic.counters().flows, u64::from(flows));
    // What stands for the kernel's map here, and the clients' sequence numbers.
    traffic.worker.maps_mut().flows = std::collections::HashMap::new();
    traffic.next = Vec::new();
    println!("{}", memory::resident());
}

/// The entries of the map of flows.
pub(crate) fn in_the_kernel(tables: &mut Tables, scale: Scale) {
    blocks::timed(tables, scale, "flows", &[map::FLOWS], |tables, number| {
        let entered = tables.flows.insert(key(number), FlowState::inspect(0), 0);
        entered.expect("an LRU has room");
    });
    let bytes = memory::of_map(tables.pin_dir(), map::FLOWS);
    println!(
        "  the map takes {} bytes a flow",
        bytes / u64::from(scale.entries)
    );
}
