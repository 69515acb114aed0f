//! Answers that say what went wrong.

use axum::{
    Json,
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::control::Refusal;

/// What went wrong, and what to do about it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    remedy: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            remedy: remedy.into(),
        }
    }

    /// A call of the engine that did not come back.
    pub(super) fn failed(error: &tokio::task::JoinError) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the engine failed: {error}"),
            "see its log",
        )
    }
}

impl Problem {
    /// The engine answered something else than what it was asked.
    pub(super) fn confused() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the engine answered something else",
            "report this",
        )
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        use crate::control::RefusalCode as Code;
        let status = match refusal.code {
            Code::BadRequest | Code::Version => StatusCode::BAD_REQUEST,
            Code::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::OnTrial => StatusCode::CONFLICT,
            Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Protected => StatusCode::FORBIDDEN,
            Code::Full => StatusCode::INSUFFICIENT_STORAGE,
            Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refusal.message, refusal.remedy)
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(
            rejection.status(),
            rejection.body_text(),
            "send a JSON object with `Content-Type: application/json`",
        )
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text(), "send less at once")
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(
            rejection.status(),
            rejection.body_text(),
            "percent-encode the path's UTF-8",
        )
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(
            rejection.status(),
            rejection.body_text(),
            "see docs/api.md for what may stand behind the `?`",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}
