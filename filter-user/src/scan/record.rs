//! One line of recorded requests.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use filter_score::{RequestParts, percent_encode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

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
pub(crate) struct CheckedRequest<'a> {
    /// Whatever it is called; it is not looked at.
    id: Option<Value>,
    /// The request as it is on the wire.
    #[serde(borrow)]
    #[schemars(with = "Option<String>")]
    raw_base64: Option<Text<'a>>,
    /// Its method.
    #[schemars(with = "Option<String>")]
    method: Option<Text<'a>>,
    /// Its path, which may have a query.
    #[schemars(with = "Option<String>")]
    path: Option<Text<'a>>,
    /// What is behind the `?`.
    query_params: Option<Pairs<'a>>,
    /// Its header fields.
    headers: Option<Pairs<'a>>,
    /// A text as it is; anything else as JSON.
    #[schemars(with = "Option<Value>")]
    body: Option<&'a RawValue>,
}

impl Record {
    /// Reads one line; an error says what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let fields = CheckedRequest::parse(line)?;
        let mut bytes = Vec::new();
        fields.write(&mut bytes)?;
        Ok(Self { id: fields.id, bytes })
    }
}

impl<'a> CheckedRequest<'a> {
    /// Reads one line; an error says what is wrong with it.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, String> {
        // Once for all strings in it.
        let line = str::from_utf8(line).map_err(|error| {
            format!(
                "not a recorded request (column {}): it is not UTF-8",
                error.valid_up_to() + 1
            )
        })?;
        serde_json::from_str(line).map_err(|error| {
            // The parser sees one line only; the place that counts is the file's.
            format!(
                "not a recorded request (column {}): {}",
                error.column(),
                without_place(&error)
            )
        })
    }

    /// Appends the request as it is on the wire.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(raw) = &self.raw_base64 {
            return BASE64
                .decode_vec(raw.0.as_bytes(), out)
                .map_err(|error| format!("raw_base64 is not base64: {error}"));
        }
        if self.method.is_none() && self.path.is_none() && self.query_params.is_none() && self.body.is_none()
        {
            return Err(
                "there is no request in it: give raw_base64, or method, path, query_params, headers and \
                        body"
                    .to_owned(),
            );
        }
        let body = self.body.map(text).transpose();
        let body =
            body.map_err(|error| format!("not a recorded request: body: {}", without_place(&error)))?;
        let path = self.path.as_ref().map_or("", |path| &path.0);
        RequestParts {
            method: self.method.as_ref().map_or("", |method| &method.0),
            path: &sendable(path),
            query_params: &borrowed(self.query_params.as_ref()),
            headers: &borrowed(self.headers.as_ref()),
            body: body.as_deref().unwrap_or_default().as_bytes(),
        }
        .write(out);
        Ok(())
    }
}

/// What is wrong, without a place, which is that in a part.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

fn borrowed<'p>(pairs: Option<&'p Pairs<'_>>) -> Vec<(&'p str, &'p str)> {
    let pairs = pairs.map_or(&[][..], |pairs| &pairs.0);
    pairs.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// The path as a client would send it: what cannot stand in a request line (RFC 9112 §3) is percent-encoded.
fn sendable(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return path.into();
    }
    let mut out = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            percent_encode(&[byte], &mut out);
        }
    }
    String::from_utf8(out)
        .expect("what is not ASCII was encoded")
        .into()
}

/// A string, borrowed if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Names and values in their order: an object (a value may be a list), or a list of `[name, value]` or of
/// `{"name", "value"}`.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and values, or a list of [name, value]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::default();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &RawValue>()? {
                    pairs.add(name, value).map_err(A::Error::custom)?;
                }
                Ok(pairs)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::default();
                while let Some(pair) = seq.next_element::<&RawValue>()? {
                    pairs.add_pair(pair).map_err(A::Error::custom)?;
                }
                Ok(pairs)
            }
        }
        de.deserialize_any(Each)
    }
}

impl<'a> Pairs<'a> {
    /// Adds the values that an object has under a name.
    fn add(&mut self, name: Cow<'a, str>, value: &'a RawValue) -> Result<(), serde_json::Error> {
        if value.get().starts_with('[') {
            for value in serde_json::from_str::<Vec<&RawValue>>(value.get())? {
                self.0.push((name.clone(), text(value)?));
            }
        } else {
            self.0.push((name, text(value)?));
        }
        Ok(())
    }

    /// Adds an element of a list.
    fn add_pair(&mut self, pair: &'a RawValue) -> Result<(), serde_json::Error> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Text<'a>,
            value: &'a RawValue,
        }
        let (Text(name), value) = if pair.get().starts_with('[') {
            serde_json::from_str(pair.get())?
        } else {
            let Named { name, value } = serde_json::from_str(pair.get())?;
            (name, value)
        };
        self.0.push((name, text(value)?));
        Ok(())
    }
}

impl JsonSchema for Pairs<'_> {
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

/// A value as a form would send it: a text as it is, nothing for null, anything else as JSON.
fn text(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    match value.get() {
        "null" => Ok(Cow::Borrowed("")),
        // As it stands between its quotes, if nothing in it is escaped.
        string if string.starts_with('"') && !string.contains('\\') => {
            Ok(Cow::Borrowed(&string[1..string.len() - 1]))
        }
        string if string.starts_with('"') => serde_json::from_str(string).map(|Text(text)| text),
        other => Ok(serde_json::from_str::<Value>(other)?.to_string().into()),
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
        assert!(
            wire(r#"{"path":"/","headers":{"A":"\"q\" \u00e9 é","B":1.50,"C":true,"D":{"z":1,"a":2},"E":[null,[1]]}}"#)
                .contains("\r\nA: \"q\" é é\r\nB: 1.5\r\nC: true\r\nD: {\"a\":2,\"z\":1}\r\nE: \r\nE: [1]\r\n")
        );
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
            ("{\"path\":\"/\",\"headers\":{\"A\":\"\n\"}}", "control character"),
            (
                r#"{"path":"/","headers":{"A":"\ud800"}}"#,
                "unexpected end of hex escape",
            ),
            (r#"{"path":"/","body":"\ud800"}"#, "hex escape"),
            (
                r#"{"path":"/","headers":[["A","b","c"]]}"#,
                "not a recorded request",
            ),
        ] {
            let error = Record::parse(line.as_bytes()).expect_err(line);
            assert!(
                error.contains(message) && !error.contains("at line"),
                "{line}: {error}"
            );
        }
    }
}
