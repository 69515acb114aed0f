//! `/v1/openapi.json`: what the API takes and answers, for programs (`OpenAPI` 3.1). Schemas are those of the very types that are read
//! and written.

mod operation;
mod operations;

use std::sync::LazyLock;

use axum::Json;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::live::Topic;
use operation::Schemas;

/// Where it is.
pub(super) const PATH: &str = "/v1/openapi.json";

/// A message, as it is told and kept.
#[derive(JsonSchema)]
#[schemars(rename = "MessageOf{T}")]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct Message<T> {
    /// Its number; those of later ones are larger.
    seq: u64,
    /// What it is about.
    topic: Topic,
    /// When, RFC 3339.
    time: String,
    /// What its topic brings.
    #[serde(flatten)]
    body: T,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

pub(super) async fn told() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in operations::all(&mut schemas) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        let method = operation.method;
        path[method] = operation.into_value();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What programs ask a running engine. On its Unix socket nobody needs a token. See docs/api.md.",
        },
        "servers": [
            { "url": "http://localhost", "description": "The Unix socket, and api.listen." },
        ],
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of api.tokens." },
            },
        },
    })
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// The document, for tests that use it.
    pub(in crate::api) fn of_now() -> &'static Value {
        &DOCUMENT
    }

    /// With this variable set, the file is written.
    const WRITE: &str = "PORTCULLIS_WRITE_OPENAPI";

    #[test]
    fn the_file_is_the_document() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        if env::var_os(WRITE).is_some() {
            let mut text = serde_json::to_string_pretty(of_now()).expect("JSON");
            text.push('\n');
            fs::write(&file, text).expect("written");
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        let kept: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(
            kept == *of_now(),
            "docs/openapi.json is not what the engine tells\n  fix: {WRITE}=1 cargo test -p filter-user --lib openapi"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, root: &Value) {
            if let Some(reference) = value["$ref"].as_str() {
                let pointer = reference.strip_prefix('#').expect("a reference within");
                assert!(root.pointer(pointer).is_some(), "{reference}");
            }
            match value {
                Value::Array(items) => items.iter().for_each(|item| walk(item, root)),
                Value::Object(items) => items.values().for_each(|item| walk(item, root)),
                _ => {}
            }
        }
        walk(of_now(), of_now());
    }
}
