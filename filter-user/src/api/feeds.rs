//! `/v1/feeds`: lists of addresses that others keep.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::IntoResponse,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, error::Problem};
use crate::control::{FeedStatus, Request, Response};

/// Feeds, in the order of the configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Feeds {
    feeds: Vec<FeedStatus>,
}

/// Which to fetch; without a body, all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: Option<String>,
}

pub(super) async fn list(State(context): State<Context>) -> Result<Json<Feeds>, Problem> {
    match context.ask(Request::Feeds {}).await? {
        Response::Feeds { feeds } => Ok(Json(Feeds { feeds })),
        _ => Err(Problem::confused()),
    }
}

pub(super) async fn refresh(
    State(context): State<Context>,
    wanted: Result<Option<Json<Wanted>>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let wanted = wanted?.map(|Json(wanted)| wanted).unwrap_or_default();
    context.tell(Request::RefreshFeeds { name: wanted.name }).await
}
