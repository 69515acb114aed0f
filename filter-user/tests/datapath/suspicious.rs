//! `inspect = "suspicious"`: what is plainly benign stays out of the engine, and what is not gets there.

use anyhow::{Context as _, Result, ensure};
use filter_common::{Action, Reason};
use xtask::lab::{RawTcp, address::SERVER_V4, frame::flag, namespace::output_of, wait::wait_until};

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services, counters},
    request::curl,
    site::{self, Site},
};

const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
const BENIGN: &[u8] = b"GET /1k?n=1 HTTP/1.1\r\nHost: lab\r\n\r\n";
const NO_NEW: &str = "suspicious.new_source_requests=0";

fn start(site: &Site, settings: &[&str]) -> Result<RunningEngine> {
    let settings = [
        settings,
        &["engine.on_failure=drop", "reputation.threshold=1000000"],
    ]
    .concat();
    RunningEngine::start_with(&site.lab, &both_services("suspicious"), &settings)
}

/// Packets redirected so far, for any reason.
fn redirected(site: &Site) -> Result<u64> {
    let counters = counters(site.lab.gateway())?;
    let reasons = Reason::ALL
        .iter()
        .filter(|reason| reason.action() == Action::Redirect);
    Ok(reasons.map(|reason| counters.get(*reason)).sum())
}

#[test]
fn serial_a_known_source_under_load_is_not_redirected_and_its_attack_is() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &["suspicious.soft_limit_rps=0"])?;
    for server in site::nginx() {
        for _ in 0..4 {
            ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
        }
    }
    ensure!(
        engine.counter(Reason::SuspectNew)? > 0,
        "a new source is looked at"
    );
    // The last of those connections may still be closing.
    let mut last = u64::MAX;
    wait_until("the first connections' end", SOON, || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        redirected(&site).is_ok_and(|now| std::mem::replace(&mut last, now) == now)
    })?;
    let passed = engine.counter(Reason::NotSuspicious)?;
    let report = output_of(
        site.lab
            .client()
            .command("wrk")
            .args(["-t1", "-c8", "-d2s"])
            .arg(format!("http://{SERVER_V4}/1k")),
    )?;
    ensure!(
        !report.contains("Non-2xx") && !report.contains("Socket errors"),
        "{report}"
    );
    ensure!(redirected(&site)? == last, "nothing was redirected");
    ensure!(engine.counter(Reason::NotSuspicious)? > passed + 1000, "{report}");

    for server in site::nginx() {
        let prescreened = engine.counter(Reason::SuspectPrescreen)?;
        ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
        ensure!(engine.counter(Reason::SuspectPrescreen)? > prescreened);
        let reputed = engine.counter(Reason::SuspectReputation)?;
        wait_until("the source being looked at for its reputation", SOON, || {
            curl(&site.lab, server, "/1k", &[]).is_ok_and(|answer| answer.status == 200)
                && engine
                    .counter(Reason::SuspectReputation)
                    .is_ok_and(|now| now > reputed)
        })?;
    }
    engine.stop()
}

#[test]
fn the_first_requests_of_a_source_are_inspected() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &["suspicious.new_source_requests=3"])?;
    for server in site::nginx() {
        let before = engine.status()?.requests.total();
        for _ in 0..3 {
            ensure!(curl(&site.lab, server, "/1k", &["-H", "Host: lab"])?.status == 200);
        }
        engine.wait_for_status("three requests scored", |status| {
            status.requests.total() == before + 3
        })?;
        let passed = engine.counter(Reason::NotSuspicious)?;
        for _ in 0..3 {
            ensure!(curl(&site.lab, server, "/1k", &["-H", "Host: lab"])?.status == 200);
        }
        ensure!(engine.counter(Reason::NotSuspicious)? > passed);
        ensure!(
            engine.settled_status()?.requests.total() == before + 3,
            "and no more"
        );
    }
    engine.stop()
}

#[test]
fn bodies_are_inspected() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &[NO_NEW, "suspicious.reputation=false"])?;
    for server in site::nginx() {
        let before = engine.settled_status()?.requests;
        let answer = curl(&site.lab, server, "/sink", &["--data", "name=O'Brien"])?;
        ensure!(answer.status == 200, "{answer:?}");
        let answer = curl(
            &site.lab,
            server,
            "/sink",
            &["--data", "id=1'+UNION+SELECT+a+FROM+users"],
        )?;
        ensure!(answer.status == 403, "{answer:?}");
        engine.wait_for_status("both are counted", |status| {
            let after = &status.requests;
            (after.allow, after.block) == (before.allow + 1, before.block + 1)
        })?;
    }
    engine.stop()
}

/// A connection changes over to the engine at the head of the request that is suspicious.
#[test]
fn a_connection_that_turns_bad_is_caught() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &[NO_NEW])?;
    for server in site::origin() {
        let before = redirected(&site)?;
        let mut client = RawTcp::connect(&site.lab, server)?;
        for _ in 0..5 {
            client.send(BENIGN)?;
            ensure!(client.response(SOON)?.status == 200);
        }
        ensure!(redirected(&site)? == before, "nothing was redirected");
        let attack = format!("GET {ATTACK} HTTP/1.1\r\nHost: lab\r\n\r\n");
        client.send(attack.as_bytes())?;
        ensure!(client.response(SOON)?.status == 403);
        let record = site.origin.wait_for_end(client.local(), SOON)?;
        ensure!(record.requests.len() == 5, "{record:?}");
        ensure!(record.bytes == BENIGN.repeat(5), "{record:?}");
    }
    engine.stop()
}

/// An attack that hides from the pre-screen in a segment's cut is caught too: a cut request never passes it.
#[test]
fn cut_requests_are_inspected() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &[NO_NEW, "suspicious.reputation=false"])?;
    for server in site::origin() {
        for size in [1, 5, 20] {
            let mut client = RawTcp::connect(&site.lab, server)?;
            client.send(BENIGN)?;
            ensure!(client.response(SOON)?.status == 200);
            let attack = format!("GET {ATTACK} HTTP/1.1\r\nHost: lab\r\n\r\n");
            let mut at = BENIGN.len() as u32;
            for part in attack.as_bytes().chunks(size) {
                client.send_segment(at, part, flag::PSH)?;
                at += part.len() as u32;
            }
            ensure!(
                client
                    .response(SOON)
                    .with_context(|| format!("{size} bytes a segment"))?
                    .status
                    == 403
            );
            let record = site.origin.wait_for_end(client.local(), SOON)?;
            ensure!(record.requests.len() == 1, "{record:?}");
        }
    }
    engine.stop()
}

#[test]
fn watched_sources_and_odd_packets_are_inspected() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [NO_NEW, "lists.watch=[\"10.71.0.2\", \"fd71::2\"]"];
    let engine = start(&site, &settings)?;
    for server in site::nginx() {
        let before = engine.counter(Reason::SuspectWatch)?;
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
        ensure!(engine.counter(Reason::SuspectWatch)? > before);
    }
    let [v4, v6] = site::nginx().map(|server| RawTcp::connect(&site.lab, server));
    let (v4, v6) = (v4?, v6?);
    ensure!(engine.counter(Reason::SuspectOdd)? == 0);
    for client in [&v4, &v6] {
        let before = engine.counter(Reason::SuspectOdd)?;
        let mut frame = client.frame(client.segment(0, BENIGN, flag::PSH));
        if client.local().is_ipv4() {
            // Router alert (RFC 2113).
            frame.ip_options = vec![148, 4, 0, 0];
        } else {
            // Destination options with padding alone.
            frame.extension_headers = vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])];
        }
        client.send_frame(&frame)?;
        wait_until("the odd packet counted", SOON, || {
            engine
                .counter(Reason::SuspectOdd)
                .is_ok_and(|now| now == before + 1)
        })?;
    }
    engine.stop()
}

#[test]
fn a_source_over_its_soft_limit_is_inspected() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = start(&site, &[NO_NEW, "suspicious.soft_limit_rps=5"])?;
    for server in site::nginx() {
        let before = engine.counter(Reason::SuspectSoftLimit)?;
        let mut client = RawTcp::connect(&site.lab, server)?;
        // However slow this runs, some second has more than five of these.
        let all = BENIGN.repeat(40);
        for (number, request) in all.chunks(BENIGN.len()).enumerate() {
            client.send_segment((number * BENIGN.len()) as u32, request, flag::PSH)?;
        }
        for _ in 0..40 {
            ensure!(client.response(SOON)?.status == 200);
        }
        ensure!(engine.counter(Reason::SuspectSoftLimit)? > before);
    }
    engine.stop()
}
