//! Who may ask what: whoever can open the Unix socket everything, over TCP the bearer of a token what its role allows.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use super::{error::Problem, token::Token};
use crate::config::Role;

/// Who may ask.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Whoever has come so far.
    Everyone,
    /// Bearers of one of these.
    Bearers(Arc<Vec<Token>>),
}

impl Access {
    /// The same paths, for those who may.
    pub(super) fn guard(self, router: Router) -> Router {
        match self {
            Self::Everyone => router,
            Self::Bearers(tokens) => router.layer(middleware::from_fn_with_state(tokens, check)),
        }
    }
}

async fn check(State(tokens): State<Arc<Vec<Token>>>, request: Request, next: Next) -> Response {
    let Some(token) = shown(request.headers()).and_then(|shown| tokens.iter().find(|token| token.is(shown)))
    else {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "there is no token, or one that is not known",
            "send `Authorization: Bearer TOKEN` with a token of api.tokens",
        );
        return ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response();
    };
    if token.role < needed(request.method()) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            format!("the token {} may only read", token.name),
            "use one whose role is `operator`",
        )
        .into_response();
    }
    if token.role == Role::Operator && needed(request.method()) == Role::Operator {
        tracing::info!(
            "API: {} {} by the token {}",
            request.method(),
            request.uri().path(),
            token.name
        );
    }
    next.run(request).await
}

/// What reading or changing takes.
fn needed(method: &Method) -> Role {
    if method.is_safe() {
        Role::Viewer
    } else {
        Role::Operator
    }
}

/// The token of a request. The scheme's case does not matter (RFC 9110 §11.1).
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
