//! `/v1/exclusions`: hits that do not count, made while the engine runs.

use axum::{
    Json,
    extract::{
        Path, State,
        rejection::{JsonRejection, PathRejection},
    },
    http::StatusCode,
    response::IntoResponse,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Done, error::Problem};
use crate::control::{Engine, ExclusionEntry, NewExclusion};

/// Those in force.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Exclusions {
    exclusions: Vec<ExclusionEntry>,
}

pub(super) async fn list(State(context): State<Context>) -> Result<Json<Exclusions>, Problem> {
    let exclusions = context.call(Engine::exclusions).await?;
    Ok(Json(Exclusions { exclusions }))
}

pub(super) async fn add(
    State(context): State<Context>,
    wanted: Result<Json<NewExclusion>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(wanted) = wanted?;
    let entry = context.call(move |engine| engine.exclude(wanted)).await??;
    Ok((StatusCode::CREATED, Json(entry)))
}

pub(super) async fn remove(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Done>, Problem> {
    let Path(text) = path?;
    let id: u64 = text.parse().map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "this is no exclusion's number",
            "take an `id` of GET /v1/exclusions",
        )
    })?;
    context.call(move |engine| engine.end_exclusion(id)).await??;
    Ok(Json(Done {
        message: format!("exclusion {id} has ended"),
    }))
}
