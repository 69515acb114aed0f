//! What is between client and server.

use std::{path::Path, thread, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;
use xtask::lab::{Gateway, Lab, Nginx, Options, address, engine_config};

use crate::engine::Engine;

/// A gateway of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Candidate {
    pub(super) name: &'static str,
    bridge: bool,
    /// `inspect` of the service; `None` is the kernel alone.
    inspect: Option<&'static str>,
    /// Keys of the engine's configuration beside its services.
    settings: &'static [&'static str],
    /// It takes a whole CPU even if there is nothing to do.
    spins: bool,
}

const PLAIN: Candidate = Candidate {
    name: "plain",
    bridge: false,
    inspect: None,
    settings: &[],
    spins: false,
};
/// The candidates that have goals.
pub(super) const HOST: &str = "host, all";
pub(super) const BRIDGE: &str = "bridge, all";

/// A single source with many requests is a suspicious one, unless that is off.
const CALM: &[&str] = &["suspicious.soft_limit_rps = 0"];

/// The queue's thread reads its empty ring again and again instead of sleeping.
const SPINNING: &[&str] = &["engine.poll.idle = \"spin\""];
/// How long packets of connections that end may still come, and an engine may take until its heartbeat is seen again.
const SETTLES: Duration = Duration::from_millis(100);

/// The first is what the others are compared with; the second is the same once more: how far it is from the first is the noise.
pub(super) const ALL: [Candidate; 13] = [
    PLAIN,
    Candidate {
        name: "plain again",
        ..PLAIN
    },
    Candidate {
        name: HOST,
        inspect: Some("all"),
        ..PLAIN
    },
    Candidate {
        name: "host, all, native XDP",
        inspect: Some("all"),
        settings: &["engine.xdp_mode = \"native\""],
        ..PLAIN
    },
    Candidate {
        name: "host, all, not batched",
        inspect: Some("all"),
        settings: &["engine.scheduling = \"normal\""],
        ..PLAIN
    },
    Candidate {
        name: "host, all, spinning",
        inspect: Some("all"),
        settings: SPINNING,
        spins: true,
        ..PLAIN
    },
    Candidate {
        name: "host, suspicious",
        inspect: Some("suspicious"),
        settings: CALM,
        ..PLAIN
    },
    Candidate {
        name: "host, none",
        inspect: Some("none"),
        ..PLAIN
    },
    Candidate {
        name: "kernel's bridge",
        bridge: true,
        ..PLAIN
    },
    Candidate {
        name: BRIDGE,
        bridge: true,
        inspect: Some("all"),
        ..PLAIN
    },
    Candidate {
        name: "bridge, all, spinning",
        bridge: true,
        inspect: Some("all"),
        settings: SPINNING,
        spins: true,
    },
    Candidate {
        name: "bridge, suspicious",
        bridge: true,
        inspect: Some("suspicious"),
        settings: CALM,
        ..PLAIN
    },
    Candidate {
        name: "bridge, none",
        bridge: true,
        inspect: Some("none"),
        ..PLAIN
    },
];

impl Candidate {
    pub(super) fn lab(&self) -> Result<Lab> {
        let gateway = if self.bridge {
            Gateway::Bridge
        } else {
            Gateway::Router
        };
        Lab::start(&Options {
            gateway,
            ..Options::default()
        })
    }

    pub(super) fn inspects_all(&self) -> bool {
        self.inspect == Some("all")
    }

    /// The engine, if there is one.
    pub(super) fn engine<'a>(
        &self,
        lab: &'a Lab,
        binary: &'a Path,
        cache: bool,
    ) -> Result<Option<Engine<'a>>> {
        let Some(inspect) = self.inspect else {
            return Ok(None);
        };
        let mut text: String = self.settings.iter().flat_map(|line| [*line, "\n"]).collect();
        if !cache {
            text.push_str("scoring.cache = 0\n");
        }
        text.push_str(&engine_config::services(address::NGINX_PORT, inspect));
        Engine::start(lab, binary, &text).map(Some)
    }
}

/// A candidate that is up. An idle one costs nothing, so all are up at once; one that spins rests between its rounds.
pub(super) struct Site<'a> {
    pub(super) candidate: &'static Candidate,
    pub(super) lab: &'a Lab,
    pub(super) server: &'a Nginx,
    pub(super) engine: Option<Engine<'a>>,
}

impl Site<'_> {
    /// Does something while the gateway is awake; one that takes CPU time when there is nothing to do rests before and after it.
    pub(super) fn awake<T>(&self, then: impl FnOnce() -> Result<T>) -> Result<T> {
        self.wake()?;
        let result = then()?;
        self.rest()?;
        Ok(result)
    }

    /// Has the gateway take no CPU time until it is awake again.
    pub(super) fn rest(&self) -> Result<()> {
        match &self.engine {
            Some(engine) if self.candidate.spins => {
                thread::sleep(SETTLES);
                engine.pause()
            }
            _ => Ok(()),
        }
    }

    fn wake(&self) -> Result<()> {
        match &self.engine {
            Some(engine) if self.candidate.spins => {
                engine.resume()?;
                thread::sleep(SETTLES);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the engine. A figure for one that let requests pass unseen would mean nothing.
    pub(super) fn stop(self) -> Result<()> {
        self.wake()?;
        let Some(engine) = self.engine else { return Ok(()) };
        if self.candidate.inspects_all() {
            check_everything_was_inspected(&engine.status()?)?;
        }
        engine.stop()
    }
}

fn check_everything_was_inspected(status: &serde_json::Value) -> Result<()> {
    let allowed = status
        .pointer("/requests/allow")
        .and_then(serde_json::Value::as_u64);
    ensure!(allowed.unwrap_or(0) > 0, "no request was scored: {status}");
    let lost = status
        .pointer("/queues/0/lost")
        .and_then(serde_json::Value::as_u64);
    ensure!(lost == Some(0), "packets were lost: {status}");
    let unscored = status
        .pointer("/queues/0/unscored")
        .and_then(serde_json::Value::as_object);
    ensure!(
        unscored.is_none_or(serde_json::Map::is_empty),
        "packets passed unscored: {status}"
    );
    let failures = status
        .pointer("/xdp")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten();
    for counter in failures {
        let reason = counter["reason"].as_str().unwrap_or_default();
        let packets = counter["packets"].as_u64().unwrap_or(0);
        let failed = reason.starts_with("engine_") || reason == "ring_full";
        ensure!(
            !failed || packets == 0,
            "{packets} packets fell under the failure policy ({reason})"
        );
    }
    Ok(())
}
