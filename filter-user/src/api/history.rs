//! `/v1/history`: how the engine has done lately.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, error::Problem};
use crate::trend::{Point, Resolution};

/// How far points are apart.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Apart {
    #[default]
    Second,
    Minute,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    resolution: Apart,
}

/// Points, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct History {
    interval_s: u32,
    points: Vec<Point>,
}

pub(super) async fn history(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let Query(wanted) = wanted?;
    let (resolution, interval_s) = match wanted.resolution {
        Apart::Second => (Resolution::Second, 1),
        Apart::Minute => (Resolution::Minute, 60),
    };
    let points = context
        .call(move |engine| engine.chronicle().trend.points(resolution))
        .await?;
    Ok(Json(History { interval_s, points }))
}
