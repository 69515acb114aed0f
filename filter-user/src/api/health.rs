//! Whether the engine does its work, part by part.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::control::Status;

/// How a part does, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should.
    Ok,
    /// It works, but not as was asked for.
    Degraded,
    /// It does not work.
    Failing,
}

/// One part of the engine.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Component {
    status: State,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// The engine, and its parts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    status: State,
    version: String,
    uptime_s: f64,
    components: BTreeMap<&'static str, Component>,
}

impl Health {
    /// From the engine's state. A queue that has shown nothing for `heartbeat_timeout` hangs.
    pub(super) fn of(status: &Status, heartbeat_timeout: Duration) -> Self {
        let components: BTreeMap<_, _> = [
            ("queues", queues(status, heartbeat_timeout)),
            ("rules", rules(status)),
            ("model", model(status)),
            ("second_tier", second_tier(status)),
        ]
        .into();
        let worst = components.values().map(|component| component.status).max();
        Self {
            status: worst.unwrap_or(State::Failing),
            version: status.version.clone(),
            uptime_s: status.uptime_s,
            components,
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.status == State::Failing
    }
}

fn component(status: State, detail: impl Into<String>) -> Component {
    Component {
        status,
        detail: detail.into(),
    }
}

fn queues(status: &Status, timeout: Duration) -> Component {
    let hung = |age_ms: u64| u128::from(age_ms) > timeout.as_millis();
    let hung: Vec<_> = status
        .queues
        .iter()
        .filter(|queue| hung(queue.heartbeat_age_ms))
        .map(|queue| queue.queue.to_string())
        .collect();
    if status.queues.is_empty() {
        component(State::Failing, "no queue is read")
    } else if hung.is_empty() {
        component(State::Ok, "")
    } else {
        component(
            State::Failing,
            format!("without a sign of life: queue {}", hung.join(", ")),
        )
    }
}

fn rules(status: &Status) -> Component {
    match &status.rules.last_error {
        None => component(State::Ok, ""),
        Some(error) => component(
            State::Degraded,
            format!("the last reload failed, those before it are in force: {error}"),
        ),
    }
}

fn model(status: &Status) -> Component {
    match &status.rules.model.error {
        None => component(State::Ok, ""),
        Some(error) => component(State::Degraded, error.as_str()),
    }
}

fn second_tier(status: &Status) -> Component {
    match &status.deep {
        None => component(State::Ok, "off"),
        Some(deep) if deep.breaker == "closed" => component(State::Ok, ""),
        Some(deep) => component(
            State::Degraded,
            format!("the circuit breaker is {}", deep.breaker),
        ),
    }
}
