//! Reloads under load.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use filter_common::Reason;
use xtask::lab::{RawTcp, wait::wait_until};

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services},
    load::{ensure_undisturbed, upload_meanwhile, wrk},
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

in_both_modes!(
    serial_a_hundred_reloads_under_load,
    limits_against_floods_are_reloaded,
);

const RELOADS: usize = 100;
/// Seconds between looks at the folder of rules: two looks later a change is taken in.
const WATCH_S: u64 = 3;
const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";

/// A pack with one rule, whose word changes with every reload.
fn pack(word: &str) -> String {
    format!(
        "family = \"sqli\"\n\n[[rule]]\nid = 100\nmessage = \"A word\"\nseverity = \"critical\"\nparanoia = 1\n\
         targets = [\"query\"]\nregex = '{word}'\nliterals = [\"{word}\"]\n\
         samples.match = [\"{word}\", \"a {word}\"]\nsamples.pass = [\"another\", \"none\"]\n"
    )
}

/// No connection ends, no byte is lost, and after each reload the new rules hold.
fn serial_a_hundred_reloads_under_load(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let rules = site.lab.directory().join("rules");
    fs::create_dir(&rules)?;
    let file = rules.join("pack.toml");
    fs::write(&file, pack("word0"))?;
    let from = format!("scoring.rules={}", rules.display());
    let engine = RunningEngine::start(
        &site.lab,
        &[
            mode,
            &from,
            "scoring.model=off",
            "reputation.threshold=1000000",
            "engine.on_failure=drop",
        ],
    )?;
    let (goes_on, uploads) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        let upload = scope.spawn(|| upload_meanwhile(&site, &goes_on, &uploads));
        let reloads = || -> Result<()> {
            for number in 1..=RELOADS {
                fs::write(&file, pack(&format!("word{number}x")))?;
                engine.tell(&["reload"])?;
                if number % 20 == 0 {
                    let [server, _] = site::nginx();
                    let answer = curl(&site.lab, server, &format!("/1k?q=word{number}x"), &[])?;
                    ensure!(answer.status == 403, "after reload {number}: {answer:?}");
                }
            }
            Ok(())
        };
        let result = wrk(&site).and_then(|load| {
            let reloaded = reloads();
            reloaded.and(ensure_undisturbed(load))
        });
        goes_on.store(false, Ordering::Relaxed);
        upload.join().expect("a panic there is one here")?;
        result
    })?;
    ensure!(uploads.load(Ordering::Relaxed) > 0);
    let status = engine.settled_status()?;
    ensure!(status.rules.reloads == RELOADS as u64, "{status:#?}");
    ensure!(
        status.queues.iter().all(|queue| queue.unscored.is_empty()),
        "{status:#?}"
    );
    engine.stop()
}

/// The counter of SYNs over the limit of a source after so many of one source.
fn syns_over_the_limit(site: &Site, engine: &RunningEngine, count: u16) -> Result<u64> {
    let client = RawTcp::new(&site.lab, site::nginx()[0])?;
    let before = (engine.counter(Reason::SourceSyns)?, received(engine)?);
    for number in 0..count {
        let mut syn = client.syn();
        syn.source_port = 2000 + number;
        client.send_tcp(syn)?;
    }
    wait_until("the SYNs being seen", SOON, || {
        received(engine).is_ok_and(|now| now >= before.1 + u64::from(count))
    })?;
    Ok(engine.counter(Reason::SourceSyns)? - before.0)
}

/// Packets that the XDP program has seen.
fn received(engine: &RunningEngine) -> Result<u64> {
    let status = engine.status()?;
    Ok(status.xdp.iter().map(|counter| counter.packets).sum())
}

/// Limits in the XDP program, and what blocks a source, follow a reload.
fn limits_against_floods_are_reloaded(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let services = both_services("all");
    let engine = RunningEngine::start_with(&site.lab, &services, &[mode])?;
    ensure!(syns_over_the_limit(&site, &engine, 50)? == 0);
    engine.configure(&format!(
        "{services}\n[flood.source]\nsyns = {{ rate = 1, burst = 10 }}\n[reputation]\nthreshold = 1\n"
    ))?;
    let said = engine.tell(&["reload"])?;
    ensure!(!said.contains("starts again"), "{said}");
    let over = syns_over_the_limit(&site, &engine, 50)?;
    // One comes back each second that passes meanwhile.
    ensure!((30..=40).contains(&over), "{over} of 50");

    engine.configure(&format!("{services}\n[reputation]\nthreshold = 1\n"))?;
    engine.tell(&["reload"])?;
    ensure!(syns_over_the_limit(&site, &engine, 50)? == 0);
    let [server, _] = site::nginx();
    ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
    // It would have been the third.
    engine.wait_for_status("the source being blocked", |status| status.blocks.used == 1)?;

    engine.configure(&format!("{services}\n[limits]\nmax_flows = 4096\n"))?;
    let said = engine.tell(&["reload"])?;
    ensure!(!said.contains("starts again"), "an option stands over it: {said}");
    engine.configure(&format!("{services}\n[limits]\nmax_sources = 4096\n"))?;
    let said = engine.tell(&["reload"])?;
    ensure!(said.contains("starts again"), "{said}");
    engine.stop()
}

/// Rules that block what clients ask for, and thereby the clients: nobody confirms them, and everything is as before.
#[test]
fn a_reload_on_trial_is_taken_back() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let rules = site.lab.directory().join("rules");
    fs::create_dir(&rules)?;
    let file = rules.join("pack.toml");
    fs::write(&file, pack("attack"))?;
    let folder = format!("rules.folder={}", rules.display());
    let watch = format!("rules.watch_s={WATCH_S}");
    let engine = RunningEngine::start(&site.lab, &[&folder, &watch, "scoring.model=off"])?;
    let [server, _] = site::nginx();
    let status = |query: &str| {
        let answer = curl(&site.lab, server, query, &["--max-time", "2"])?;
        anyhow::Ok(answer.status)
    };
    ensure!(status("/1k?q=good")? == 200 && status("/1k?q=attack")? == 403);

    let (code, error) = engine.refuse(&["confirm"])?;
    ensure!(code == 5 && error.contains("no reload is on trial"), "{error}");
    fs::write(&file, pack("good"))?;
    let said = engine.tell(&["reload", "--confirm-within", "5s"])?;
    ensure!(said.contains("taken back in 5 s"), "{said}");
    for arguments in [&["reload"][..], &["reload", "--confirm-within", "1m"]] {
        let (code, error) = engine.refuse(arguments)?;
        ensure!(
            code == 5 && error.contains("on trial for another") && error.contains("reload --revert"),
            "{error}"
        );
    }
    let left = engine.status()?.reload_on_trial_s;
    ensure!(left.is_some_and(|left| (1..=5).contains(&left)), "{left:?}");
    // With the attack they are three, which block the source for a minute.
    for _ in 0..2 {
        ensure!(status("/1k?q=good")? == 403);
    }
    engine.wait_for_status("the client being blocked", |status| status.blocks.used == 1)?;
    engine.wait_for_status("the trial's end", |status| {
        status.reload_on_trial_s.is_none() && status.blocks.used == 0
    })?;
    // Nor are the files, which are as they were, taken in for a change.
    thread::sleep(Duration::from_secs(3 * WATCH_S));
    ensure!(status("/1k?q=good")? == 200 && status("/1k?q=attack")? == 403);
    ensure!(engine.log().contains("nobody has confirmed"), "{}", engine.log());

    // At once, if somebody sees it.
    engine.tell(&["reload", "--confirm-within", "1h"])?;
    ensure!(status("/1k?q=good")? == 403);
    engine.tell(&["reload", "--revert"])?;
    ensure!(status("/1k?q=good")? == 200);

    // What is confirmed stays.
    engine.tell(&["reload", "--confirm-within", "5s"])?;
    engine.tell(&["confirm"])?;
    ensure!(engine.status()?.reload_on_trial_s.is_none());
    thread::sleep(Duration::from_secs(6));
    ensure!(status("/1k?q=other")? == 200 && status("/1k?q=good")? == 403);
    engine.stop()
}
