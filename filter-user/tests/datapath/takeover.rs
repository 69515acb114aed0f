//! `kill -9` under load, and the next engine.

use std::{
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_common::{FlowState, Reason};
use nix::sys::signal::{SigSet, Signal};
use xtask::lab::{
    RawTcp,
    address::{CLIENT_V4, SERVER_V4},
    frame::flag,
    namespace::output_of,
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::{INTERFACE, PINS, RunningEngine, counter, links, with_tables},
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

in_both_modes!(
    serial_kill_under_load_with_pass_and_takeover,
    serial_kill_under_load_with_drop_stops_the_inspected_service,
);

/// Load from 16 connections that stay open.
fn wrk(site: &Site, seconds: u32) -> Result<Child> {
    site.lab
        .client()
        .command("wrk")
        .args(["-t1", "-c16", "--timeout", "20s"])
        .arg(format!("-d{seconds}s"))
        .arg(format!("http://{SERVER_V4}/1k"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting wrk")
}

fn served(site: &Site) -> Result<usize> {
    Ok(site.nginx.access_log()?.len())
}

fn wait_for_more(site: &Site, more: usize) -> Result<()> {
    let before = served(site)?;
    wait_until("requests being served", SOON, || {
        served(site).is_ok_and(|now| now >= before + more)
    })
}

/// The pinned XDP link, as bpftool shows it.
fn link(site: &Site) -> Result<String> {
    let pin = format!("{PINS}/link_xdp_{INTERFACE}");
    output_of(
        site.lab
            .gateway()
            .command("bpftool")
            .args(["link", "show", "pinned", &pin]),
    )
}

/// The number in front of a link or behind `prog`.
fn number_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_once(word)?
        .1
        .split(|c: char| !c.is_ascii_digit())
        .next()
}

fn link_id(text: &str) -> Option<&str> {
    text.split(':').next()
}

/// A blocked source's packet is dropped.
fn ensure_block_holds(site: &Site, blocked: &RawTcp) -> Result<()> {
    let before = counter(site.lab.gateway(), Reason::SourceBlock)?;
    let mut syn = blocked.segment(0, b"", 0);
    syn.flags = flag::SYN;
    blocked.send_tcp(syn)?;
    wait_until("the block holding", SOON, || {
        counter(site.lab.gateway(), Reason::SourceBlock).is_ok_and(|now| now == before + 1)
    })
}

fn serial_kill_under_load_with_pass_and_takeover(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = ["engine.on_failure=pass", mode];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let blocked = RawTcp::new(&site.lab, site::nginx()[0])?;
    engine.tell(&["block", &blocked.local().ip().to_string(), "--for", "1h"])?;
    let before = link(&site)?;

    let load = wrk(&site, 15)?;
    wait_for_more(&site, 500)?;
    ensure!(engine.counter(Reason::FlowInspect)? > 500);
    engine.kill()?;
    // Connections that were open go on, without an engine.
    wait_for_more(&site, 500)?;
    ensure_block_holds(&site, &blocked)?;
    let flows = flows(&site)?;
    ensure!(
        flows.len() >= 16,
        "wrk's connections are inspected ones: {flows:?}"
    );

    let watching = AtomicBool::new(true);
    let engine = thread::scope(|scope| {
        let watch = scope.spawn(|| -> Result<()> {
            while watching.load(Ordering::Relaxed) {
                let links = links(site.lab.gateway())?;
                ensure!(links.contains("prog/xdp"), "the program was off: {links}");
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        let engine = RunningEngine::start(&site.lab, &settings);
        watching.store(false, Ordering::Relaxed);
        watch.join().expect("a panic there is one here")?;
        engine
    })?;
    let after = link(&site)?;
    ensure!(
        link_id(&before) == link_id(&after),
        "the same link: {before} {after}"
    );
    ensure!(
        number_after(&before, "prog ") != number_after(&after, "prog "),
        "another program: {before} {after}"
    );
    ensure_block_holds(&site, &blocked)?;
    let output = load.wait_with_output().context("waiting for wrk")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(!report.contains("Non-2xx"), "{report}");
    ensure!(!report.contains("Socket errors"), "connections went on: {report}");
    engine.wait_for_status("requests scored by the second engine", |status| {
        status.requests.allow > 100
    })?;
    ensure!(
        engine.counter(Reason::RingFullPass)? == 0,
        "no packet was taken for one in the ring"
    );
    for server in site::nginx() {
        let answer = curl(&site.lab, server, "/1k?id=1'+UNION+SELECT+a+FROM+users--", &[])?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    engine.stop()
}

/// Ports of the client's flows that the XDP program sends to the engine.
fn flows(site: &Site) -> Result<Vec<u16>> {
    with_tables(site.lab.gateway(), |tables| {
        let entries = tables.flows.iter().flatten();
        Ok(entries
            .filter(|(key, flow)| {
                key.source == std::net::IpAddr::from(CLIENT_V4).into() && flow.path == FlowState::PATH_INSPECT
            })
            .map(|(key, _)| key.source_port)
            .collect())
    })
}

fn serial_kill_under_load_with_drop_stops_the_inspected_service(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let nginx = xtask::lab::engine_config::nginx_services();
    let settings = ["engine.on_failure=drop", mode];
    let engine = RunningEngine::start_with(&site.lab, &nginx, &settings)?;
    let blocked = RawTcp::new(&site.lab, site::nginx()[0])?;
    engine.tell(&["block", &blocked.local().ip().to_string(), "--for", "1h"])?;
    let mut load = wrk(&site, 60)?;
    wait_for_more(&site, 500)?;
    engine.kill()?;
    wait_until("packets dropped for want of an engine", SOON, || {
        counter(site.lab.gateway(), Reason::CrashDrop).is_ok_and(|count| count > 0)
    })?;
    // What had been passed on before is answered; then nothing more comes.
    let mut last = served(&site)?;
    wait_until("the service standing still", SOON, || {
        thread::sleep(Duration::from_millis(500));
        let now = served(&site).unwrap_or(usize::MAX);
        std::mem::replace(&mut last, now) == now
    })?;
    for server in site::nginx() {
        let answer = curl(&site.lab, server, "/1k", &["--max-time", "3"])?;
        ensure!(answer.status == 0, "{answer:?}");
    }
    for server in site::origin() {
        ensure!(
            curl(&site.lab, server, "/", &[])?.status == 200,
            "others are served"
        );
    }
    ensure_block_holds(&site, &blocked)?;

    let engine = RunningEngine::start_with(&site.lab, &nginx, &settings)?;
    ensure_block_holds(&site, &blocked)?;
    wait_until("the service being back", SOON, || {
        curl(&site.lab, site::nginx()[0], "/1k", &["--max-time", "4"])
            .is_ok_and(|answer| answer.status == 200)
    })?;
    load.kill().context("ending wrk")?;
    load.wait().context("waiting for wrk")?;
    engine.stop()
}

#[test]
fn an_engine_started_with_signals_blocked_still_ends_in_order() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    // A child inherits the mask of the thread that starts it.
    let blocked: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    blocked.thread_block()?;
    let engine = RunningEngine::start(&site.lab, &[]);
    blocked.thread_unblock()?;
    engine?.stop()
}
