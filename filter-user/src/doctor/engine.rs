//! Engines, and what they are started by.

use super::{Finding, facts::Engine};
use crate::config::Config;

pub(super) fn examine(engine: &Engine, config: &Config) -> Vec<Finding> {
    vec![state(engine), user(engine, config), unit(engine)]
}

fn state(engine: &Engine) -> Finding {
    match (engine.runs, engine.links.as_slice()) {
        (None, _) => Finding::warning(
            "engine",
            "this user cannot see whether one is running",
            "sudo portcullis doctor",
        ),
        (Some(true), _) => Finding::ok("engine", "one is running"),
        (Some(false), []) => Finding::ok("engine", "none is running, and none has left anything"),
        (Some(false), links) => Finding::warning(
            "engine",
            format!(
                "one has ended without order: its programs go on, with engine.on_failure for what should be inspected ({})",
                links.join(", ")
            ),
            "portcullis cleanup",
        ),
    }
}

fn user(engine: &Engine, config: &Config) -> Finding {
    let name = &config.engine.user;
    match engine.has_user {
        None => Finding::warning(
            "user",
            "engine.user is empty: the engine stays root",
            "useradd --system --no-create-home --shell /usr/sbin/nologin portcullis, and `user = \"portcullis\"` under [engine]",
        ),
        Some(true) => Finding::ok("user", format!("the engine becomes {name}")),
        Some(false) => Finding::wrong(
            "user",
            format!("there is no user {name} (engine.user)"),
            format!("useradd --system --no-create-home --shell /usr/sbin/nologin {name}"),
        ),
    }
}

fn unit(engine: &Engine) -> Finding {
    match (engine.has_systemd, engine.unit) {
        (false, _) => Finding::ok("unit", "this host is not run by systemd"),
        (true, Some(true)) => Finding::ok("unit", "portcullis.service is started at boot"),
        (true, Some(false)) => Finding::warning(
            "unit",
            "portcullis.service is not started at boot",
            "systemctl enable portcullis.service",
        ),
        (true, None) => Finding::warning(
            "unit",
            "there is no portcullis.service: nothing starts the engine at boot",
            "cargo xtask package && apt install ./target/debian/portcullis_*.deb",
        ),
    }
}
