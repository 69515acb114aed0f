//! One call of the API.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::api::error::Problem;

const JSON: &str = "application/json";

/// The schemas of what is read and of what is written.
pub(super) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    /// Of what is read.
    fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// Of what is written.
    fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    pub(super) fn into_definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.read.take_definitions(true);
        definitions.extend(self.written.take_definitions(true));
        definitions
    }
}

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    role: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
}

struct Answer {
    why: String,
    headers: Value,
    /// By media type.
    content: Map<String, Value>,
}

impl Operation {
    /// One that a viewer may call.
    pub(super) fn get(schemas: &mut Schemas, path: &'static str, summary: &'static str) -> Self {
        Self::new(schemas, "get", path, "viewer", summary)
    }

    /// One with a body, that an operator may call.
    pub(super) fn post(schemas: &mut Schemas, path: &'static str, summary: &'static str) -> Self {
        Self::new(schemas, "post", path, "operator", summary)
    }

    /// One that ends something.
    pub(super) fn delete(schemas: &mut Schemas, path: &'static str, summary: &'static str) -> Self {
        Self::new(schemas, "delete", path, "operator", summary)
    }

    fn new(
        schemas: &mut Schemas,
        method: &'static str,
        path: &'static str,
        role: &'static str,
        summary: &'static str,
    ) -> Self {
        let new = Self {
            method,
            path,
            summary,
            role,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
        };
        new.problem(
            schemas,
            401,
            "over TCP: there is no token, or one that is not known",
        )
        .problem(
            schemas,
            403,
            "the token's role does not suffice, or a page of another origin asks",
        )
        .problem(schemas, 500, "a mistake of the engine")
        .problem(schemas, 503, "it takes too long")
    }

    /// It changes nothing, whatever its method.
    pub(super) fn for_viewers(mut self) -> Self {
        self.role = "viewer";
        self
    }

    /// A part of the path.
    pub(super) fn part(mut self, name: &str, about: &str) -> Self {
        let schema = json!({ "type": "string" });
        self.parameters.push(
            json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema }),
        );
        self
    }

    /// Something behind the `?` that may be there.
    pub(super) fn query(mut self, name: &str, about: &str, schema: &Value) -> Self {
        self.parameters
            .push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
        self
    }

    /// Its body is JSON.
    pub(super) fn body<T: JsonSchema>(mut self, schemas: &mut Schemas, required: bool) -> Self {
        self.body =
            Some(json!({ "required": required, "content": { JSON: { "schema": schemas.read::<T>() } } }));
        self.problem(schemas, 400, "the body is no JSON, or makes no sense")
            .problem(schemas, 413, "the body is too large")
            .problem(schemas, 422, "JSON of another form, or what cannot be")
    }

    /// An answer in JSON.
    pub(super) fn json<T: JsonSchema>(self, schemas: &mut Schemas, status: u16, why: &str) -> Self {
        let schema = schemas.written::<T>();
        self.answer(status, why, JSON, &schema)
    }

    /// An answer of text.
    pub(super) fn text(self, why: &str, media: &str) -> Self {
        self.answer(200, why, media, &json!({ "type": "string" }))
    }

    /// An error.
    pub(super) fn problem(self, schemas: &mut Schemas, status: u16, why: &str) -> Self {
        self.json::<Problem>(schemas, status, why)
    }

    /// An error that says when to try again.
    pub(super) fn problem_for_now(mut self, schemas: &mut Schemas, status: u16, why: &str) -> Self {
        self = self.problem(schemas, status, why);
        if let Some(answer) = self.answers.get_mut(&status) {
            answer.headers = json!({
                "Retry-After": { "description": "In so many seconds.", "schema": { "type": "integer" } },
            });
        }
        self
    }

    fn answer(mut self, status: u16, why: &str, media: &str, schema: &Value) -> Self {
        let answer = self.answers.entry(status).or_insert_with(|| Answer {
            why: String::new(),
            headers: json!({}),
            content: Map::new(),
        });
        if !answer.why.is_empty() {
            answer.why.push_str("; or ");
        }
        answer.why.push_str(why);
        match answer
            .content
            .get_mut(media)
            .map(|content| &mut content["schema"])
        {
            None => {
                answer.content.insert(media.into(), json!({ "schema": schema }));
            }
            Some(known) if *known == *schema => {}
            Some(known) => *known = json!({ "anyOf": [known.take(), schema] }),
        }
        self
    }

    pub(super) fn into_value(self) -> Value {
        let answers: Map<_, _> = self
            .answers
            .into_iter()
            .map(|(status, answer)| {
                let answer = json!({ "description": answer.why, "headers": answer.headers, "content": answer.content });
                (status.to_string(), answer)
            })
            .collect();
        let mut value = json!({
            "summary": self.summary,
            "description": format!("Takes the role `{}`.", self.role),
            "parameters": self.parameters,
            "responses": answers,
        });
        if let Some(body) = self.body {
            value["requestBody"] = body;
        }
        value
    }
}
