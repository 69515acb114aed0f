//! What becomes of traffic when the engine cannot look at it: `on_failure = "pass"` and `"drop"`, each for a crash,
//! a hang, a full ring and a full flow table, with the XDP program in the driver and in the stack.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use filter_common::Reason;
use filter_user::config::Limits;
use xtask::lab::{RawTcp, frame::flag, wait::wait_until};

use crate::support::{
    SOON,
    engine::{RunningEngine, counter},
    modes::in_both_modes,
    request::{Answer, curl},
    site::{self, Site},
};

in_both_modes!(
    crash_pass,
    crash_drop,
    hang_pass,
    hang_drop,
    serial_a_hang_is_noticed_within_a_second,
    full_ring_pass,
    full_ring_drop,
    full_table_pass,
    full_table_drop,
);

const PASS: &str = "engine.on_failure=pass";
const DROP: &str = "engine.on_failure=drop";
const PATIENT: &str = "reputation.threshold=1000000";
const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n";
const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
/// The heartbeat's limit where a test waits for it to pass.
const HANG: Duration = Duration::from_secs(2);
const HEARTBEAT: &str = "limits.heartbeat_timeout_ms=2000";

fn visit(site: &Site, server: SocketAddr) -> Result<Answer> {
    curl(&site.lab, server, "/1k", &["--max-time", "4"])
}

fn ensure_served(site: &Site) -> Result<()> {
    for server in site::nginx() {
        let answer = visit(site, server)?;
        ensure!(answer.status == 200, "{server}: {answer:?}");
    }
    Ok(())
}

fn ensure_stopped(site: &Site) -> Result<()> {
    for server in site::nginx() {
        let answer = visit(site, server)?;
        ensure!(answer.status == 0, "{server}: {answer:?}");
    }
    Ok(())
}

/// Waits until the engine looks at requests again, or for the first time.
fn wait_until_inspected(site: &Site) -> Result<()> {
    for server in site::nginx() {
        wait_until("an attack being blocked", SOON, || {
            curl(&site.lab, server, ATTACK, &["--max-time", "4"]).is_ok_and(|answer| answer.status == 403)
        })?;
        wait_until("a request being served", SOON, || {
            visit(site, server).is_ok_and(|answer| answer.status == 200)
        })?;
    }
    Ok(())
}

/// A service that is not inspected is not touched by any failure.
fn ensure_others_served(site: &Site) -> Result<()> {
    for server in site::origin() {
        let answer = curl(&site.lab, server, "/", &[])?;
        ensure!(answer.status == 200, "{server}: {answer:?}");
    }
    Ok(())
}

/// Inspects nginx alone.
fn start(site: &Site, mode: &str, settings: &[&str]) -> Result<RunningEngine> {
    let settings = [settings, &[PATIENT, mode]].concat();
    RunningEngine::start_with(&site.lab, &xtask::lab::engine_config::nginx_services(), &settings)
}

fn crash_pass(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[PASS])?;
    let mut open = RawTcp::connect(&site.lab, site::nginx()[0])?;
    open.send(REQUEST)?;
    ensure!(open.response(SOON)?.status == 200);
    engine.kill()?;
    open.send(REQUEST)?;
    ensure!(open.response(SOON)?.status == 200, "open connections go on");
    ensure_served(&site)?;
    ensure!(counter(site.lab.gateway(), Reason::CrashPass)? > 0);

    let engine = start(&site, mode, &[PASS])?;
    open.send(REQUEST)?;
    ensure!(
        open.response(SOON)?.status == 200,
        "and go on through the next engine"
    );
    wait_until_inspected(&site)?;
    engine.stop()
}

fn crash_drop(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[DROP])?;
    ensure_served(&site)?;
    engine.kill()?;
    ensure_stopped(&site)?;
    ensure_others_served(&site)?;
    ensure!(counter(site.lab.gateway(), Reason::CrashDrop)? > 0);
    let engine = start(&site, mode, &[DROP])?;
    wait_until_inspected(&site)?;
    engine.stop()
}

/// Visits until the XDP program has noticed that the engine hangs.
fn wait_for_hang(site: &Site, reason: Reason) -> Result<()> {
    wait_until("the hang being noticed", SOON, || {
        let probe = curl(&site.lab, site::nginx()[0], "/1k", &["--max-time", "1"]);
        probe.is_ok() && counter(site.lab.gateway(), reason).is_ok_and(|count| count > 0)
    })
}

/// What was in the ring when the engine stood still is not replayed, and the flow goes on.
fn hang_pass(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[PASS, HEARTBEAT])?;
    let mut open = RawTcp::connect(&site.lab, site::nginx()[0])?;
    open.send(REQUEST)?;
    ensure!(open.response(SOON)?.status == 200);

    engine.pause()?;
    let redirected = engine.counter(Reason::FlowInspect)?;
    let paused = Instant::now();
    open.send(REQUEST)?;
    let at = 2 * REQUEST.len() as u32;
    wait_until("the request in the ring", SOON, || {
        engine
            .counter(Reason::FlowInspect)
            .is_ok_and(|now| now > redirected)
    })?;
    wait_for_hang(&site, Reason::HangPass)?;
    wait_until("the request in the ring being stale", SOON, || {
        paused.elapsed() > HANG * 2
    })?;
    // The client repeats what got no answer, and this time it passes.
    open.send_segment(at - REQUEST.len() as u32, REQUEST, flag::PSH)?;
    ensure!(open.response(SOON)?.status == 200);
    ensure_served(&site)?;

    engine.resume()?;
    wait_until_inspected(&site)?;
    ensure!(engine.dropped("stale")? > 0, "{:#?}", engine.status()?);
    open.send(REQUEST)?;
    ensure!(open.response(SOON)?.status == 200, "the flow goes on");
    let attack = format!("GET {ATTACK} HTTP/1.1\r\nHost: lab\r\n\r\n");
    open.send(attack.as_bytes())?;
    ensure!(open.response(SOON)?.status == 403, "and is looked at again");
    engine.stop()
}

fn hang_drop(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[DROP, HEARTBEAT])?;
    ensure_served(&site)?;
    engine.pause()?;
    wait_for_hang(&site, Reason::HangDrop)?;
    ensure_stopped(&site)?;
    ensure_others_served(&site)?;
    engine.resume()?;
    wait_until_inspected(&site)?;
    engine.stop()
}

/// With the heartbeat's limit that is the default, whatever comes a second after the engine stood still falls under the policy.
fn serial_a_hang_is_noticed_within_a_second(mode: &str) -> Result<()> {
    const PACKETS: u64 = 20;
    for (policy, reason) in [(PASS, Reason::HangPass), (DROP, Reason::HangDrop)] {
        let Some(site) = Site::plain()? else {
            return Ok(());
        };
        let default = format!(
            "limits.heartbeat_timeout_ms={}",
            Limits::default().heartbeat_timeout_ms
        );
        let engine = start(&site, mode, &[policy, &default])?;
        let client = RawTcp::new(&site.lab, site::nginx()[0])?;
        engine.pause()?;
        thread::sleep(Duration::from_secs(1));
        let before = counter(site.lab.gateway(), reason)?;
        for number in 0..PACKETS {
            let mut syn = client.syn();
            syn.source_port = 2000 + number as u16;
            client.send_tcp(syn)?;
        }
        wait_until("every packet under the failure policy", SOON, || {
            counter(site.lab.gateway(), reason).is_ok_and(|now| now >= before + PACKETS)
        })?;
        engine.resume()?;
        engine.stop()?;
    }
    Ok(())
}

/// More than the redirected packets of any visit here, so that only a standing engine has a full ring.
const CREDITS: usize = 64;
const FEW: [&str; 2] = ["limits.credits=64", "limits.heartbeat_timeout_ms=20000"];

/// Stops the engine and fills its ring.
fn fill_ring(site: &Site, engine: &RunningEngine, reason: Reason) -> Result<()> {
    engine.pause()?;
    let client = RawTcp::new(&site.lab, site::nginx()[0])?;
    for number in 0..2 * CREDITS {
        let mut syn = client.segment(0, b"", 0);
        syn.flags = flag::SYN;
        syn.source_port = 1000 + number as u16;
        client.send_tcp(syn)?;
    }
    wait_until("the ring being full", SOON, || {
        engine.counter(reason).is_ok_and(|count| count > 0)
    })
}

fn full_ring_pass(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[&[PASS], &FEW[..]].concat())?;
    fill_ring(&site, &engine, Reason::RingFullPass)?;
    ensure_served(&site)?;
    ensure!(
        engine.counter(Reason::HangPass)? == 0,
        "the ring was what counted"
    );
    engine.resume()?;
    wait_until_inspected(&site)?;
    engine.stop()
}

fn full_ring_drop(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[&[DROP], &FEW[..]].concat())?;
    fill_ring(&site, &engine, Reason::RingFullDrop)?;
    ensure_stopped(&site)?;
    ensure_others_served(&site)?;
    ensure!(
        engine.counter(Reason::HangDrop)? == 0,
        "the ring was what counted"
    );
    engine.resume()?;
    wait_until_inspected(&site)?;
    engine.stop()
}

/// The smallest table there is.
const SMALL: &str = "limits.max_flows=64";

/// Takes every place of the flow table with connections in use.
fn fill_table(site: &Site, engine: &RunningEngine) -> Result<Vec<RawTcp>> {
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = RawTcp::connect(&site.lab, site::nginx()[0])?;
        client.send(REQUEST)?;
        ensure!(client.response(SOON)?.status == 200);
        clients.push(client);
    }
    engine.wait_for_status("a full table", |status| status.flows.used == 64)?;
    Ok(clients)
}

fn full_table_pass(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[PASS, SMALL, "limits.closing_timeout_s=1"])?;
    let clients = fill_table(&site, &engine)?;
    ensure_served(&site)?;
    ensure!(engine.unscored("flow_table_full")? > 0);
    let status = engine.status()?;
    ensure!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("max_flows")),
        "{status:#?}"
    );
    drop(clients);
    wait_until_inspected(&site)?;
    engine.stop()
}

fn full_table_drop(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, mode, &[DROP, SMALL, "limits.closing_timeout_s=1"])?;
    let mut clients = fill_table(&site, &engine)?;
    ensure_stopped(&site)?;
    ensure!(engine.dropped("flow_table_full")? > 0);
    ensure_others_served(&site)?;
    let first = clients.first_mut().context("there are 64")?;
    first.send(REQUEST)?;
    ensure!(first.response(SOON)?.status == 200, "flows in the table go on");
    drop(clients);
    wait_until_inspected(&site)?;
    engine.stop()
}
