//! What is told of an attack: to those who listen, and by the audit log.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{
    namespace::output_of,
    wait::{wait_for, wait_until},
};

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

/// A call of the engine's API: its status and what it answers.
fn call(site: &Site, method: &str, path: &str, body: &str) -> Result<(u16, serde_json::Value)> {
    let socket = site.lab.directory().join("control.http.sock");
    let mut curl = site.lab.gateway().command("curl");
    curl.args(["-s", "-X", method, "-w", "\n%{http_code}", "--unix-socket"])
        .arg(socket)
        .args(["-H", "Content-Type: application/json", "-d", body])
        .arg(format!("http://localhost{path}"));
    let answer = output_of(&mut curl)?;
    let (body, status) = answer.rsplit_once('\n').context("a status")?;
    Ok((status.trim().parse()?, serde_json::from_str(body)?))
}

#[test]
fn an_excluded_rule_does_not_count_until_its_exclusion_ends() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [
        "scoring.model=off",
        "deep.enabled=false",
        "reputation.threshold=1000000",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    let [server, _] = site::nginx();
    let status = |path: &str| Ok::<_, anyhow::Error>(curl(&site.lab, server, path, &[])?.status);
    let mut rules = Vec::new();
    // One rule decides as soon as it hits: the next is known when it does not count.
    while status(ATTACK)? == 403 {
        ensure!(rules.len() < 20, "{rules:?}");
        let told = wait_for("the decision", SOON, || {
            let (_, told) = call(&site, "GET", "/v1/requests?limit=1", "").ok()?;
            let hits = told["requests"][0]["rules"].as_array()?.iter();
            let mut new = hits
                .filter_map(|hit| hit["id"].as_u64())
                .filter(|id| !rules.contains(id));
            new.next()
        })?;
        rules.push(told);
        let body =
            format!("{{\"rules\": [{told}], \"path\": \"/1k\", \"for_s\": 600, \"reason\": \"a test\"}}");
        let (code, entry) = call(&site, "POST", "/v1/exclusions", &body)?;
        ensure!(code == 201, "{entry}");
        wait_until("the exclusion in force", SOON, || {
            call(&site, "GET", "/v1/exclusions", "").is_ok_and(|(_, all)| {
                all["exclusions"]
                    .as_array()
                    .is_some_and(|all| all.len() == rules.len())
            })
        })?;
    }
    ensure!(!rules.is_empty(), "the attack is one");
    ensure!(
        status(&ATTACK.replace("/1k", "/"))? == 403,
        "elsewhere they count"
    );
    engine.tell(&["reload"])?;
    ensure!(status(ATTACK)? == 200, "a reload keeps them");
    ensure!(call(&site, "DELETE", "/v1/exclusions/1", "")?.0 == 200);
    wait_until("the attack refused", SOON, || {
        status(ATTACK).is_ok_and(|status| status == 403)
    })?;
    let (code, error) = call(
        &site,
        "POST",
        "/v1/exclusions",
        "{\"rules\": [7], \"reason\": \"no such rule\"}",
    )?;
    ensure!(code == 422 && error["remedy"].is_string(), "{code} {error}");
    engine.stop()
}
