//! What is not HTTP/1.1: upgrades and what follows them, HTTP/2 without TLS, HTTP/0.9.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{
    RawTcp,
    address::{NGINX_H2C_PORT, SERVER_V4, SERVER_V6},
    engine_config::services,
    nginx::UPGRADE,
    wait::wait_for,
};

use super::{FIRST, MARK, Role, SALAD, SETTINGS, SQL, case, play, play_under};
use crate::support::{
    SOON,
    engine::RunningEngine,
    request::curl,
    site::{self, Site},
    trick::in_two_runs,
};

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// nginx serves files here and upgrades nothing: what follows is requests, whatever stands before the first.
#[test]
fn requests_behind_an_upgrade_that_did_not_happen() -> Result<()> {
    let upgrade = |role: Role, between: &str| {
        format!(
            "GET /1k HTTP/1.1\r\nHost: lab\r\n{WEBSOCKET}\r\n{between}{}",
            role.get()
        )
    };
    // Refused, and the connection kept.
    let unknown = format!("{} / HTTP/1.1\r\nHost: lab\r\n\r\n", "G".repeat(33));
    play(&[
        case("at once", "sqli", |role| upgrade(role, "")).answers(2),
        case("by 10 bytes", "sqli", |role| upgrade(role, ""))
            .by(10)
            .answers(2),
        case("behind an empty line", "sqli", |role| upgrade(role, "\r\n")).answers(2),
        case("behind 20 empty lines", "900100", |role| {
            upgrade(role, &"\r\n".repeat(role.pick(20, 8)))
        })
        .answers(2),
        case("behind 20 line feeds", "900100", |role| {
            upgrade(role, &"\n".repeat(role.pick(20, 16)))
        })
        .answers(2),
        case("behind a method that is none", "900100", |role| {
            upgrade(role, role.pick(&unknown, FIRST))
        })
        .answers(3)
        .with_refusal(1),
    ])
}

/// nginx ignores it and answers; who does not would speak HTTP/2 from then on, in which the engine does not read.
#[test]
fn upgrades_to_http2() -> Result<()> {
    let protocols = ["h2c", "H2C", "websocket, h2c", "foo/1,h2c"];
    let cases = protocols.map(|protocol| {
        case(protocol, "900290", |role| {
            let protocol = role.pick(protocol, "websocket");
            role.get_with(&format!(
                "Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings"
            ))
        })
    });
    play(&cases)
}

/// What a server does not upgrade to it ignores.
#[test]
fn upgrades_that_are_not_allowed() -> Result<()> {
    let ask = |role: Role, attack: &str, twin: &str| {
        let protocol = role.pick(attack, twin);
        role.get_with(&format!("Connection: Upgrade\r\nUpgrade: {protocol}"))
    };
    let allowed = "scoring.allow.upgrades=[\"websocket\"]";
    play_under(
        &[&SETTINGS[..], &[allowed]].concat(),
        &[
            case("another one", "900480", |role| ask(role, "tcp", "websocket")),
            case("two", "900480", |role| ask(role, "websocket, tcp", "WebSocket")),
        ],
    )
}

/// A text message of a `WebSocket` client, masked as it has to be (RFC 6455 §5.2).
fn message(text: &str) -> Vec<u8> {
    let mask = [0x47, 0x45, 0x54, 0x20];
    let masked = text
        .bytes()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | text.len() as u8]
        .into_iter()
        .chain(mask)
        .chain(masked)
        .collect()
}

/// Opens a `WebSocket` through nginx, sends a message by `segment` bytes and waits until it comes back; returns what came
/// before it.
fn over_websocket(site: &Site, server: SocketAddr, text: &str, segment: usize) -> Result<String> {
    let mut client = RawTcp::connect(&site.lab, server)?;
    client.send(format!("GET {UPGRADE} HTTP/1.1\r\nHost: lab\r\n{WEBSOCKET}\r\n").as_bytes())?;
    client.receive_until(SOON, |client| client.received().ends_with(b"\r\n\r\n"))?;
    let head = String::from_utf8_lossy(client.received()).into_owned();
    if head.starts_with("HTTP/1.1 101") {
        let message = message(text);
        for part in message.chunks(segment) {
            client.send(part)?;
        }
        client.receive_until(SOON, |client| client.received().ends_with(&message))?;
    }
    Ok(head)
}

/// Messages are not scored, whatever is in them; who wants none of that allows no upgrade.
#[test]
fn messages_behind_an_upgrade_pass_by_policy() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let messages = || -> Result<()> {
        for server in site::nginx() {
            for (text, segment) in [(SQL, 1400), (SALAD, 1400), (SQL, 1), ("", 1)] {
                let head = over_websocket(&site, server, text, segment)
                    .with_context(|| format!("{text:?} to {server} by {segment}"))?;
                ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
            }
        }
        Ok(())
    };
    messages().context("without the engine")?;

    let engine = RunningEngine::start(&site.lab, &SETTINGS)?;
    messages()?;
    let requests = engine.settled_status()?.requests;
    ensure!(requests.allow > 0 && requests.block == 0, "{requests:?}");
    engine.stop()?;

    let settings = [&SETTINGS[..], &["scoring.allow.upgrades=[]"]].concat();
    let engine = RunningEngine::start(&site.lab, &settings)?;
    for server in site::nginx() {
        let mut client = RawTcp::connect(&site.lab, server)?;
        client.send(format!("GET {UPGRADE} HTTP/1.1\r\nHost: lab\r\n{WEBSOCKET}\r\n").as_bytes())?;
        let answer = client.response(SOON)?;
        ensure!(answer.status == 403, "{answer:?}");
        let answer = curl(&site.lab, server, "/1k", &[])?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    ensure!(engine.log().contains("900480"), "{}", engine.log());
    engine.stop()
}

/// Requests of HTTP/2 without TLS, to the port where nginx reads nothing else: the attack and its twin.
fn over_http2(site: &Site) -> Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for server in [SERVER_V4.into(), SERVER_V6.into()].map(|ip| SocketAddr::new(ip, NGINX_H2C_PORT)) {
        for role in [Role::Attack, Role::Twin] {
            let answer = curl(
                &site.lab,
                server,
                &role.target(),
                &["--http2-prior-knowledge", "--max-time", "5"],
            )?;
            statuses.push(answer.status);
        }
    }
    Ok(statuses)
}

/// It is known by its first bytes and not read, so that an attack in it and its twin are the same: both are refused, but where
/// nothing is blocked because of its content, and then the failure policy decides.
#[test]
fn http2_without_tls() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let statuses = over_http2(&site)?;
    ensure!(statuses == [200; 4], "without the engine: {statuses:?}");

    let services = services(NGINX_H2C_PORT, "all");
    let [drop, patient] = SETTINGS;
    let pass = "engine.on_failure=pass";
    for (policy, mode, passes) in [
        (drop, "scoring.mode=block", false),
        (pass, "scoring.mode=block", false),
        (drop, "scoring.mode=detect", false),
        (pass, "scoring.mode=detect", true),
    ] {
        let engine = RunningEngine::start_with(&site.lab, &services, &[policy, mode, patient])?;
        let statuses = over_http2(&site)?;
        let expected = [if passes { 200 } else { 0 }; 4];
        ensure!(statuses == expected, "{policy}, {mode}: {statuses:?}");
        let requests = engine.settled_status()?.requests;
        ensure!(
            requests.block == 4 && engine.log().contains("900150"),
            "{requests:?}"
        );
        engine.stop()?;
    }
    let served = wait_for("the requests in nginx's log", SOON, || {
        let mut log = site.nginx.access_log().ok()?;
        log.retain(|entry| entry.request.ends_with("HTTP/2.0"));
        (log.len() >= 8).then_some(log.len())
    })?;
    ensure!(served == 8, "{served}: more than the first four and the last");
    Ok(())
}

/// One answer and then the end, without a status: that of a server of HTTP/0.9.
fn old_answer(site: &Site, server: SocketAddr, role: Role) -> Result<Vec<u8>> {
    let mut client = RawTcp::connect(&site.lab, server)?;
    client.send(format!("GET {}\r\n", role.target()).as_bytes())?;
    client.wait_for_end(SOON)?;
    Ok(client.received().to_vec())
}

#[test]
fn requests_without_a_version() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let servers = site::nginx();
    let served = |server, role| -> Result<()> {
        let answer = old_answer(&site, server, role)?;
        ensure!(answer.len() == 1000, "{}", answer.escape_ascii());
        Ok(())
    };
    let without = || {
        for server in servers {
            served(server, Role::Attack)?;
            served(server, Role::Twin)?;
        }
        Ok(servers.len())
    };
    let with = |engine: &RunningEngine| {
        for server in servers {
            served(server, Role::Twin)?;
            let answer = old_answer(&site, server, Role::Attack)?;
            ensure!(answer.starts_with(b"HTTP/1.1 403"), "{}", answer.escape_ascii());
        }
        let status = engine.settled_status()?;
        ensure!(status.requests.families.get("sqli") == Some(&2), "{status:#?}");
        ensure!(engine.unscored("opaque")? > 0, "what follows is not scored");
        Ok(())
    };
    // What may follow such a request is not scored, so that it is the failure policy's matter.
    let settings = ["engine.on_failure=pass", SETTINGS[1]];
    in_two_runs(&site, MARK, &settings, without, with)?;

    let engine = RunningEngine::start(&site.lab, &SETTINGS)?;
    for server in servers {
        let answer = old_answer(&site, server, Role::Twin)?;
        ensure!(answer.is_empty(), "{}", answer.escape_ascii());
    }
    ensure!(engine.dropped("opaque")? > 0);
    engine.stop()
}
