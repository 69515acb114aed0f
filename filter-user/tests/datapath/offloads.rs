//! Offloads that hide packets are off while an engine runs, and what engines change about their interfaces is changed back.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use xtask::lab::{
    Gateway, Offload, Options,
    mounts::RUNTIME,
    namespace::{Namespace, output_of},
    nginx,
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::{INTERFACE, RunningEngine, SERVER_INTERFACE, links},
    modes::in_both_modes,
    request::{curl, upload},
    site::{self, Site},
};

in_both_modes!(
    offloads_are_off_while_an_engine_runs,
    a_killed_engine_leaves_its_changes_to_the_next,
    offloads_can_be_kept,
    a_failed_start_changes_nothing,
    nothing_is_joined_before_it_is_seen,
);

/// ethtool's older name for `rx-vlan-hw-parse`.
const TAGS: &str = "rx-vlan-offload";
const OUTER_TAGS: &str = "rx-vlan-stag-hw-parse";
/// And for `rx-gro`.
const JOINING: &str = "generic-receive-offload";

/// All features of both interfaces of the gateway, as ethtool shows them.
#[derive(Debug, PartialEq, Eq)]
struct Features([String; 2]);

impl Features {
    fn now(gateway: &Namespace) -> Result<Self> {
        let shown = |interface| output_of(gateway.command("ethtool").args(["-k", interface]));
        Ok(Self([shown(INTERFACE)?, shown(SERVER_INTERFACE)?]))
    }

    fn all_on(&self) -> bool {
        self.off().iter().all(Vec::is_empty)
    }

    /// Those of interest that are off, first of the clients' side.
    fn off(&self) -> [Vec<&'static str>; 2] {
        [&self.0[0], &self.0[1]].map(|shown| {
            let off = |name: &&str| shown.lines().any(|line| line.trim() == format!("{name}: off"));
            [TAGS, OUTER_TAGS, JOINING].into_iter().filter(off).collect()
        })
    }
}

/// What has to be off while an engine runs. The kernel's own joining stays on: XDP does without it by itself.
fn expected() -> [Vec<&'static str>; 2] {
    let tags = vec![TAGS, OUTER_TAGS];
    match crate::GATEWAY {
        Gateway::Router => [tags, vec![]],
        Gateway::Bridge => [tags.clone(), tags],
    }
}

fn ensure_off(gateway: &Namespace, expected: &[Vec<&'static str>; 2]) -> Result<()> {
    let now = Features::now(gateway)?;
    ensure!(
        now.off() == *expected,
        "{:?} are off, not {expected:?}",
        now.off()
    );
    Ok(())
}

/// Everything is as it was, and no record of a change is left.
fn ensure_restored(gateway: &Namespace, before: &Features) -> Result<()> {
    let now = Features::now(gateway)?;
    ensure!(now == *before, "{now:#?}\nwas {before:#?}");
    let links = links(gateway)?;
    ensure!(!links.contains("PROMISC"), "{links}");
    let records = records(gateway)?;
    ensure!(records.is_empty(), "{records:?}");
    Ok(())
}

/// The records of changes.
fn records(gateway: &Namespace) -> Result<Vec<std::path::PathBuf>> {
    gateway.enter(|| {
        let entries = std::fs::read_dir(RUNTIME).context("listing the records")?;
        Ok(entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains(".changed"))
            .collect())
    })?
}

fn offloads_are_off_while_an_engine_runs(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let before = Features::now(gateway)?;
    ensure!(before.all_on(), "{before:#?}");
    let engine = RunningEngine::start(&site.lab, &[mode])?;
    ensure_off(gateway, &expected())?;
    let log = engine.log();
    let said = |interface: &str| log.contains(&format!("offloads of {interface} switched off"));
    ensure!(said(INTERFACE), "{log}");
    ensure!(said(SERVER_INTERFACE) == site.lab.is_bridged(), "{log}");
    engine.stop()?;
    ensure_restored(gateway, &before)
}

fn a_killed_engine_leaves_its_changes_to_the_next(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let before = Features::now(gateway)?;
    let expected = expected();
    for _ in 0..2 {
        RunningEngine::start(&site.lab, &[mode])?.kill()?;
        ensure_off(gateway, &expected)?;
    }
    // One that fails leaves the programs of the killed one, and what they need.
    ensure!(RunningEngine::start(&site.lab, &[mode, "engine.cpus=[4000]"]).is_err());
    ensure_off(gateway, &expected)?;
    ensure!(links(gateway)?.contains("PROMISC") == site.lab.is_bridged());
    ensure!(curl(&site.lab, site::nginx()[0], "/1k", &[])?.status == 200);
    let engine = RunningEngine::start(&site.lab, &[mode])?;
    ensure!(
        engine
            .log()
            .contains("an engine before this one has switched off"),
        "{}",
        engine.log()
    );
    ensure_off(gateway, &expected)?;
    engine.stop()?;
    ensure_restored(gateway, &before)
}

fn offloads_can_be_kept(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let before = Features::now(gateway)?;
    let engine = RunningEngine::start(&site.lab, &[mode, "engine.offloads=keep"])?;
    ensure!(Features::now(gateway)?.all_on());
    let log = engine.log();
    ensure!(
        log.contains("ethtool -K outside rx-vlan-hw-parse off"),
        "the remedy: {log}"
    );
    engine.stop()?;
    ensure_restored(gateway, &before)
}

/// Neither where nothing was attached, nor where the failure comes after the first changes.
fn a_failed_start_changes_nothing(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let before = Features::now(gateway)?;
    let Err(error) = RunningEngine::start(&site.lab, &[mode, "engine.cpus=[4000]"]) else {
        anyhow::bail!("there is no CPU 4000");
    };
    ensure!(format!("{error:#}").contains("CPU 4000"), "{error:#}");
    ensure_restored(gateway, &before)
}

/// Full-sized segments back to back, which the kernel would join if nothing but its own setting decided.
fn nothing_is_joined_before_it_is_seen(mode: &str) -> Result<()> {
    let Some(site) = Site::start(&Options {
        client_segmentation: Offload::Off,
        ..Options::default()
    })?
    else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[mode])?;
    let file = upload(&site.lab, &nginx::document(4 << 20))?;
    for server in site::nginx() {
        let sent = ["-H", "Content-Type: text/plain", "--data-binary", &file];
        ensure!(curl(&site.lab, server, nginx::SINK, &sent)?.status == 200);
    }
    let status = engine.settled_status()?;
    let sum =
        |count: fn(&filter_user::control::QueueStatus) -> u64| status.queues.iter().map(count).sum::<u64>();
    ensure!(sum(|queue| queue.read) > 2 * 2800, "{status:#?}");
    ensure!(sum(|queue| queue.joined) == 0, "{status:#?}");
    engine.stop()
}

/// A file that is no record is warned of, and nothing of it done.
#[test]
fn what_is_no_record_is_ignored() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    RunningEngine::start(&site.lab, &[])?.kill()?;
    let records = records(gateway)?;
    ensure!(
        records.len() == if site.lab.is_bridged() { 2 } else { 1 },
        "{records:?}"
    );
    gateway.enter(|| {
        records
            .iter()
            .try_for_each(|record| std::fs::write(record, "{\"name\":\"outside\"}"))
    })??;
    let left = Features::now(gateway)?;
    let mut engine = RunningEngine::start(&site.lab, &[])?;
    let log = engine.log();
    ensure!(log.contains(".changed: ") && log.contains("ignored"), "{log}");
    engine.signal(Signal::SIGTERM)?;
    ensure!(engine.wait()?.success());
    // It did not know what to change back.
    wait_until("the features being as they were found", SOON, || {
        Features::now(gateway).is_ok_and(|now| now == left)
    })
}
