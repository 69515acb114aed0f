//! Requests that take too long.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
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

/// Sends the same to both servers at the same time.
fn to_both(
    site: &Site,
    attempt: impl Fn(&Site, SocketAddr) -> Result<u16> + Sync,
) -> Result<[Result<u16>; 2]> {
    let attempt = &attempt;
    thread::scope(|scope| {
        let running = site::nginx().map(|server| scope.spawn(move || attempt(site, server)));
        let [first, second] =
            running.map(|attempt| attempt.join().map_err(|_| anyhow!("an attempt panicked")));
        Ok([first?, second?])
    })
}

/// Plays what takes too long, and its twin, which is fast enough. Nobody is an attacker by being slow.
fn play_slowly(attempt: impl Fn(&Site, SocketAddr, Role) -> Result<u16> + Sync) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let play = |role| to_both(&site, |site, server| attempt(site, server, role));
    let without = || {
        for role in [Role::Attack, Role::Twin] {
            for answer in play(role)? {
                let status = answer?;
                ensure!(status == 200, "{role:?}: {status}");
            }
        }
        Ok(site::nginx().len())
    };
    let with = |engine: &RunningEngine| {
        for answer in play(Role::Twin)? {
            let status = answer?;
            ensure!(status == 200, "{status}");
        }
        for answer in play(Role::Attack)? {
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
        // Both take as long: four times what the limits allow, as the engine counts from when it gets to see the head, which
        // on a machine with other work is later than it was sent. The twin sends forty times as much.
        let part = "a".repeat(role.pick(20, 800));
        let headers = format!(
            "{CLOSE}Content-Type: text/plain\r\nContent-Length: {}\r\n",
            20 * part.len()
        );
        let head = role.post(&headers, "");
        let parts = [head.as_bytes()].into_iter().chain([part.as_bytes(); 20]);
        drip(site, server, parts, Duration::from_millis(200))
    })
}
