//! `/v1/reload`: rules and settings are read again, for good or on trial.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::IntoResponse,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Context, error::Problem};
use crate::control::Request;

/// How to reload; without a body, for good.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// Seconds, 5 to 3600, after which what was before comes back, unless this is confirmed.
    confirm_within_s: Option<u64>,
}

pub(super) async fn reload(
    State(context): State<Context>,
    trial: Result<Option<Json<Trial>>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let trial = trial?.map(|Json(trial)| trial).unwrap_or_default();
    context
        .tell(Request::Reload {
            confirm_within_s: trial.confirm_within_s,
        })
        .await
}

pub(super) async fn confirm(State(context): State<Context>) -> Result<impl IntoResponse, Problem> {
    context.tell(Request::Confirm {}).await
}

pub(super) async fn revert(State(context): State<Context>) -> Result<impl IntoResponse, Problem> {
    context.tell(Request::Revert {}).await
}
