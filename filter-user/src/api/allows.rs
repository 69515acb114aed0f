//! `/v1/allows`: sources that always pass.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
    response::IntoResponse,
};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Context,
    blocks::{Wanted, target},
    error::Problem,
};
use crate::control::{Request, Response};

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Allows {
    #[schemars(with = "Vec<String>")]
    allows: Vec<IpNet>,
}

/// What to allow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAllow {
    /// An address or a block of addresses.
    #[schemars(extend("examples" = ["192.0.2.7", "2001:db8::/32"]))]
    target: String,
}

pub(super) async fn list(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Allows>, Problem> {
    let Query(wanted) = wanted?;
    match context.ask(Request::Allowed(wanted.page()?)).await? {
        Response::Allowed { targets } => Ok(Json(Allows { allows: targets })),
        _ => Err(Problem::confused()),
    }
}

pub(super) async fn add(
    State(context): State<Context>,
    allow: Result<Json<NewAllow>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(allow) = allow?;
    let request = Request::Allow {
        target: target(&allow.target)?,
        remove: false,
    };
    Ok((StatusCode::CREATED, context.tell(request).await?))
}

pub(super) async fn remove(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(text) = path?;
    let request = Request::Allow {
        target: target(&text)?,
        remove: true,
    };
    context.tell(request).await
}
