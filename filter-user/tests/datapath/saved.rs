//! Blocks outlive the maps that they are in.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use filter_user::control::{BlockEntry, BlockOrigin, Page, Request, Response};
use xtask::lab::{address::CLIENT_V4, mounts::STATE};

use crate::support::{
    engine::{PINS, RunningEngine},
    request::curl,
    site::{self, Site},
};

/// What a block lasts, in seconds.
const LONG: u64 = 6000;
const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";

fn blocks(engine: &RunningEngine) -> Result<Vec<BlockEntry>> {
    match engine.ask(&Request::Blocks(Page::default()))? {
        Response::Blocks { blocks } => Ok(blocks),
        other => bail!("not a list: {other:?}"),
    }
}

fn allows(engine: &RunningEngine) -> Result<Vec<String>> {
    match engine.ask(&Request::Allowed(Page::default()))? {
        Response::Allowed { targets } => Ok(targets.iter().map(ToString::to_string).collect()),
        other => bail!("not a list: {other:?}"),
    }
}

/// As a reboot does.
fn remove_maps(site: &Site) -> Result<()> {
    site.lab
        .gateway()
        .enter(|| fs::remove_dir_all(PINS))?
        .context("removing the pinned maps")
}

fn remaining(blocks: &[BlockEntry], target: &str) -> Result<u64> {
    blocks
        .iter()
        .find(|block| block.target.addr().to_string() == target)
        .and_then(|block| block.remaining_s)
        .with_context(|| format!("{target} is not blocked for a time: {blocks:#?}"))
}

#[test]
fn blocks_outlive_their_maps() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [
        "scoring.model=off",
        "reputation.threshold=1",
        "reputation.first_block_s=6000",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let time = format!("{LONG}s");
    engine.tell(&["block", "198.51.100.7", "--for", &time, "--reason", "scans"])?;
    engine.tell(&["block", "203.0.113.0/24", "--reason", "a range"])?;
    engine.tell(&["block", "198.51.100.8", "--for", "1s"])?;
    engine.tell(&["allow", "192.0.2.0/24"])?;
    engine.tell(&["allow", "2001:db8::7"])?;
    let [server, _] = site::nginx();
    ensure!(curl(&site.lab, server, ATTACK, &[])?.status == 403);
    engine.wait_for_status("the client being blocked", |_| {
        blocks(&engine)
            .is_ok_and(|blocks| blocks.len() >= 3 && remaining(&blocks, &CLIENT_V4.to_string()).is_ok())
    })?;
    engine.stop()?;
    remove_maps(&site)?;

    let engine = RunningEngine::start(&site.lab, &settings)?;
    let restored = blocks(&engine)?;
    ensure!(restored.len() == 3, "{restored:#?}");
    let operators = &restored[1];
    ensure!(
        operators.reason == "scans" && operators.origin == BlockOrigin::Operator,
        "{operators:#?}"
    );
    ensure!(
        restored[2].reason == "a range" && restored[2].remaining_s.is_none(),
        "{restored:#?}"
    );
    ensure!(restored[0].origin == BlockOrigin::Reputation, "{restored:#?}");
    let left = remaining(&restored, "198.51.100.7")?;
    ensure!((LONG - 600..LONG).contains(&left), "{left}");
    ensure!(curl(&site.lab, server, "/1k", &["--connect-timeout", "1"])?.status == 0);
    ensure!(allows(&engine)? == ["192.0.2.0/24", "2001:db8::7/128"]);

    // The maps of a killed engine know better than the file.
    engine.tell(&["unblock", "203.0.113.0/24"])?;
    engine.tell(&["allow", "2001:db8::7", "--remove"])?;
    engine.tell(&["allow", "192.0.2.77"])?;
    engine.kill()?;
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let kept = blocks(&engine)?;
    ensure!(kept.len() == 2 && kept[1].reason == "scans", "{kept:#?}");
    ensure!(remaining(&kept, "198.51.100.7")? <= left);
    ensure!(allows(&engine)? == ["192.0.2.0/24", "192.0.2.77/32"]);

    engine.stop()?;
    remove_maps(&site)?;
    let file = Path::new(STATE).join("blocks.jsonl");
    site.lab.gateway().enter(|| -> Result<()> {
        let text = fs::read_to_string(&file)?;
        Ok(fs::write(&file, &text[..text.len() - 9])?)
    })??;
    let engine = RunningEngine::start(&site.lab, &settings)?;
    ensure!(blocks(&engine)?.is_empty());
    ensure!(engine.log().contains("the file is now"), "{}", engine.log());
    engine.stop()
}
