//! What is told of an attack: to those who listen, and by the audit log.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use xtask::lab::wait::{wait_for, wait_until};

use crate::support::{
    SOON,
    engine::{PROGRAM, RunningEngine},
    request::curl,
    site::{self, Site},
};

const ATTACK: &str = "/1k?password=x&id=1'+UNION+SELECT+card+FROM+users--";

#[test]
fn an_attack_is_told_and_explained_without_secrets() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop"])?;
    let socket = site.lab.directory().join("control.sock");
    let mut listener = site.lab.gateway().command(PROGRAM);
    listener
        .args(["events", "--json", "--topics", "verdicts", "-n", "2", "--socket"])
        .arg(&socket)
        .stdout(Stdio::piped());
    let listener = listener.spawn().context("starting a listener")?;
    engine.wait_for_status("a listener", |status| status.events.listeners == 1)?;
    for server in site::nginx() {
        let secret = ["-H", "Authorization: Bearer s3cr3t", "-H", "Cookie: sid=s3cr3t"];
        let answer = curl(&site.lab, server, ATTACK, &secret)?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    let told = String::from_utf8(listener.wait_with_output()?.stdout)?;
    let messages: Vec<serde_json::Value> =
        told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(messages.len() == 2, "{told}");
    for message in &messages {
        ensure!(
            message["decision"] == "block" && message["enforced"] == true,
            "{message}"
        );
        let head = message["head"].as_str().context("a head")?;
        for part in [
            "GET /1k?password=***&id=",
            "\nHost: ",
            "Authorization: Bearer ***",
            "Cookie: sid=***",
        ] {
            ensure!(head.contains(part), "{part} in {head}");
        }
    }
    ensure!(!told.contains("s3cr3t"), "{told}");

    let directory = site.lab.directory().join("audit").display().to_string();
    let id = messages[0]["request_id"].as_str().context("a number")?;
    let explained = wait_for("the audit log", SOON, || {
        engine.tell(&["explain", id, "--dir", &directory]).ok()
    })?;
    for part in [
        &format!("request {id}: block"),
        "rule ",
        "query:id",
        "Host: ",
        "[[scoring.exclusions]]",
    ] {
        ensure!(explained.contains(part), "{part} in {explained}");
    }
    let (code, error) = engine.refuse(&["explain", "0000000000000001", "--dir", &directory])?;
    ensure!(code != 0 && error.contains("is not in the audit log"), "{error}");

    engine.tell(&["block", "192.0.2.77", "--for", "60s", "--reason", "a test"])?;
    wait_until("the block in the audit log", SOON, || {
        engine
            .tell(&[
                "audit",
                "--dir",
                &directory,
                "--topic",
                "blocks",
                "--client",
                "192.0.2.77",
            ])
            .is_ok_and(|found| found.contains("blocked 192.0.2.77") && found.contains("a test"))
    })?;
    let found = engine.tell(&[
        "audit",
        "--dir",
        &directory,
        "--decision",
        "block",
        "--since",
        "10m",
    ])?;
    ensure!(found.lines().count() == 2 && found.contains("UNION"), "{found}");
    engine.stop()
}
