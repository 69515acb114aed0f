//! Many who listen: requests go on, and those who do not read are told what they have lost.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Result, ensure};
use xtask::lab::{
    Audience, Listeners, Visit,
    address::{NGINX_PORT, SERVER_V4, VISITORS},
};

use crate::support::{SOON, engine::RunningEngine, site::Site};

const CLIENTS: usize = 500;
const DEAF: usize = 50;
/// Of so many requests one is an attack.
const ATTACKS: u32 = 2;
/// Their attacks are more than fits into the buffers of a connection that nobody reads, about 300 KB.
const REQUESTS: u32 = 360;

const SETTINGS: [&str; 5] = [
    "engine.on_failure=drop",
    "reputation.threshold=1000000",
    "events.clients=500",
    "events.history=16",
    "events.rate=100000",
];

#[test]
fn serial_many_who_listen_cost_no_request_and_the_deaf_are_told() -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    site.lab.add_internet()?;
    let engine = RunningEngine::start(&site.lab, &SETTINGS)?;
    let listeners = Listeners::connect(&Audience {
        socket: site.lab.directory().join("control.http.sock"),
        path: "/v1/events?topics=verdicts".to_owned(),
        count: CLIENTS,
        deaf: DEAF,
    })?;
    engine.wait_for_status("all of them", |status| status.events.listeners == CLIENTS as u64)?;
    let visits = Visit {
        source: (u32::from(VISITORS.0) | 1).into(),
        target: SocketAddrV4::new(SERVER_V4, NGINX_PORT),
        rate: 200,
        requests: REQUESTS,
        patience: Duration::from_secs(30),
        attacks: ATTACKS,
    }
    .run(site.lab.client())?;
    ensure!(
        visits.lost() == 0 && visits.caught == REQUESTS / ATTACKS,
        "{} lost, {} caught: {visits:?}",
        visits.lost(),
        visits.caught
    );
    let told = u64::from(visits.caught);
    let heard = listeners.finish(told, SOON)?;
    for heard in &heard {
        // What is lost is counted whatever it was about.
        ensure!(heard.messages + heard.lost >= told, "{heard:?} of {told}");
        ensure!(heard.messages <= told, "{heard:?} of {told}");
        ensure!(!heard.deaf || heard.lost > 0, "{heard:?}");
    }
    ensure!(heard.iter().filter(|heard| heard.deaf).count() == DEAF);
    engine.wait_for_status("nobody", |status| status.events.listeners == 0)?;
    engine.stop()
}
