//! `/v1/reload`: rules and settings are read again, for good or on trial.

use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    response::IntoResponse,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Context, error::Problem};
use crate::control::{Request, Response};

/// How to reload; without a body, for good.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// Seconds, 5 to 3600, after which what was before comes back, unless this is confirmed.
    confirm_within_s: Option<u64>,
}

/// Whether to reload at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn reload(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    trial: Result<Option<Json<Trial>>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(wanted) = wanted?;
    let trial = trial?.map(|Json(trial)| trial).unwrap_or_default();
    let request = Request::Reload {
        confirm_within_s: trial.confirm_within_s,
        dry_run: wanted.dry_run,
    };
    match context.ask(request).await? {
        Response::Reloaded(reloaded) => Ok(Json(reloaded)),
        _ => Err(Problem::confused()),
    }
}

/// `/v1/config`: the configuration in force.
pub(super) async fn config(State(context): State<Context>) -> Result<impl IntoResponse, Problem> {
    match context.ask(Request::Config {}).await? {
        Response::Config { config } => Ok(Json(config)),
        _ => Err(Problem::confused()),
    }
}

pub(super) async fn confirm(State(context): State<Context>) -> Result<impl IntoResponse, Problem> {
    context.tell(Request::Confirm {}).await
}

pub(super) async fn revert(State(context): State<Context>) -> Result<impl IntoResponse, Problem> {
    context.tell(Request::Revert {}).await
}
