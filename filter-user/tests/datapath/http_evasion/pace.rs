//! Requests that take too long.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, ensure};
use xtask::lab::RawTcp;

use super::{CLOSE, MARK, Role, SETTINGS};
use crate::support::{
    SOON,
    engine::RunningEngine,
    site::{self, Site},
    trick::in_two_runs,
};

/// Sends parts with pauses between them, and waits for the answer.
fn drip<'a>(
    site: &Site,
    server: SocketAddr,
    parts: impl Iterator<Item = &'a [u8]>,
    pause: Duration,
) -> Result<u16> {
    let mut client = RawTcp::connect(&site.lab, server)?;
    for part in parts {
        client.send(part)?;
        thread::sleep(pause);
    }
    Ok(client.response(SOON)?.status)
}

/// Plays what takes too long, and its twin, which is fast enough. Nobody is an attacker by being slow.
fn play_slowly(attempt: impl Fn(&Site, SocketAddr, Role) -> Result<u16>) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let servers = site::nginx();
    let without = || {
        for server in servers {
            for role in [Role::Attack, Role::Twin] {
                let status = attempt(&site, server, role)?;
                ensure!(status == 200, "{role:?}: {status}");
            }
        }
        Ok(servers.len())
    };
    let with = |engine: &RunningEngine| {
        for server in servers {
            let status = attempt(&site, server, Role::Twin)?;
            ensure!(status == 200, "{status}");
            let answer = attempt(&site, server, Role::Attack);
            ensure!(answer.is_err(), "{answer:?}");
        }
        let requests = engine.settled_status()?.requests;
        ensure!(engine.dropped("slow_request")? == 2);
        ensure!(requests.block == 0, "{requests:?}");
        Ok(())
    };
    let limits = ["limits.request_timeout_s=1", "limits.body_bytes_per_s=200"];
    let settings = [SETTINGS, limits].concat();
    in_two_runs(&site, MARK, &settings, without, with)
}

#[test]
fn heads_that_come_in_drops() -> Result<()> {
    play_slowly(|site, server, role| {
        let request = role.get();
        let pause = Duration::from_millis(role.pick(200, 20));
        drip(site, server, request.as_bytes().chunks(request.len() / 10), pause)
    })
}

#[test]
fn bodies_that_come_in_drops() -> Result<()> {
    play_slowly(|site, server, role| {
        // Both take as long; the twin sends twenty times as much.
        let part = "a".repeat(role.pick(20, 400));
        let headers = format!(
            "{CLOSE}Content-Type: text/plain\r\nContent-Length: {}\r\n",
            10 * part.len()
        );
        let head = role.post(&headers, "");
        let parts = [head.as_bytes()].into_iter().chain([part.as_bytes(); 10]);
        drip(site, server, parts, Duration::from_millis(200))
    })
}
