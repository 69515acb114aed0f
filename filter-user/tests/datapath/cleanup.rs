//! `portcullis cleanup` after an engine that was killed.

use std::path::Path;

use anyhow::{Result, ensure};
use xtask::lab::namespace::output_of;

use crate::support::{
    engine::{INTERFACE, PINS, PROGRAM, RunningEngine, links},
    site::Site,
};

#[test]
fn nothing_of_a_killed_engine_is_left() -> Result<()> {
    let Some(site) = Site::with_offloads()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let socket = site.lab.directory().join("control.sock");
    let features = || output_of(gateway.command("ethtool").args(["-k", INTERFACE]));
    let clean_up = || {
        let mut command = gateway.command(PROGRAM);
        command.arg("cleanup").arg("--socket").arg(&socket).output()
    };
    let before = features()?;
    let engine = RunningEngine::start(&site.lab, &["engine.offloads=auto"])?;
    ensure!(features()? != before, "offloads are off");
    let refused = clean_up()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("stop it first"),
        "{said}"
    );
    engine.kill()?;
    ensure!(links(gateway)?.contains("prog/xdp"));

    let done = clean_up()?;
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    ensure!(
        done.status.success() && said.contains("unpinned link_xdp_outside"),
        "{said}"
    );
    let links = links(gateway)?;
    ensure!(!links.contains("xdp") && !links.contains("pc-"), "{links}");
    ensure!(features()? == before, "offloads are on again: {said}");
    ensure!(!gateway.enter(|| Path::new(PINS).exists())? && !socket.exists());
    let again = clean_up()?;
    ensure!(String::from_utf8_lossy(&again.stdout).contains("nothing was left"));
    Ok(())
}
