//! `portcullis doctor` on a host with faults, and what it prints to mend them.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::lab::{Lab, namespace::output_of};

use crate::{
    mistakes::attach_foreign,
    support::{
        engine::{INTERFACE, PROGRAM},
        site::Site,
    },
};

/// What is not well, and what mends it; and whether the exit code says that something is wrong.
fn ask(lab: &Lab, file: &str) -> Result<(BTreeMap<String, String>, bool)> {
    let mut command = lab.gateway().command(PROGRAM);
    command.args(["doctor", "--json", "--iface", INTERFACE, "--config", file]);
    let output = command.output().context("starting the program")?;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let faults = findings.iter().filter(|finding| finding["verdict"] != "ok");
    let faults = faults
        .map(|finding| (text(finding, "check"), text(finding, "fix")))
        .collect();
    Ok((faults, !output.status.success()))
}

#[test]
fn what_the_doctor_prints_mends() -> Result<()> {
    let Some(site) = Site::with_offloads()? else {
        return Ok(());
    };
    let gateway = site.lab.gateway();
    let file = site.lab.directory().join("doctor.toml");
    fs::write(&file, "[engine]\nuser = \"nobody\"\noffloads = \"keep\"\n")?;
    let file = file.display().to_string();
    gateway.sysctl(&format!("net/ipv4/conf/{INTERFACE}/rp_filter"), "1")?;
    gateway.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    gateway.ip(&format!("link set dev {INTERFACE} down"))?;
    attach_foreign(gateway, "xdpgeneric")?;

    let (faults, is_wrong) = ask(&site.lab, &file)?;
    ensure!(is_wrong, "{faults:?}");
    let wanted = ["interface", "offloads", "program", "rp_filter"];
    for check in wanted {
        let fix = faults
            .get(check)
            .with_context(|| format!("{check}: {faults:?}"))?;
        output_of(gateway.command("sh").args(["-c", fix]))?;
    }
    let (faults, is_wrong) = ask(&site.lab, &file)?;
    ensure!(!is_wrong, "{faults:?}");
    ensure!(
        wanted.iter().all(|check| !faults.contains_key(*check)),
        "{faults:?}"
    );
    Ok(())
}
