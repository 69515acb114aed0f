//! Calls, right and wrong.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::api::openapi::tests::of_now;

/// The most values within values that are made as the document has them.
const DEPTH: u32 = 4;

/// A method of a path, as it is documented.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) about: &'static Value,
}

/// What is sent.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) fields: String,
    pub(super) body: Vec<u8>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(400)].escape_ascii().to_string();
        let target = shown(self.target.as_bytes());
        let Self {
            operation,
            method,
            fields,
            body,
            ..
        } = self;
        writeln!(
            f,
            "{method} {target} (for {} {})",
            operation.method, operation.path
        )?;
        write!(f, "{fields}{} bytes: {}", body.len(), shown(body))
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let paths = of_now()["paths"].as_object().expect("paths");
    let each = |(path, methods): (&String, &'static Value)| {
        let path = path.clone();
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, about)| Operation {
            method: method.to_ascii_uppercase(),
            path: path.clone(),
            about,
        })
    };
    paths.iter().flat_map(each).collect()
}

/// Values that a schema allows.
fn right(schema: &'static Value, depth: u32) -> BoxedStrategy<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return right(of_now().pointer(pointer).expect("it is there"), depth);
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return select(choices.iter().collect::<Vec<_>>())
            .prop_flat_map(move |choice| right(choice, depth))
            .boxed();
    }
    if let Some(values) = schema["enum"].as_array() {
        return select(values.clone()).boxed();
    }
    if let Some(examples) = schema["examples"].as_array() {
        return prop_oneof![2 => select(examples.clone()), 1 => text().prop_map(Value::from)].boxed();
    }
    let kinds: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    if kinds.is_empty() || depth == 0 {
        return any_json();
    }
    select(kinds)
        .prop_flat_map(move |kind| match kind {
            "null" => Just(Value::Null).boxed(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            "integer" => prop_oneof![0..100_u64, any::<u64>()]
                .prop_map(Value::from)
                .boxed(),
            "number" => any::<f64>().prop_map(Value::from).boxed(),
            "array" => vec(right(&schema["items"], depth - 1), 0..5)
                .prop_map(Value::from)
                .boxed(),
            "object" => object(schema, depth),
            _ => text().prop_map(Value::from).boxed(),
        })
        .boxed()
}

/// Objects with the fields of a schema, of which those that need not be there may be missing.
fn object(schema: &'static Value, depth: u32) -> BoxedStrategy<Value> {
    let needed = |name: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|names| names.iter().any(|other| other == name))
    };
    let fields: Vec<_> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let name = name.clone();
            let value = right(schema, depth - 1);
            let value = if needed(&name) {
                value.prop_map(Some).boxed()
            } else {
                proptest::option::of(value).boxed()
            };
            value.prop_map(move |value| value.map(|value| (name.clone(), value)))
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

/// Texts that addresses, decisions and topics are written in, and any other.
fn text() -> BoxedStrategy<String> {
    let known = [
        "",
        "198.51.100.7",
        "198.51.100.0/24",
        "192.0.2.1",
        "2001:db8::/32",
        "::ffff:198.51.100.9",
        "0.0.0.0/0",
        "1.2.3.4/33",
        "verdicts,blocks",
        "block",
        "R0VUIC8=",
        "GET",
        "/a?b=c",
        "1' OR 1=1--",
        "../../etc/passwd",
        "\0",
        "\u{202e}",
        "18446744073709551616",
        "-1",
        "1e400",
        "NaN",
        "null",
    ];
    prop_oneof![
        3 => select(known.map(str::to_owned).to_vec()),
        2 => "\\PC{0,24}",
        1 => any::<String>(),
        1 => (0..200_usize).prop_map(|n| "é\0".repeat(n)),
    ]
    .boxed()
}

fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
    .boxed()
}

/// Bodies that no document allows.
fn wrong_body(value: &Value) -> BoxedStrategy<Vec<u8>> {
    let bytes = serde_json::to_vec(value).expect("JSON");
    let cut = bytes.clone();
    let mut more = value.clone();
    if let Some(fields) = more.as_object_mut() {
        fields.insert("surplus".into(), json!({ "a": [] }));
    }
    let mut twice = bytes.clone();
    twice.extend_from_slice(&bytes);
    let huge = json!({ "target": "x".repeat(70_000), "path": "y".repeat(70_000) }).to_string();
    prop_oneof![
        4 => any_json().prop_map(|value| value.to_string().into_bytes()),
        2 => (0..=cut.len()).prop_map(move |end| cut[..end].to_vec()),
        2 => Just(more.to_string().into_bytes()),
        1 => Just(twice),
        1 => vec(any::<u8>(), 0..64),
        1 => select(vec!["[", "{\"a\":", "[{\"requests\":"]).prop_map(|open| open.repeat(5000).into_bytes()),
        1 => Just(b"\xef\xbb\xbf{}".to_vec()),
        1 => Just(huge.into_bytes()),
        1 => Just(vec![b' '; 5 << 20]),
    ]
    .boxed()
}

/// A text in a URL, in encodings that are right, needless or wrong.
fn in_url() -> BoxedStrategy<String> {
    let encoded = |all: bool| {
        move |text: String| {
            let byte = |byte: u8| match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'.' | b'/' | b':' if !all => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            text.bytes().map(byte).collect::<String>()
        }
    };
    let odd = [
        "%",
        "%zz",
        "%0",
        "%ff%fe",
        "%00",
        "%0d%0aX:1",
        "..%2f..%2f",
        "/../..//",
        "+",
        "a%2Fb",
        "%25%32%35",
        "%c0%af",
        "%ed%a0%80",
    ];
    prop_oneof![
        4 => text().prop_map(encoded(false)),
        1 => text().prop_map(encoded(true)),
        2 => select(odd.map(str::to_owned).to_vec()),
        1 => (0..8000_usize).prop_map(|n| "a".repeat(n)),
    ]
    .boxed()
}

fn target(operation: &Operation) -> BoxedStrategy<String> {
    let path = operation.path.clone();
    let names: Vec<_> = operation.about["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| parameter["name"].as_str())
        .chain(["surplus", "limit", "%6cimit"])
        .map(str::to_owned)
        .collect();
    let query = vec((select(names), in_url()), 0..4);
    (in_url(), query)
        .prop_map(move |(part, query)| {
            let part = if part.trim_matches('/').is_empty() {
                "x"
            } else {
                &part
            };
            let path = path
                .replace("{target}", part)
                .replace("{id}", &part.replace('/', "%2F"));
            let query: Vec<_> = query
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            if query.is_empty() {
                path
            } else {
                format!("{path}?{}", query.join("&"))
            }
        })
        .boxed()
}

pub(super) fn call(operation: Operation) -> BoxedStrategy<Call> {
    let schema = &operation.about["requestBody"]["content"]["application/json"]["schema"];
    let value = if schema.is_null() {
        any_json()
    } else {
        right(schema, DEPTH)
    };
    let body = value.prop_flat_map(|value| {
        let bytes = serde_json::to_vec(&value).expect("JSON");
        prop_oneof![3 => Just(bytes), 2 => wrong_body(&value)]
    });
    let method = prop_oneof![
        8 => Just(operation.method.clone()),
        1 => select(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW", "get"].map(str::to_owned).to_vec()),
    ];
    let fields = prop_oneof![
        6 => Just("Content-Type: application/json\r\n"),
        1 => select(vec![
            "",
            "Content-Type: text/plain\r\n",
            "Content-Type: application/json; charset=utf-16\r\n",
            "Content-Type: application/vnd.api+json\r\n",
            "Content-Type: multipart/form-data\r\n",
            "Content-Type: \u{e9}\r\nAccept: text/csv;q=-1\r\n",
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            "Content-Type: application/json\r\nExpect: 100-continue\r\n",
            "Content-Type: application/json\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\n",
            "Last-Event-ID: -\r\nRange: bytes=5-1\r\nIf-None-Match: *\r\n",
        ]),
    ];
    (method, target(&operation), fields, body)
        .prop_map(move |(method, target, fields, body)| Call {
            operation: operation.clone(),
            method,
            target,
            fields: fields.to_owned(),
            body,
        })
        .boxed()
}
