//! An engine takes over from another one, or from itself with other queues, under load.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use filter_common::Reason;
use filter_user::{
    control::{Request, Response, Successor},
    engine::FlowRecords,
};
use xtask::lab::{Options, RawTcp, frame::flag, namespace::output_of, wait::wait_until};

use crate::support::{
    SOON,
    engine::{INTERFACE, RunningEngine, SERVER_INTERFACE, counter, links},
    load::{ensure_undisturbed, upload_meanwhile, wrk},
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

in_both_modes!(
    serial_replaced_under_load,
    a_request_is_judged_whole_by_two_engines,
    a_successor_that_fails_leaves_everything_as_it_was,
    a_successor_that_dies_leaves_everything_as_it_was,
    serial_queues_are_changed_under_load,
);

const PATIENT: &str = "reputation.threshold=1000000";
const DROP: &str = "engine.on_failure=drop";

/// What is done meanwhile disturbs neither connections that stay open nor long bodies.
fn under_load(site: &Site, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (goes_on, uploads) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        let upload = scope.spawn(|| upload_meanwhile(site, &goes_on, &uploads));
        let result = wrk(site).and_then(|load| {
            let worked = work();
            // What the last step has broken has time to show.
            thread::sleep(Duration::from_secs(1));
            worked.and(ensure_undisturbed(load))
        });
        goes_on.store(false, Ordering::Relaxed);
        let uploaded = upload.join().expect("a panic there is one here");
        result.and(uploaded)
    })?;
    ensure!(uploads.load(Ordering::Relaxed) > 0);
    Ok(())
}

fn ensure_all_scored(engine: &RunningEngine) -> Result<()> {
    let status = engine.settled_status()?;
    let unscored: Vec<_> = status.queues.iter().flat_map(|queue| &queue.unscored).collect();
    ensure!(unscored.is_empty(), "not scored: {unscored:?}");
    engine
        .wait_for_status("requests of the threads that go on", |status| {
            status.requests.allow > 0
        })
        .map(drop)
}

fn serial_replaced_under_load(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [mode, PATIENT, DROP];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let blocked = RawTcp::new(&site.lab, site::nginx()[0])?;
    engine.tell(&["block", &blocked.local().ip().to_string(), "--for", "1h"])?;
    let (mut running, mut taken_over) = (Some(engine), 0);
    under_load(&site, || {
        for _ in 0..2 {
            let engine = running.take().context("there is one")?;
            engine.wait_for_status("load", |status| status.requests.allow > 100)?;
            let pid = engine.pid();
            let engine = engine.replace(&site.lab, &settings)?;
            ensure!(engine.pid() != pid);
            let log = engine.log();
            let flows = log
                .split("taking over ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            taken_over += flows.and_then(|flows| flows.parse::<u32>().ok()).context(log)?;
            ensure_all_scored(&engine)?;
            let links = links(site.lab.gateway())?;
            ensure!(links.contains("prog/xdp"), "{links}");
            running = Some(engine);
        }
        Ok(())
    })?;
    ensure!(taken_over >= 32, "only {taken_over} flows were taken over");
    let before = counter(site.lab.gateway(), Reason::SourceBlock)?;
    let mut syn = blocked.segment(0, b"", 0);
    syn.flags = flag::SYN;
    blocked.send_tcp(syn)?;
    wait_until("the block holding", SOON, || {
        counter(site.lab.gateway(), Reason::SourceBlock).is_ok_and(|now| now == before + 1)
    })?;
    running.context("there is one")?.stop()
}

/// An attack and its benign twin, each half of which another engine reads.
fn a_request_is_judged_whole_by_two_engines(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [mode, PATIENT, DROP];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let mut clients = Vec::new();
    for server in site::nginx() {
        for (middle, status) in [(["UNI", "ON+SELECT"], 403), (["ONI", "ONS+SALAD"], 200)] {
            let mut client = RawTcp::connect(&site.lab, server)?;
            client.send(format!("GET /1k?id=1+{}", middle[0]).as_bytes())?;
            clients.push((client, middle[1], status));
        }
    }
    engine.settled_status()?;
    let engine = engine.replace(&site.lab, &settings)?;
    for (mut client, other, status) in clients {
        let rest = format!("{other}+password+FROM+users HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        client.send(rest.as_bytes())?;
        let answer = client.response(SOON)?;
        ensure!(answer.status == status, "{answer:?}");
    }
    let status = engine.settled_status()?;
    ensure!(status.requests.block == 2, "{status:#?}");
    engine.stop()
}

/// A connection in the middle of a request, and its end.
fn in_the_middle(site: &Site) -> Result<impl FnOnce() -> Result<()>> {
    let mut client = RawTcp::connect(&site.lab, site::nginx()[0])?;
    client.send(b"GET /1k?id=1+UNI")?;
    Ok(move || {
        client.send(b"ON+SELECT+password+FROM+users HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        let answer = client.response(SOON)?;
        ensure!(answer.status == 403, "{answer:?}");
        Ok(())
    })
}

fn a_successor_that_fails_leaves_everything_as_it_was(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [mode, PATIENT, DROP];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let finish = in_the_middle(&site)?;
    engine.settled_status()?;
    let links_before = links(site.lab.gateway())?;
    // Before the queues are handed over, and after.
    let log = RunningEngine::refuse_successor(&site.lab, &[mode, DROP, "limits.max_flows=1024"])?;
    ensure!(log.contains("--replace") && log.contains("FLOWS"), "{log}");
    let log = RunningEngine::refuse_successor(&site.lab, &[mode, DROP, "lists.block=[\"127.0.0.1\"]"])?;
    ensure!(log.contains("lists.block") && log.contains("goes on"), "{log}");
    ensure!(engine.log().contains("handed over"), "{}", engine.log());
    let names = |links: &str| links.matches("pc-").count();
    ensure!(names(&links(site.lab.gateway())?) == names(&links_before));
    finish()?;
    for server in site::nginx() {
        ensure!(curl(&site.lab, server, "/1k", &[])?.status == 200);
    }
    engine.stop()
}

fn a_successor_that_dies_leaves_everything_as_it_was(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, DROP])?;
    let finish = in_the_middle(&site)?;
    engine.settled_status()?;
    let mut other = Command::new("sleep")
        .arg("60")
        .spawn()
        .context("starting a process")?;
    let successor = Successor {
        pid: other.id(),
        interface: INTERFACE.to_owned(),
        server_interface: site.lab.is_bridged().then(|| SERVER_INTERFACE.to_owned()),
        format: FlowRecords::FORMAT,
    };
    let answer = engine.ask(&Request::HandOver(successor.clone()))?;
    let Response::HandedOver(handed_over) = answer else {
        anyhow::bail!("{answer:?}");
    };
    ensure!(handed_over.flows >= 1, "{handed_over:?}");
    other.kill()?;
    other.wait()?;
    wait_until("the engine going on", SOON, || {
        engine.log().contains("this one goes on")
    })?;
    ensure!(!handed_over.records.exists(), "the records are gone");
    finish()?;
    // One of another format, or for another interface, is told so.
    for wrong in [
        Successor {
            format: 0,
            ..successor.clone()
        },
        Successor {
            interface: "lo".to_owned(),
            ..successor
        },
    ] {
        ensure!(engine.ask(&Request::HandOver(wrong)).is_err());
    }
    ensure!(
        engine.ask(&Request::Retire {}).is_err(),
        "nothing was handed over"
    );
    ensure!(curl(&site.lab, site::nginx()[1], "/1k", &[])?.status == 200);
    engine.stop()
}

fn serial_queues_are_changed_under_load(mode: &str) -> Result<()> {
    let options = Options {
        queues: 3,
        ..Options::default()
    };
    let Some(site) = Site::start(&options)? else {
        return Ok(());
    };
    // A veth with a native program reads as many queues as its other end sends by, at least.
    let peer = site.lab.client();
    output_of(peer.command("ethtool").args(["-L", "eth0", "tx", "1"]))?;
    if site.lab.is_bridged() {
        output_of(
            site.lab
                .server()
                .command("ethtool")
                .args(["-L", "eth0", "tx", "1"]),
        )?;
    }
    let engine = RunningEngine::start(&site.lab, &[mode, PATIENT, DROP])?;
    let finish = in_the_middle(&site)?;
    under_load(&site, || {
        for count in [1, 3, 2] {
            engine.wait_for_status("load", |status| status.requests.allow > 100)?;
            engine.tell(&["queues", &count.to_string()])?;
            let status = engine.status()?;
            let queues: Vec<_> = status.queues.iter().map(|queue| queue.queue).collect();
            ensure!(queues.len() == count, "queues {queues:?} instead of {count}");
            ensure_all_scored(&engine)?;
        }
        Ok(())
    })?;
    finish()?;
    let (code, why) = engine.refuse(&["queues", "200"])?;
    ensure!(code == 5 && why.contains("200 queues"), "{code}: {why}");
    ensure!(curl(&site.lab, site::nginx()[0], "/1k", &[])?.status == 200);
    ensure!(engine.status()?.queues.len() == 2);
    engine.stop()
}
