//! `/v1/blocks`: blocked sources.

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

use super::{Context, error::Problem};
use crate::{
    config::parse_cidr,
    control::{BlockEntry, MAX_PAGE, Page, Request, Response},
};

/// Which entries of a listing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Those behind this one.
    after: Option<String>,
    /// At most so many.
    limit: Option<u32>,
}

impl Wanted {
    pub(super) fn page(&self) -> Result<Page, Problem> {
        Ok(Page {
            after: self.after.as_deref().map(target).transpose()?,
            limit: self.limit.unwrap_or(MAX_PAGE),
        })
    }
}

/// An address or a block of addresses, as people write them.
pub(super) fn target(text: &str) -> Result<IpNet, Problem> {
    parse_cidr(text).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            "write an address, or one with a prefix length, as 192.0.2.0/24",
        )
    })
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Blocks {
    blocks: Vec<BlockEntry>,
}

/// What to block.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBlock {
    /// An address or a block of addresses.
    #[schemars(extend("examples" = ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"]))]
    target: String,
    /// For so many seconds; without, until it is unblocked.
    for_s: Option<u64>,
    /// Why, for those who list it later.
    #[serde(default)]
    reason: String,
}

pub(super) async fn list(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Blocks>, Problem> {
    let Query(wanted) = wanted?;
    match context.ask(Request::Blocks(wanted.page()?)).await? {
        Response::Blocks { blocks } => Ok(Json(Blocks { blocks })),
        _ => Err(Problem::confused()),
    }
}

pub(super) async fn add(
    State(context): State<Context>,
    block: Result<Json<NewBlock>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(block) = block?;
    let request = Request::Block {
        target: target(&block.target)?,
        for_s: block.for_s,
        reason: block.reason,
    };
    Ok((StatusCode::CREATED, context.tell(request).await?))
}

pub(super) async fn remove(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path(text) = path?;
    let request = Request::Unblock {
        target: target(&text)?,
    };
    context.tell(request).await
}
