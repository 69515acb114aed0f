//! Links that go down and up again, and interfaces that go for good.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Result, ensure};
use xtask::lab::namespace::output_of;

use crate::support::{
    SOON,
    engine::{INTERFACE, RunningEngine},
    modes::in_both_modes,
    site::{self, Site},
};

in_both_modes!(
    connections_outlive_a_link_that_flaps,
    an_interface_that_goes_ends_the_engine_and_not_the_next_one,
);

const SETTINGS: [&str; 2] = ["engine.on_failure=drop", "reputation.threshold=1000000"];

fn link(site: &Site, arguments: &[&str]) -> Result<()> {
    let gateway = site.lab.gateway();
    output_of(gateway.command("ip").arg("link").args(arguments)).map(drop)
}

/// Over IPv4: an interface that is down has no IPv6 addresses any more.
fn connections_outlive_a_link_that_flaps(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let engine = RunningEngine::start(&site.lab, &[mode, SETTINGS[0], SETTINGS[1]])?;
    let [server, _] = site::nginx();
    // A client of the kernel's: the lab's own answers no questions for its address.
    let connect = || -> Result<TcpStream> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    };
    for (rest, status) in [("ONI+ONS", "200"), ("UNION+SELECT+a+FROM+b", "403")] {
        let mut client = site.lab.client().enter(connect)??;
        client.write_all(b"GET /1k?q=1+")?;
        engine.settled_status()?;
        for _ in 0..3 {
            link(&site, &["set", INTERFACE, "down"])?;
            link(&site, &["set", INTERFACE, "up"])?;
        }
        client.write_all(format!("{rest} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = [0; 12];
        client.read_exact(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.ends_with(status), "{answer}: {}", engine.log());
    }
    engine.stop()
}

fn an_interface_that_goes_ends_the_engine_and_not_the_next_one(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let mut engine = RunningEngine::start(&site.lab, &[mode, SETTINGS[0], SETTINGS[1]])?;
    link(&site, &["del", INTERFACE])?;
    let status = engine.wait()?;
    let log = engine.log();
    ensure!(!status.success() && !log.contains("panicked"), "{status}: {log}");
    ensure!(log.contains(INTERFACE), "{log}");
    // Another interface of that name.
    link(
        &site,
        &["add", INTERFACE, "type", "veth", "peer", "name", "other"],
    )?;
    for end in [INTERFACE, "other"] {
        link(&site, &["set", end, "up"])?;
    }
    let engine = RunningEngine::start(&site.lab, &[mode, SETTINGS[0], SETTINGS[1]])?;
    ensure!(engine.status()?.interface == INTERFACE);
    engine.stop()
}
