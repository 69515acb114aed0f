//! The dashboard: a page that asks the API. Its files hold no secret, so they are given to everybody who may open a connection.

use std::sync::LazyLock;

use axum::{
    Router,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

use super::router::wrong_method;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Scripts, styles and connections of this origin alone; what clients send is text, and were it markup, it would not run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where a file is, what it is, and its text.
type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($path:literal $kind:expr, $file:literal;)*) => {
        &[$(($path, $kind, include_str!(concat!("../../dashboard/", $file)))),*]
    };
}

const FILES: &[File] = files! {
    "/" HTML, "index.html";
    "/style.css" "text/css; charset=utf-8", "style.css";
    "/icon.svg" "image/svg+xml", "icon.svg";
    "/actions.js" SCRIPT, "actions.js";
    "/app.js" SCRIPT, "app.js";
    "/chart.js" SCRIPT, "chart.js";
    "/dom.js" SCRIPT, "dom.js";
    "/format.js" SCRIPT, "format.js";
    "/panels/alerts.js" SCRIPT, "panels/alerts.js";
    "/panels/blocks.js" SCRIPT, "panels/blocks.js";
    "/panels/details.js" SCRIPT, "panels/details.js";
    "/panels/engine.js" SCRIPT, "panels/engine.js";
    "/panels/exclusions.js" SCRIPT, "panels/exclusions.js";
    "/panels/jobs.js" SCRIPT, "panels/jobs.js";
    "/panels/latency.js" SCRIPT, "panels/latency.js";
    "/panels/requests.js" SCRIPT, "panels/requests.js";
    "/panels/sources.js" SCRIPT, "panels/sources.js";
    "/panels/traffic.js" SCRIPT, "panels/traffic.js";
    "/panels/way.js" SCRIPT, "panels/way.js";
    "/series.js" SCRIPT, "series.js";
    "/session.js" SCRIPT, "session.js";
    "/stream.js" SCRIPT, "stream.js";
    "/theme.js" SCRIPT, "theme.js";
    "/token.js" SCRIPT, "token.js";
};

/// All files belong together and change with the program alone.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (_, _, text) in FILES {
        hash.update(text);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (number, _) = digest.split_at(16);
    format!(
        "\"{:032x}\"",
        u128::from_be_bytes(number.try_into().unwrap_or_default())
    )
});

/// The files' paths.
pub(super) fn router() -> Router {
    let files = FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        router.route(
            path,
            get(move |headers: HeaderMap| std::future::ready(answer(&headers, kind, text))),
        )
    });
    files.method_not_allowed_fallback(wrong_method)
}

fn answer(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let common: [(HeaderName, &str); 5] = [
        (header::ETAG, TAG.as_str()),
        // Asked for again each time; then it is one short answer.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if is_known(headers) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Whether the client has this version (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap) -> bool {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == TAG.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn files_below(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files_below(&path, found);
            } else {
                found.push(path.to_str().expect("a name").to_owned());
            }
        }
    }

    #[test]
    fn every_file_is_served_and_asks_nobody_else() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let mut found = Vec::new();
        files_below(&root, &mut found);
        assert_eq!(found.len(), FILES.len(), "{found:?}");
        for (path, _, text) in FILES {
            // Markup made of text, code made of text, and places elsewhere; names of namespaces are no places.
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                " style=",
                " onclick=",
            ] {
                assert!(!text.contains(word), "{path}: {word}");
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("://") && !elsewhere.contains("src=\"//"),
                "{path}"
            );
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit('"').nth(1).expect("a module");
                let base = Path::new(path).parent().expect("a directory");
                let name = name.trim_start_matches("./");
                let wanted = match name.strip_prefix("../") {
                    Some(name) => format!("/{name}"),
                    None => base.join(name).display().to_string(),
                };
                assert!(FILES.iter().any(|(path, ..)| *path == wanted), "{path}: {wanted}");
            }
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let with = |tag: &str| {
            let fields = [(header::IF_NONE_MATCH, tag.parse().expect("a value"))];
            answer(&fields.into_iter().collect(), HTML, "x").status()
        };
        assert_eq!(with(&TAG), StatusCode::NOT_MODIFIED);
        assert_eq!(with(&format!("\"a\", W/{}", *TAG)), StatusCode::NOT_MODIFIED);
        assert_eq!(with("\"a\""), StatusCode::OK);
    }
}
