//! `/v1/check` and `/v1/check/batch`: judges requests that programs show, as the engine judges those on the wire.

mod judged;
mod memory;
mod pool;
mod rate;

use std::{io, sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use filter_score::Policies;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    access::{Access, Client},
    error::Problem,
};
use crate::config::CheckApi;
pub(super) use judged::Judged;
use judged::Outcome;
pub(super) use pool::InForce;
use pool::{Answers, Pool, Unanswered};
use rate::Rates;

/// Requests are shown and judged below it; nothing changes.
pub(super) const PATH: &str = "/v1/check";
/// The most requests of a batch.
const MAX_BATCH: usize = 1000;
/// The most bytes of a call's body.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What judging takes.
pub(super) struct Checks {
    pool: Pool,
    rates: Rates,
}

impl Checks {
    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    fn start(settings: &CheckApi, policies: &Arc<InForce>) -> io::Result<Self> {
        Ok(Self {
            pool: Pool::start(settings, policies)?,
            rates: Rates::new(settings),
        })
    }

    /// Judges requests; each has its answer in its place.
    async fn judge(&self, client: &Client, requests: Vec<Bytes>) -> Result<Answers, Failure> {
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        if let Err(wait_s) = self.rates.take(&client.0, count, Instant::now()) {
            return Err(Failure::TooMany { wait_s });
        }
        Ok(self.pool.judge(requests).await?)
    }
}

/// `/v1/check` and `/v1/check/batch` alone, for a program without an engine: it has requests judged by the policies that `policies` says are in
/// force. Whoever can call it may.
///
/// # Errors
///
/// When a thread cannot be started.
pub fn checks(
    settings: &CheckApi,
    policies: impl Fn() -> Arc<Policies> + Send + Sync + 'static,
) -> io::Result<Router> {
    let policies: Arc<InForce> = Arc::new(policies);
    Ok(Access::Everyone.guard(router(settings, &policies)?))
}

/// The paths, and the workers that answer there.
pub(super) fn router(settings: &CheckApi, policies: &Arc<InForce>) -> io::Result<Router> {
    let checks = Checks::start(settings, policies)?;
    Ok(Router::new()
        .route(PATH, post(one))
        .route(&format!("{PATH}/batch"), post(batch))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(checks)))
}

/// Why there is no judgement.
pub(super) enum Failure {
    Problem(Problem),
    /// The client, or all together, are over their rate.
    TooMany {
        wait_s: u64,
    },
    Unanswered(Unanswered),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error, remedy, wait_s) = match self {
            Self::Problem(problem) => return problem.into_response(),
            Self::TooMany { wait_s } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "ask less often, or raise api.check.client_rate and api.check.total_rate",
                wait_s,
            ),
            Self::Unanswered(Unanswered::Full) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "queue_full",
                "try again, or raise api.check.workers and api.check.queue",
                1,
            ),
            Self::Unanswered(Unanswered::Late) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "deadline_exceeded",
                "try again, or raise api.check.workers and api.check.deadline_ms",
                1,
            ),
            Self::Unanswered(Unanswered::Failed) => {
                return Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the worker failed",
                    "see the engine's log",
                )
                .into_response();
            }
        };
        let problem = Problem::new(status, error, remedy);
        ([(header::RETRY_AFTER, wait_s)], problem).into_response()
    }
}

async fn one(
    State(checks): State<Arc<Checks>>,
    Extension(client): Extension<Client>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = body.map_err(Problem::from)?;
    let answers = checks.judge(&client, vec![body]).await?;
    match answers.malformed {
        Some(error) => Err(malformed(error).into()),
        None => Ok(json(answers.text)),
    }
}

fn json(text: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Several requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    requests: Vec<&'a RawValue>,
}

/// The same, for documents: there, each is looked at.
#[derive(JsonSchema)]
#[schemars(rename = "Batch", deny_unknown_fields)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct BatchOf<T> {
    /// At most 1000.
    requests: Vec<T>,
}

/// Their judgements, in their order, for documents: the workers write them.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct Results<'a> {
    results: Vec<Outcome<'a>>,
}

async fn batch(
    State(checks): State<Arc<Checks>>,
    Extension(client): Extension<Client>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = body.map_err(Problem::from)?;
    // Once for all requests in it.
    let text = str::from_utf8(&body).map_err(|error| malformed(error.to_string()))?;
    let batch: Batch<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if batch.requests.len() > MAX_BATCH {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("{} requests are more than {MAX_BATCH}", batch.requests.len()),
            "send less at once",
        )
        .into());
    }
    let requests = batch.requests.iter();
    let requests = requests.map(|request| body.slice_ref(request.get().as_bytes()));
    let answers = checks.judge(&client, requests.collect()).await?;
    Ok(json([br#"{"results":["#, &*answers.text, b"]}"].concat()))
}

fn malformed(error: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        error,
        "send {\"method\", \"path\", \"query_params\", \"headers\", \"body\"} or {\"raw_base64\"}, as docs/api.md has it",
    )
}
