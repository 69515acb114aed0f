//! `/v1/events`: what happens, as it happens: a web socket for those who ask for one, Server-Sent Events for others.

mod sse;
mod websocket;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{
        Query, State, WebSocketUpgrade, rejection::QueryRejection, ws::rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{access::Admission, error::Problem};
use crate::{
    config,
    live::{Filter, FilterError, Hub, Next},
};

/// Messages that one listener gets at once.
const BATCH: usize = 64;

/// What telling takes.
#[derive(Clone)]
pub(super) struct Live {
    hub: Arc<Hub>,
    /// For web sockets; what is served over a plain connection holds its place among those.
    places: Arc<Semaphore>,
}

impl Live {
    pub(super) fn new(hub: Arc<Hub>, settings: &config::Events) -> Self {
        Self {
            hub,
            places: Arc::new(Semaphore::new(settings.clients as usize)),
        }
    }
}

/// What a listener wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Names of topics with commas between them; none: all.
    topics: Option<String>,
    /// About clients and sources in here.
    client: Option<String>,
    /// Of requests, those decided like this or worse.
    decision: Option<String>,
    /// From behind the message with this number; none: from now on.
    after: Option<u64>,
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            "write it like `?topics=verdicts,blocks&client=192.0.2.0/24&decision=block&after=1234`",
        )
    }
}

pub(super) async fn listen(
    State(live): State<Live>,
    Extension(admission): Extension<Admission>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted?;
    let filter = Filter::parse(
        wanted.topics.as_deref(),
        wanted.client.as_deref(),
        wanted.decision.as_deref(),
    )?;
    if !headers.contains_key(header::UPGRADE) {
        let after = wanted.after.or(last_event_id(&headers));
        return Ok(sse::answer(live.hub.subscribe(filter, after), admission).into_response());
    }
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(
            rejection.status(),
            rejection.body_text(),
            "ask for a WebSocket of version 13, or without an Upgrade for Server-Sent Events",
        )
    })?;
    let Ok(place) = Arc::clone(&live.places).try_acquire_owned() else {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "all places for listeners are taken",
            "close one, or raise events.clients",
        );
        return Ok(([(header::RETRY_AFTER, 5)], problem).into_response());
    };
    let subscription = live.hub.subscribe(filter, wanted.after);
    Ok(websocket::answer(upgrade, subscription, admission, place))
}

/// Where a client of Server-Sent Events was before its connection broke.
fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// What is said instead of messages that are gone.
fn lost(count: Option<u64>) -> String {
    match count {
        Some(count) => format!(r#"{{"topic":"lost","lost":{count}}}"#),
        None => r#"{"topic":"lost","lost":null}"#.to_owned(),
    }
}

/// The text of what comes next.
fn text(next: &Next) -> String {
    match next {
        Next::Message(message) => message.text.as_ref().to_owned(),
        Next::Lost(count) => lost(*count),
    }
}
