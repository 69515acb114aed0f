//! The configuration of a running engine: what a reload says is what it does.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, bail, ensure};
use filter_user::{
    config::{Change, Config},
    control::{Reloaded, Request, Response},
};
use xtask::lab::wait::wait_until;

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services},
    load::{ensure_undisturbed, upload_meanwhile, wrk},
    request::curl,
    site::{self, Site},
};

/// Not the client's.
const BLOCKED: &str = "198.51.100.7";

fn in_force(engine: &RunningEngine) -> Result<Config> {
    match engine.ask(&Request::Config {})? {
        Response::Config { config } => Ok(*config),
        other => bail!("no configuration: {other:?}"),
    }
}

fn reload(engine: &RunningEngine, dry_run: bool) -> Result<Reloaded> {
    let request = Request::Reload {
        confirm_within_s: None,
        dry_run,
    };
    match engine.ask(&request)? {
        Response::Reloaded(reloaded) => Ok(reloaded),
        other => bail!("not reloaded: {other:?}"),
    }
}

fn named(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.key.as_str()).collect()
}

/// A broken configuration changes nothing and says why; a good one changes what the difference says, and nothing else.
fn change_and_look(engine: &RunningEngine) -> Result<()> {
    let services = both_services("all");
    let before = in_force(engine)?;
    engine.configure(&format!("{services}\n[scoring]\nanomaly = 'many'\n"))?;
    let (code, said) = engine.refuse(&["reload"])?;
    ensure!(
        code == 6 && said.contains("scoring.anomaly") && said.contains("fix:"),
        "{said}"
    );
    ensure!(said.contains(".toml:"), "no line: {said}");
    ensure!(in_force(engine)? == before);

    engine.configure(&format!(
        "{services}\n[scoring]\nanomaly = 7\n[lists]\nblock = ['{BLOCKED}']\n[limits]\nmax_sources = 4096\nbody_depth = 32\n"
    ))?;
    let preview = reload(engine, true)?;
    ensure!(in_force(engine)? == before, "a dry run changes nothing");
    let reloaded = reload(engine, false)?;
    ensure!(reloaded.applied == preview.applied && reloaded.needs_restart == preview.needs_restart);
    ensure!(
        named(&reloaded.applied) == ["limits.body_depth", "lists.block", "scoring.anomaly"],
        "{reloaded:#?}"
    );
    ensure!(
        named(&reloaded.needs_restart) == ["limits.max_sources"],
        "{reloaded:#?}"
    );
    ensure!(
        reloaded.message.contains("scoring.anomaly: 5 -> 7"),
        "{}",
        reloaded.message
    );

    let after = in_force(engine)?;
    let changed: BTreeMap<_, _> = after.flat().into_iter().collect();
    for (key, value) in before.flat() {
        let is_named = reloaded.applied.iter().any(|change| change.key == key);
        ensure!(
            (changed.get(&key) == Some(&value)) != is_named,
            "{key}: {value} and {:?}",
            changed.get(&key)
        );
    }
    ensure!(engine.tell(&["blocks"])?.contains(BLOCKED));

    engine.configure(&services)?;
    let reloaded = reload(engine, false)?;
    ensure!(reloaded.needs_restart.is_empty(), "{reloaded:#?}");
    ensure!(in_force(engine)? == before);
    ensure!(!engine.tell(&["blocks"])?.contains(BLOCKED));
    Ok(())
}

#[test]
fn serial_a_reload_under_load_changes_what_it_says() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["scoring.model=off", "engine.on_failure=drop"])?;
    let (goes_on, uploads) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        let upload = scope.spawn(|| upload_meanwhile(&site, &goes_on, &uploads));
        let result = wrk(&site).and_then(|load| {
            let changed = change_and_look(&engine);
            changed.and(ensure_undisturbed(load))
        });
        goes_on.store(false, Ordering::Relaxed);
        upload.join().expect("a panic there is one here")?;
        result
    })?;
    engine.stop()
}

/// A changed file is taken in by itself, and a broken one is not.
#[test]
fn a_watched_configuration_is_reloaded() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["scoring.model=off", "engine.watch_s=1"])?;
    let services = both_services("all");
    engine.configure(&format!("{services}\n[scoring]\nmode = 'detcet'\n"))?;
    engine.wait_for_status("the refusal", |status| {
        status
            .rules
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("did you mean `detect`?"))
    })?;
    let [server, _] = site::nginx();
    let attack = "/1k?id=1'+UNION+SELECT+password+FROM+users--";
    ensure!(curl(&site.lab, server, attack, &[])?.status == 403);
    engine.configure(&format!("{services}\n[scoring]\nmode = 'detect'\n"))?;
    wait_until("the change", SOON, || {
        in_force(&engine).is_ok_and(|config| config.scoring.mode == filter_user::config::Mode::Detect)
    })?;
    ensure!(curl(&site.lab, server, attack, &[])?.status == 200);
    ensure!(
        engine
            .log()
            .contains("applied: scoring.mode: \"block\" -> \"detect\""),
        "{}",
        engine.log()
    );
    engine.stop()
}
