//! One line of recorded requests.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use filter_score::{RequestParts, percent_encode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// A recorded request: `{"id", "raw_base64"}`, or `{"id", "method", "path", "query_params", "headers", "body"}`
/// of which each may be missing or null, and others are ignored.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// Whatever the line calls it.
    pub(super) id: Option<Value>,
    /// The request on the wire.
    pub(super) bytes: Vec<u8>,
}

/// A request: `raw_base64`, or at least one of `method`, `path`, `query_params` and `body`.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct CheckedRequest {
    /// Whatever it is called; it is not looked at.
    id: Option<Value>,
    /// The request as it is on the wire.
    raw_base64: Option<String>,
    /// Its method.
    method: Option<String>,
    /// Its path, which may have a query.
    path: Option<String>,
    /// What is behind the `?`.
    query_params: Option<Pairs>,
    /// Its header fields.
    headers: Option<Pairs>,
    /// A text as it is; anything else as JSON.
    body: Option<Value>,
}

impl Record {
    /// Reads one line; an error says what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let fields: CheckedRequest = serde_json::from_slice(line).map_err(|error| {
            // The parser sees one line only; the place that counts is the file's.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            format!("not a recorded request (column {}): {message}", error.column())
        })?;
        let bytes = match &fields.raw_base64 {
            Some(raw) => BASE64
                .decode(raw)
                .map_err(|error| format!("raw_base64 is not base64: {error}"))?,
            None => fields.to_bytes()?,
        };
        Ok(Self { id: fields.id, bytes })
    }
}

impl CheckedRequest {
    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        if self.method.is_none() && self.path.is_none() && self.query_params.is_none() && self.body.is_none()
        {
            return Err(
                "there is no request in it: give raw_base64, or method, path, query_params, headers and \
                        body"
                    .to_owned(),
            );
        }
        let body = match &self.body {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(json) => json.to_string(),
        };
        let (query, headers) = (
            borrowed(self.query_params.as_ref()),
            borrowed(self.headers.as_ref()),
        );
        Ok(RequestParts {
            method: self.method.as_deref().unwrap_or_default(),
            path: &sendable(self.path.as_deref().unwrap_or_default()),
            query_params: &query,
            headers: &headers,
            body: body.as_bytes(),
        }
        .to_bytes())
    }
}

fn borrowed(pairs: Option<&Pairs>) -> Vec<(&str, &str)> {
    let pairs = pairs.map_or(&[][..], |pairs| &pairs.0);
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// The path as a client would send it: what cannot stand in a request line (RFC 9112 §3) is percent-encoded.
fn sendable(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            percent_encode(&[byte], &mut out);
        }
    }
    String::from_utf8(out).expect("what is not ASCII was encoded")
}

/// Names and values in their order: an object (a value may be a list), or a list of `[name, value]` or of
/// `{"name", "value"}`.
#[derive(Debug, Clone, Default)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and values, or a list of [name, value]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Pairs::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    match value {
                        Value::Array(values) => {
                            pairs
                                .0
                                .extend(values.iter().map(|value| (name.clone(), text(value))));
                        }
                        value => pairs.0.push((name, text(&value))),
                    }
                }
                Ok(pairs)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Pair {
                    List(String, Value),
                    Object { name: String, value: Value },
                }
                let mut pairs = Pairs::default();
                while let Some(pair) = seq.next_element::<Pair>()? {
                    let (Pair::List(name, value) | Pair::Object { name, value }) = pair;
                    pairs.0.push((name, text(&value)));
                }
                Ok(pairs)
            }
        }
        de.deserialize_any(Each)
    }
}

impl JsonSchema for Pairs {
    fn schema_name() -> Cow<'static, str> {
        "Pairs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Names and values in their order: an object (a value may be a list), or a list of pairs.",
            "anyOf": [
                { "type": "object" },
                { "type": "array", "items": { "anyOf": [
                    { "type": "array", "prefixItems": [{ "type": "string" }, {}], "minItems": 2, "maxItems": 2 },
                    { "type": "object", "properties": { "name": { "type": "string" }, "value": {} }, "required": ["name", "value"] },
                ] } },
            ],
        })
    }
}

/// A value as a form would send it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(line: &str) -> String {
        String::from_utf8(Record::parse(line.as_bytes()).expect(line).bytes).expect("text")
    }

    #[test]
    fn both_forms() {
        let raw = Record::parse(br#"{"id":"a","raw_base64":"R0VUIC8=","truncated":true}"#).expect("a record");
        assert_eq!(
            raw,
            Record {
                id: Some("a".into()),
                bytes: b"GET /".to_vec()
            }
        );
        for parts in [
            r#"{"id":7,"method":"POST","path":"/a b","query_params":{"q":"1 2","r":["x",3]},"headers":{"Host":"h"},"body":"n=v"}"#,
            r#"{"id":7,"method":"POST","path":"/a b","query_params":[["q","1 2"],["r","x"],["r",3]],"headers":[{"name":"Host","value":"h"}],"body":"n=v"}"#,
        ] {
            assert_eq!(
                wire(parts),
                "POST /a%20b?q=1%202&r=x&r=3 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nn=v"
            );
        }
        assert!(wire(r#"{"path":"/\u00e9\r\n","body":null}"#).starts_with("GET /%C3%A9%0D%0A HTTP/1.1\r\n"));
        assert!(wire(r#"{"path":"/","headers":null,"body":{"a":[1]}}"#).ends_with("\r\n\r\n{\"a\":[1]}"));
    }

    #[test]
    fn what_is_no_request_is_explained() {
        for (line, message) in [
            ("{", "column 1"),
            ("7", "not a recorded request"),
            (r#"{"id":1}"#, "give raw_base64"),
            (r#"{"id":1,"raw_base64":"?"}"#, "not base64"),
            (
                r#"{"id":1,"path":"/","headers":"x"}"#,
                "an object of names and values",
            ),
            (r#"{"id":1,"path":7}"#, "expected a string"),
        ] {
            let error = Record::parse(line.as_bytes()).expect_err(line);
            assert!(
                error.contains(message) && !error.contains("at line"),
                "{line}: {error}"
            );
        }
    }
}
