//! `/v1/requests`: the last requests that were not simply allowed, as far as they are kept in memory.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Context, error::Problem, openapi};
use crate::live::{Filter, Message, Told};

/// The most requests of one answer.
const MAX: usize = 1000;
/// Without a `limit`.
const USUAL: usize = 50;

/// Which of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Of clients in here.
    client: Option<String>,
    /// Those decided like this or worse.
    decision: Option<String>,
    /// At most so many, the latest.
    limit: Option<usize>,
}

/// Requests, the latest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Requests {
    #[schemars(with = "Vec<openapi::Message<Told>>")]
    requests: Vec<Box<RawValue>>,
}

fn shown(message: &Message) -> Option<Box<RawValue>> {
    RawValue::from_string(message.text.as_ref().to_owned()).ok()
}

/// Messages about requests, the latest first.
async fn last(context: &Context, mut filter: Filter, limit: usize) -> Result<Vec<Arc<Message>>, Problem> {
    filter.requests = true;
    let mut messages = context
        .call(move |engine| engine.chronicle().hub.last(&filter, limit))
        .await?;
    messages.reverse();
    Ok(messages)
}

pub(super) async fn list(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Requests>, Problem> {
    let Query(wanted) = wanted?;
    let filter = Filter::parse(
        Some("verdicts"),
        wanted.client.as_deref(),
        wanted.decision.as_deref(),
    )?;
    let limit = wanted.limit.unwrap_or(USUAL).min(MAX);
    let messages = last(&context, filter, limit).await?;
    let requests = messages.iter().filter_map(|message| shown(message)).collect();
    Ok(Json(Requests { requests }))
}

pub(super) async fn one(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Box<RawValue>>, Problem> {
    let Path(id) = path?;
    let is_number = !id.is_empty() && id.len() <= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_number {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "this is no request's number",
            "take the one on the 403 page: 16 hexadecimal digits",
        ));
    }
    let field = format!(r#""request_id":"{:0>16}""#, id.to_ascii_lowercase());
    let filter = Filter::parse(Some("verdicts"), None, None)?;
    let messages = last(&context, filter, usize::MAX).await?;
    let found = messages.iter().find(|message| message.text.contains(&field));
    found.and_then(|message| shown(message)).map(Json).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "this request is not among the last ones",
            "`portcullis explain` looks for it in the audit log, too",
        )
    })
}
