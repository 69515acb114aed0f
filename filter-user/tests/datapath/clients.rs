//! Clients behind a trusted proxy: the lab's client is the proxy, and says whom it speaks for.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use xtask::lab::{
    RawTcp,
    address::{CLIENT_V4, CLIENT_V6, NGINX_PROXIED_PORT, SERVER_V4, SERVER_V6},
    engine_config::services,
    wait::wait_until,
};

use crate::support::{
    SOON,
    engine::{RunningEngine, both_services, with_tables},
    request::curl,
    site::{self, Site},
};

const TRUSTED: &str = "clients.trusted_proxies=[\"10.71.0.0/24\", \"fd71::/64\"]";

const ATTACK: &str = "/1k?id=1'+UNION+SELECT+password+FROM+users--";

/// nginx where it reads PROXY headers, over IPv4 and IPv6.
fn proxied() -> [SocketAddr; 2] {
    [
        SocketAddr::new(SERVER_V4.into(), NGINX_PROXIED_PORT),
        SocketAddr::new(SERVER_V6.into(), NGINX_PROXIED_PORT),
    ]
}

/// The services of those, with this expectation.
fn proxied_services(expectation: &str) -> String {
    let line = format!("inspect = \"all\"\nproxy_protocol = \"{expectation}\"\n");
    services(NGINX_PROXIED_PORT, "all").replace("inspect = \"all\"\n", &line)
}

#[test]
fn nginx_sees_the_client_that_the_proxy_header_names() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start_with(&site.lab, &proxied_services("require"), &[TRUSTED])?;
    let [v4, v6] = proxied();
    // curl speaks for itself.
    for server in [v4, v6] {
        let answer = curl(&site.lab, server, "/1k", &["--haproxy-protocol"])?;
        ensure!(answer.status == 200 && answer.body.len() == 1000, "{answer:?}");
        let attack = curl(&site.lab, server, ATTACK, &["--haproxy-protocol"])?;
        ensure!(attack.status == 403, "{attack:?}");
    }
    // A balancer speaks for others, in the binary form.
    let mut balancer = RawTcp::connect(&site.lab, v4)?;
    let header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\0\x51\x04\0\x04abcd";
    // nginx wants it in one piece.
    balancer.send(header)?;
    balancer.send(b"GET /1k HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    ensure!(balancer.response(SOON)?.status == 200);
    wait_until("nginx's log", SOON, || {
        let log = site.nginx.access_log().unwrap_or_default();
        let saw = |client: &str| {
            log.iter()
                .any(|entry| entry.remote_address == client && entry.status == 200)
        };
        saw("192.0.2.7") && saw(&CLIENT_V4.to_string()) && saw("fd71::2")
    })?;
    let status = engine.wait_for_status("headers counted", |status| {
        status.clients.get("proxy_header") == Some(&5)
    })?;
    ensure!(status.requests.block == 2, "{:?}", status.requests);
    // Without the header nothing goes.
    let answer = curl(&site.lab, v4, "/1k", &[])?;
    ensure!(answer.status == 403, "{answer:?}");
    engine.wait_for_status("the missing header counted", |status| {
        status.clients.contains_key("proxy_header_missing")
    })?;
    let text = engine.tell(&["status"])?;
    ensure!(text.contains("proxy_header_missing"), "{text}");
    engine.stop()
}

#[test]
fn headers_of_strangers_are_refused() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let elsewhere = "clients.trusted_proxies=[\"192.0.2.1\"]";
    let engine = RunningEngine::start_with(&site.lab, &proxied_services("accept"), &[elsewhere])?;
    for server in proxied() {
        let answer = curl(&site.lab, server, "/1k", &["--haproxy-protocol"])?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    engine.wait_for_status("headers counted", |status| {
        status.clients.get("proxy_header_untrusted") == Some(&2) && status.requests.malformed == 2
    })?;
    engine.stop()
}

/// What a source is blocked as.
fn source_net(source: IpAddr) -> String {
    match source {
        IpAddr::V4(source) => source.to_string(),
        IpAddr::V6(source) => format!("{source}/64"),
    }
}

/// Offences behind a proxy block the client, in the engine, and never the proxy, in the driver.
#[test]
fn a_client_behind_a_proxy_is_blocked_and_its_neighbour_is_served() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[TRUSTED, "reputation.half_life_s=86400"])?;
    for (server, bad, good, proxy) in [
        (
            site::nginx()[0],
            "192.0.2.7",
            "192.0.2.8",
            IpAddr::from(CLIENT_V4),
        ),
        (
            site::nginx()[1],
            "2001:db8::7",
            "2001:db8:0:1::7",
            CLIENT_V6.into(),
        ),
    ] {
        let visit = |client: &str, path: &str| {
            let line = format!("X-Forwarded-For: 198.51.100.1, {client}");
            curl(&site.lab, server, path, &["-H", &line])
        };
        for _ in 0..3 {
            ensure!(visit(bad, ATTACK)?.status == 403);
            // What the proxy does not attribute is nobody's offence.
            ensure!(visit("garbage", ATTACK)?.status == 403);
        }
        wait_until("the client being refused", SOON, || {
            visit(bad, "/1k").is_ok_and(|answer| answer.status == 403 && answer.request_id().is_some())
        })?;
        ensure!(visit(good, "/1k")?.status == 200);
        ensure!(
            curl(&site.lab, server, "/1k", &[])?.status == 200,
            "the proxy itself"
        );
        let blocked: Vec<_> = with_tables(site.lab.gateway(), |tables| {
            let single = tables.source_blocks.keys().flatten().map(IpAddr::from);
            let nets = tables.blocked().map(|(prefix, _)| prefix.address);
            Ok(single.chain(nets).collect())
        })?;
        let source: IpAddr = bad.replace("::7", "::").parse()?;
        ensure!(
            blocked.contains(&source) && !blocked.contains(&proxy),
            "{blocked:?}"
        );
        ensure!(!engine.tell(&["blocks"])?.contains(&proxy.to_string()));
        let block = engine.tell(&["unblock", &source_net(source)])?;
        ensure!(!block.contains("error"), "{block}");
        wait_until("the client being served", SOON, || {
            visit(bad, "/1k").is_ok_and(|answer| answer.status == 200)
        })?;
        // An operator can block the client, too, but not the proxy.
        engine.tell(&["block", good, "--for", "1h"])?;
        wait_until("the neighbour being refused", SOON, || {
            visit(good, "/1k").is_ok_and(|answer| answer.status == 403)
        })?;
        let (code, text) = engine.refuse(&["block", &proxy.to_string()])?;
        ensure!(
            code == 5 && text.contains("trusted_proxies") && text.contains("fix:"),
            "{text}"
        );
    }
    let status = engine.settled_status()?;
    ensure!(status.clients["client_blocked"] >= 4, "{:?}", status.clients);
    engine.stop()
}

#[test]
fn one_request_too_many_gets_a_429_from_whichever_connection() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let limits = "[[limit]]\nname = \"documents\"\nmethods = [\"GET\"]\npaths = [\"/1k\"]\nrequests = 3\nwindow_s = 3600\n";
    let configuration = format!("{}{limits}", both_services("all"));
    let engine = RunningEngine::start_with(&site.lab, &configuration, &[TRUSTED])?;
    for server in site::nginx() {
        let family = if server.is_ipv4() { "192.0.2" } else { "2001:db8" };
        let colon = if server.is_ipv4() { "." } else { ":1::" };
        let visit = |host: u8, path: &str| {
            let line = format!("X-Forwarded-For: {family}{colon}{host}");
            curl(&site.lab, server, path, &["-i", "-H", &line])
        };
        for _ in 0..3 {
            ensure!(visit(7, "/1k?a=b")?.status == 200);
        }
        let refused = visit(7, "/1k")?;
        ensure!(refused.status == 429, "{refused:?}");
        let text = refused.text().to_lowercase();
        ensure!(
            text.contains("retry-after: ") && text.contains("too many requests"),
            "{text}"
        );
        ensure!(visit(7, "/16k")?.status == 200);
        ensure!(
            curl(&site.lab, server, "/1k", &[])?.status == 200,
            "the proxy itself"
        );
    }
    ensure!(
        engine
            .wait_for_status("both counted", |status| status.clients.get("limit_429")
                == Some(&2))
            .is_ok()
    );
    ensure!(
        engine.log().contains("limit documents: more than 3 requests"),
        "{}",
        engine.log()
    );
    engine.stop()
}
