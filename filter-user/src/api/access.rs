//! Who may ask what: whoever can open the Unix socket everything, over TCP the bearer of a token what its role allows.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    check,
    credentials::{Credentials, Token},
    error::Problem,
};
use crate::config::Role;

/// Who asks: the name of a token, or of the socket.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) Arc<str>);

/// Who asks and what they may, for programs that show it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Asker {
    /// The name of a token, or of the socket.
    name: String,
    /// What it may do.
    role: Role,
}

/// `/v1/access`.
pub(super) async fn told(
    Extension(Client(name)): Extension<Client>,
    Extension(role): Extension<Role>,
) -> Json<Asker> {
    Json(Asker {
        name: name.to_string(),
        role,
    })
}

/// The credentials in force, as reloads change them.
pub(super) type InForce = watch::Receiver<Arc<Credentials>>;

/// Who may ask.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Whoever has come so far.
    Everyone,
    /// Bearers of one of these tokens.
    Bearers(InForce),
}

/// What a client was let in with, for answers that go on and on: a token may be taken away meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission(Option<(InForce, Arc<Token>)>);

impl Admission {
    /// Waits until the token is not known any more, or allows something else. Without an end for those who need none.
    pub(super) async fn ended(&mut self) {
        if let Some((in_force, token)) = &mut self.0
            && in_force.wait_for(|now| !now.admit(token)).await.is_ok()
        {
            return;
        }
        // Nobody changes them, or nobody any more: the API ends.
        std::future::pending::<()>().await;
    }
}

impl Access {
    /// The same paths, for those who may.
    pub(super) fn guard(self, router: Router) -> Router {
        match self {
            Self::Everyone => router
                .layer(Extension(Client("socket".into())))
                .layer(Extension(Role::Operator))
                .layer(Extension(Admission::default())),
            Self::Bearers(in_force) => router.layer(middleware::from_fn_with_state(in_force, check)),
        }
    }
}

async fn check(State(in_force): State<InForce>, mut request: Request, next: Next) -> Response {
    let token = shown(request.headers()).and_then(|shown| in_force.borrow().token(shown).cloned());
    let Some(token) = token else {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "there is no token, or one that is not known",
            "send `Authorization: Bearer TOKEN` with a token of api.tokens",
        );
        return ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response();
    };
    let needed = needed(&request);
    if token.role < needed {
        return Problem::new(
            StatusCode::FORBIDDEN,
            format!("the token {} may only read", token.name),
            "use one whose role is `operator`",
        )
        .into_response();
    }
    if needed == Role::Operator {
        tracing::info!(
            "API: {} {} by the token {}",
            request.method(),
            request.uri().path(),
            token.name
        );
    }
    let client = Client(format!("token {}", token.name).into());
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(token.role);
    request
        .extensions_mut()
        .insert(Admission(Some((in_force, token))));
    next.run(request).await
}

/// What reading, having requests judged, or changing takes.
fn needed(request: &Request) -> Role {
    if request.method().is_safe() || request.uri().path().starts_with(check::PATH) {
        Role::Viewer
    } else {
        Role::Operator
    }
}

/// The token of a request.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    credentials(headers).or_else(|| subprotocol(headers))
}

/// The token that a browser's page can show: it has no say in a WebSocket's header but for the protocols it names.
fn subprotocol(headers: &HeaderMap) -> Option<&[u8]> {
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    protocols
        .split(|byte| *byte == b',')
        .find_map(|protocol| protocol.trim_ascii().strip_prefix(b"bearer."))
}

/// That of its credentials. The scheme's case does not matter (RFC 9110 §11.1).
fn credentials(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
