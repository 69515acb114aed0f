//! Flows: what an idle one takes in user space.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Address, FlowKey};
use serde::Serialize;

use super::{
    blocks, memory,
    traffic::{Kind, Traffic},
};
use crate::packets::{CLIENT_PORT, Family, SERVER_PORT};

/// The flow with this number.
pub(super) fn key(number: u32) -> FlowKey {
    let client = Address::from(std::net::IpAddr::V4(blocks::source(number.wrapping_add(1 << 31))));
    FlowKey::tcp(
        client,
        CLIENT_PORT,
        Address::from(Family::V4.server()),
        SERVER_PORT,
    )
}

/// Bytes of a loop with room for as many flows.
#[derive(Debug, Serialize)]
pub(super) struct InUserSpace {
    pub(super) flows: u32,
    /// Of the empty table, a flow.
    pub(super) empty: f64,
    /// With all of them idle, a flow; up to 32 MiB of it are evidence.
    pub(super) idle: f64,
}

/// As many connections through the loop, each with a request behind it and idle since.
///
/// # Errors
/// If a process cannot be started.
#[expect(clippy::cast_precision_loss, reason = "bytes of memory, far below 2⁵²")]
pub(super) fn in_user_space(flows: u32) -> Result<InUserSpace> {
    let one = resident_with(1, flows)?;
    let all = resident_with(flows, flows)?;
    let empty = resident_with(1, 1)?;
    let share = |bytes: u64| bytes.saturating_sub(empty) as f64 / f64::from(flows);
    Ok(InUserSpace {
        flows,
        empty: share(one),
        idle: share(all),
    })
}

/// What a process with a loop of this many flows has taken, by its own account: one that has had others has room to spare.
fn resident_with(flows: u32, capacity: u32) -> Result<u64> {
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new(program)
        .args(["--resident", &flows.to_string(), &capacity.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .context("starting this program again")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().context("not a number of bytes")
}

/// In the process of [`resident_with`].
///
/// # Errors
/// If the flows are not all there.
pub(super) fn print_resident(flows: u32, capacity: u32) -> Result<()> {
    let mut traffic = Traffic::with_capacity(flows, capacity, Kind::Known);
    ensure!(traffic.counters().flows == u64::from(flows), "flows are missing");
    // What stands for the kernel's map here, and the clients' sequence numbers.
    traffic.worker.maps_mut().flows = std::collections::HashMap::new();
    traffic.next = Vec::new();
    println!("{}", memory::resident()?);
    Ok(())
}
