//! The configuration's form as JSON Schema, for editors; and from it the list of all keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{
    Address, ClientHeader, Config, FeedSource, Interfaces, ModelSource, Queues, RulesSource,
    exclusion::Written, profile,
};

/// The schema of a configuration file.
///
/// # Panics
///
/// Never: the schema of a table is an object.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let root = settings.into_generator().into_root_schema_for::<Config>();
    let mut root = Value::from(root);
    root["title"] = json!("Portcullis configuration");
    root["properties"]["profile"]["description"] = json!(format!(
        "The profile that holds: {}, or one of `profiles`.",
        profile::BUILT_IN.map(|(name, _)| name).join(", ")
    ));
    let mut overlay = json!({ "type": "object", "additionalProperties": false });
    let mut properties = root["properties"].clone();
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("profile");
    }
    overlay["properties"] = properties;
    root["properties"]["profiles"] = json!({
        "description": "Profiles by name: keys that differ from the rest of the file where the profile holds.",
        "type": "object",
        "additionalProperties": overlay,
    });
    root
}

/// All keys that hold a value, dotted; those of tables in a list as `service[].port`. Without those of profiles.
#[must_use]
pub fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    let mut schema = schema();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("profiles");
    }
    walk(&schema, "", &mut keys);
    keys
}

fn walk(schema: &Value, prefix: &str, keys: &mut Vec<String>) {
    if let Some(properties) = properties(schema) {
        for (name, schema) in properties {
            let dot = if prefix.is_empty() { "" } else { "." };
            walk(schema, &format!("{prefix}{dot}{name}"), keys);
        }
    } else if schema.get("items").and_then(properties).is_some() {
        walk(&schema["items"], &format!("{prefix}[]"), keys);
    } else {
        keys.push(prefix.to_owned());
    }
}

/// The keys of a table, or of one that may be left out.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    let of = |schema: &'_ Value| schema.get("properties").is_some();
    let table = match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().find(|schema| of(schema))?,
        None => schema,
    };
    table.get("properties")?.as_object()
}

/// Types that are written as a text.
macro_rules! texts {
    ($($type:ty: $description:literal),+ $(,)?) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        })+
    };
}

texts! {
    Address: "\"any\", or an IP address.",
    ClientHeader: "\"x-forwarded-for\", \"forwarded\", \"none\", or the name of a header with one address.",
    FeedSource: "A file, or a URL that begins with https://.",
    ModelSource: "\"builtin\", \"off\", or a file.",
    RulesSource: "\"builtin\", or a directory.",
}

impl JsonSchema for Queues {
    fn schema_name() -> Cow<'static, str> {
        "Queues".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 256 }] })
    }
}

impl JsonSchema for Interfaces {
    fn schema_name() -> Cow<'static, str> {
        "Interfaces".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl<T> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Written".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// Names of attack families.
pub(super) fn families(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = filter_score::Family::ALL
        .iter()
        .map(|family| family.name())
        .collect();
    json_schema!({ "type": "array", "items": { "enum": names } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::INITIAL;

    fn validator() -> jsonschema::Validator {
        jsonschema::validator_for(&schema()).expect("the schema is one")
    }

    fn json(text: &str) -> Value {
        let table: toml::Table = text.parse().expect("TOML");
        serde_json::to_value(table).expect("JSON")
    }

    #[test]
    fn what_is_a_configuration_fits_and_nothing_else() {
        let validator = validator();
        let initial = json(INITIAL);
        let errors: Vec<_> = validator.iter_errors(&initial).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        for (text, fits) in [
            ("", true),
            ("profile = 'dev'\n[profiles.dev.scoring]\nanomaly = 9", true),
            ("[engine]\ninterface = ['a', 'b']\nqueues = 2", true),
            (
                "[[service]]\nport = 80\nscoring = { exclusions = [{ reason = 'a', rules = [1, '2-3'], families = ['xss'] }] }",
                true,
            ),
            ("[flood.source]\nsyns = { rate = 5, burst = 5 }", true),
            ("[engine]\ninterfaces = 'eth0'", false),
            ("[engine]\nlog = 'loud'", false),
            ("[engine]\nqueues = 'many'", false),
            ("[limits]\nmax_flows = 'many'", false),
            ("[[service]]\naddress = 'any'", false),
            ("[profiles.dev.scoring]\nanomalies = 9", false),
            ("nothing = 1", false),
        ] {
            assert_eq!(validator.is_valid(&json(text)), fits, "{text}");
        }
    }

    #[test]
    fn every_key_is_described() {
        let all = keys();
        for key in [
            "engine.interface",
            "scoring.baseline.mode",
            "flood.strays.burst",
            "service[].scoring.allow.methods",
            "limit[].window_s",
            "api.tokens[].file",
            "api.tls.key",
        ] {
            assert!(all.iter().any(|known| known == key), "{key}: {all:#?}");
        }
        assert!(
            all.iter().all(|key| !key.contains("__")),
            "PORTCULLIS_A__B means a.b"
        );
        let schema = schema();
        for table in ["engine", "scoring", "limits"] {
            let properties = &schema["properties"][table]["properties"];
            for (key, schema) in properties.as_object().expect("a table") {
                assert!(schema.get("description").is_some(), "{table}.{key}: {schema}");
            }
        }
    }
}
