//! The thread that reads a ring has the driver receive.

use anyhow::{Result, ensure};

use crate::support::{
    engine::RunningEngine,
    modes::in_both_modes,
    request::curl,
    site::{self, Site},
};

in_both_modes!(a_driver_is_polled_if_it_can_be);

fn a_driver_is_polled_if_it_can_be(mode: &str) -> Result<()> {
    let Some(site) = Site::plain()? else {
        return Ok(());
    };
    let settings = [
        mode,
        "engine.poll.busy_budget=32",
        "engine.poll.idle=spin",
        "engine.on_failure=drop",
    ];
    let engine = RunningEngine::start(&site.lab, &settings)?;
    for server in site::nginx() {
        for (path, status) in [
            ("/1k?q=1", 200),
            ("/1k?q=1+UNION+SELECT+password+FROM+users", 403),
        ] {
            let answer = curl(&site.lab, server, path, &[])?;
            ensure!(answer.status == status, "{path}: {answer:?}");
        }
    }
    // A veth has no zero copy; before Linux 6.14 native XDP was enough.
    let outcomes = ["the driver cannot be polled", "the driver is polled"];
    let possible = if mode.ends_with("native") {
        &outcomes[..]
    } else {
        &outcomes[..1]
    };
    let log = engine.log();
    ensure!(possible.iter().any(|outcome| log.contains(outcome)), "{log}");
    engine.stop()
}
