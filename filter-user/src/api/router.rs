//! Which path asks what.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Context, access, allows, blocks,
    error::Problem,
    events::{self, Live},
    exclusions, feeds, health, history, metrics, openapi, reload, requests,
};
use crate::{
    alert::Alert,
    control::{Engine, ModelStatus, RulesStatus, SourceRisk, Status},
    latency::Stage,
    schedule::JobStatus,
};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Sources of one answer: without a limit, and at most.
const USUAL_SOURCES: usize = 20;
const MAX_SOURCES: usize = 1000;

/// All paths, with those of `checks`. An answer that takes longer than `timeout` is a 503.
pub(super) fn new(context: Context, checks: Router, live: Live, timeout: Duration) -> Router {
    let events = Router::new()
        .route("/v1/events", get(events::listen))
        .with_state(live);
    Router::new()
        .route("/health", get(health))
        // An engine that filters, degraded or not, is also ready: it answers here from when it does.
        .route("/ready", get(health))
        .route("/metrics", get(exposition))
        .route(openapi::PATH, get(openapi::told))
        .route("/v1/access", get(access::told))
        .route("/v1/stats", get(stats))
        .route("/v1/rules", get(rules))
        .route("/v1/model", get(model))
        .route("/v1/history", get(history::history))
        .route("/v1/requests", get(requests::list))
        .route("/v1/requests/{id}", get(requests::one))
        .route("/v1/sources", get(sources))
        .route("/v1/alerts", get(alerts))
        .route("/v1/jobs", get(jobs))
        .route("/v1/blocks", get(blocks::list).post(blocks::add))
        .route("/v1/blocks/{*target}", delete(blocks::remove))
        .route("/v1/allows", get(allows::list).post(allows::add))
        .route("/v1/allows/{*target}", delete(allows::remove))
        .route("/v1/exclusions", get(exclusions::list).post(exclusions::add))
        .route("/v1/exclusions/{id}", delete(exclusions::remove))
        .route("/v1/feeds", get(feeds::list))
        .route("/v1/feeds/refresh", post(feeds::refresh))
        .route("/v1/config", get(reload::config))
        .route("/v1/reload", post(reload::reload))
        .route("/v1/reload/confirm", post(reload::confirm))
        .route("/v1/reload/revert", post(reload::revert))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(context)
        .merge(checks)
        .merge(events)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(timeout, in_time))
}

type Answer<T> = Result<T, Problem>;

async fn status(context: &Context) -> Answer<Status> {
    context.call(Engine::status).await
}

async fn health(State(context): State<Context>) -> Answer<impl IntoResponse> {
    let health = health::Health::of(&status(&context).await?, context.heartbeat_timeout);
    let code = if health.is_failing() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    Ok((code, Json(health)))
}

async fn exposition(State(context): State<Context>) -> Answer<impl IntoResponse> {
    let text = context
        .call(|engine| {
            let latencies = engine.latencies(false);
            let stages = Stage::ALL.map(|stage| (stage, latencies.merged(stage)));
            metrics::text(&engine.status(), &stages)
        })
        .await?
        .map_err(|error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the metrics have no text form: {error}"),
                "report this",
            )
        })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}

async fn stats(State(context): State<Context>) -> Answer<Json<Status>> {
    Ok(Json(status(&context).await?))
}

async fn rules(State(context): State<Context>) -> Answer<Json<RulesStatus>> {
    Ok(Json(status(&context).await?.rules))
}

async fn model(State(context): State<Context>) -> Answer<Json<ModelStatus>> {
    Ok(Json(status(&context).await?.rules.model))
}

/// How many sources.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Most {
    limit: Option<usize>,
}

/// Sources, the worst first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sources {
    sources: Vec<SourceRisk>,
}

async fn sources(
    State(context): State<Context>,
    most: Result<Query<Most>, QueryRejection>,
) -> Answer<Json<Sources>> {
    let Query(most) = most?;
    let limit = most.limit.unwrap_or(USUAL_SOURCES).min(MAX_SOURCES);
    let sources = context.call(move |engine| engine.risks(limit)).await?;
    Ok(Json(Sources { sources }))
}

/// All alerts, on or off.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Alerts {
    alerts: Vec<Alert>,
}

async fn alerts(State(context): State<Context>) -> Answer<Json<Alerts>> {
    let alerts = context.call(|engine| engine.chronicle().alerts.list()).await?;
    Ok(Json(Alerts { alerts }))
}

/// What is done now and then.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Jobs {
    jobs: Vec<JobStatus>,
}

async fn jobs(State(context): State<Context>) -> Answer<Json<Jobs>> {
    let jobs = context.call(|engine| engine.chronicle().board.jobs()).await?;
    Ok(Json(Jobs { jobs }))
}

async fn in_time(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(timeout, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine did not answer in time",
            "try again, or raise api.timeout_s",
        )
        .into_response()
    })
}

async fn unknown(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", uri.path()),
        "docs/api.md names what there is: /health, /ready, /metrics, /v1/stats and more",
    )
}

pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take that method",
        "the Allow header names those it takes",
    )
}
