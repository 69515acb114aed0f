//! What is told of an attack: to those who listen, and by the audit log.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    thread,
};

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

    let directory = site.lab.directory().join("audit.directory").display().to_string();
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

    let rule = messages[0]["rules"][0]["id"]
        .as_u64()
        .context("a rule")?
        .to_string();
    let screen = engine.tell(&["top", "--once", "--width", "160", "--height", "50"])?;
    for part in ["mode block", "GET /1k?password=***", rule.as_str()] {
        ensure!(screen.contains(part), "{part} in {screen}");
    }
    let (code, error) = engine.refuse(&["top"])?;
    ensure!(code == 1 && error.contains("--once"), "{error}");

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

/// The first alert that is posted.
fn posted(listener: &TcpListener) -> Result<serde_json::Value> {
    let (mut stream, _) = listener.accept()?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with('}') {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    let (_, body) = text.split_once("\r\n\r\n").context("a head")?;
    Ok(serde_json::from_str(body)?)
}

#[test]
fn an_attack_raises_an_alert_and_snapshots_are_written() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let listener = site.lab.gateway().enter(|| TcpListener::bind("127.0.0.1:0"))??;
    let webhook = format!("alerts.webhook=\"http://{}/hook\"", listener.local_addr()?);
    let history = site.lab.directory().join("history");
    let directory = format!("history.directory={}", history.display());
    let settings = [
        webhook.as_str(),
        directory.as_str(),
        "history.interval_s=1",
        "alerts.attack={ above = 0.1, for_s = 1 }",
        "reputation.threshold=1000000",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let hook = thread::spawn(move || posted(&listener));
    let [server, _] = site::nginx();
    wait_until("the alert", SOON, || {
        let _ = curl(&site.lab, server, ATTACK, &[]);
        hook.is_finished()
    })?;
    let alert = hook.join().ok().context("the hook")??;
    ensure!(alert["name"] == "attack" && alert["state"] == "raised", "{alert}");
    ensure!(engine.log().contains("alert attack"), "{}", engine.log());
    let snapshot = wait_for("a snapshot", SOON, || {
        let entry = fs::read_dir(&history).ok()?.flatten().last()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()
    })?;
    ensure!(
        snapshot["requests"].is_object() && snapshot["jobs"].is_array(),
        "{snapshot}"
    );
    engine.stop()
}
