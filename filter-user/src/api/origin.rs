//! Which web pages may ask: those that the API itself has served. Where no token is asked for, a page of somebody else must not get in by
//! way of a browser on the operator's machine, be it straight away or under a name that it has pointed here (DNS rebinding).

use std::net::IpAddr;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use super::error::Problem;

/// Refuses what pages of others ask.
pub(super) fn guard(router: Router) -> Router {
    router.layer(middleware::from_fn(async |request: Request, next: Next| {
        if is_own(request.headers()) {
            return next.run(request).await;
        }
        refusal("a page of another origin asks")
    }))
}

/// Refuses names that could be anybody's.
pub(super) fn guard_names(router: Router) -> Router {
    router.layer(middleware::from_fn(async |request: Request, next: Next| {
        if is_here(request.headers()) {
            return next.run(request).await;
        }
        refusal("the host's name is not `localhost`, and not an address")
    }))
}

fn refusal(error: &str) -> Response {
    Problem::new(
        StatusCode::FORBIDDEN,
        error,
        "ask under http://localhost or the address, and open the dashboard there",
    )
    .into_response()
}

/// Whether there is no page, or its origin is the host that is asked (RFC 6454).
fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.filter(|origin| origin.scheme().is_some());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => origin.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Whether the host asked for is this one under a name that nobody else can give.
fn is_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(Ok(authority)) = host.to_str().map(str::parse::<Uri>) else {
        return host.is_empty();
    };
    let name = authority.host().unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        let field =
            |(name, value): &(header::HeaderName, &str)| (name.clone(), value.parse().expect("a value"));
        fields.iter().map(field).collect()
    }

    #[test]
    fn only_own_pages_may_ask() {
        for (origin, host, expected) in [
            (None, Some("localhost"), true),
            (Some("http://localhost:9180"), Some("localhost:9180"), true),
            (Some("http://LOCALHOST:9180"), Some("localhost:9180"), true),
            (Some("https://[::1]:9180"), Some("[::1]:9180"), true),
            (Some("http://localhost:8000"), Some("localhost:9180"), false),
            (Some("http://evil.example"), Some("localhost"), false),
            (Some("null"), Some("null"), false),
            (Some("null"), Some("localhost"), false),
            (Some("http://localhost"), None, false),
        ] {
            let mut fields = Vec::new();
            fields.extend(origin.map(|origin| (header::ORIGIN, origin)));
            fields.extend(host.map(|host| (header::HOST, host)));
            assert_eq!(is_own(&headers(&fields)), expected, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn names_that_others_give_are_refused() {
        for (host, expected) in [
            (None, true),
            (Some(""), true),
            (Some("localhost"), true),
            (Some("localhost:9180"), true),
            (Some("127.0.0.1:9180"), true),
            (Some("[::1]:9180"), true),
            (Some("evil.example"), false),
            (Some("localhost.evil.example:9180"), false),
            (Some("127.0.0.1.evil.example"), false),
        ] {
            let fields: Vec<_> = host.map(|host| (header::HOST, host)).into_iter().collect();
            assert_eq!(is_here(&headers(&fields)), expected, "{host:?}");
        }
    }
}
