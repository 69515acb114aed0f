//! Differences, and what a reload takes of them, for every key.

use serde_json::{Value as Json, json};

use super::*;
use crate::config::{keys, schema};

fn config(text: &str) -> Config {
    Config::parse("test", text, None, &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn shown(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let difference = config(before).difference(&config(after));
    let texts = |changes: &[Change]| changes.iter().map(ToString::to_string).collect();
    (texts(&difference.at_once), texts(&difference.needs_restart))
}

#[test]
fn a_difference_is_told_key_by_key() {
    for (before, after, at_once, restart) in [
        ("", "", &[][..], &[][..]),
        ("", "[[service]]\nport = 80", &[], &[]),
        (
            "[scoring]\nanomaly = 5",
            "[scoring]\nanomaly = 7\n[limits]\nmax_flows = 128",
            &["scoring.anomaly: 5 -> 7"],
            &["limits.max_flows: 65536 -> 128"],
        ),
        (
            "",
            "[[service]]\nport = 80\nscoring = { mode = 'detect' }\n[[service]]\nport = 81",
            &["service[any:80].scoring.mode: unset -> \"detect\""],
            &[
                "service[any:81]: unset -> { address = \"any\", inspect = \"all\", port = 81, proxy_protocol = \"off\" }",
            ],
        ),
        (
            "[[limit]]\nname = 'a'\nrequests = 1\nwindow_s = 1\n[[limit]]\nname = 'b'\nrequests = 1\nwindow_s = 1",
            "[[limit]]\nname = 'b'\nrequests = 2\nwindow_s = 1",
            &[
                "limit[a]: { action = \"429\", methods = [], name = \"a\", paths = [], requests = 1, service = \"any\", window_s = 1 } -> unset",
                "limit[b].requests: 1 -> 2",
            ],
            &[],
        ),
        (
            "[lists]\nblock = ['192.0.2.1']",
            "[lists]\nblock = ['192.0.2.2']\nnever_block = ['192.0.2.9']",
            &["lists.block: [\"192.0.2.1\"] -> [\"192.0.2.2\"]"],
            &["lists.never_block: [] -> [\"192.0.2.9\"]"],
        ),
    ] {
        let (found_at_once, found_restart) = shown(before, after);
        for (found, expected) in [(found_at_once, at_once), (found_restart, restart)] {
            assert!(
                found.len() == expected.len()
                    && found
                        .iter()
                        .zip(expected)
                        .all(|(found, expected)| found.starts_with(expected)),
                "{after}: {found:#?}"
            );
        }
    }
}

#[test]
fn long_lists_are_told_by_what_came_and_went() {
    let list = |range: std::ops::Range<u32>| {
        let all: Vec<_> = range
            .map(|i| format!("'10.0.{}.{}'", i / 250, i % 250 + 1))
            .collect();
        format!("[lists]\nblock = [{}]", all.join(","))
    };
    let (at_once, _) = shown(&list(0..4000), &list(1..4007));
    assert_eq!(
        at_once,
        [
            "lists.block: 4000 entries -> 4006 entries (+\"10.0.16.1\", +\"10.0.16.2\", +\"10.0.16.3\", +\"10.0.16.4\", +\"10.0.16.5\" and 3 more)"
        ]
    );
}

/// Another value than the one in force, from what the schema says of a key.
fn another(key: &str, schema: &Json, now: Option<&Json>) -> Json {
    let by_hand = match key {
        "engine.interface" => json!("eth7"),
        "engine.queues" => json!(3),
        "service[].address" | "limit[].service" => json!("192.0.2.7:80"),
        "clients.client_header" => json!("x-real-ip"),
        _ if key.contains("exclusions") => json!([{ "reason": "a" }]),
        "scoring.rules" | "scoring.model" => json!("other"),
        _ if key.ends_with("allow.content_types") || key.ends_with("allow.upgrades") => json!(["a*"]),
        "lists.allow" | "lists.block" | "lists.watch" | "lists.never_block" | "clients.trusted_proxies" => {
            json!(["192.0.2.7"])
        }
        "api.listen" => json!(["127.0.0.1:9"]),
        "limit[].paths" => json!(["/a"]),
        "engine.cpus" | "geo.block_asns" => json!([1]),
        _ => Json::Null,
    };
    if !by_hand.is_null() {
        return by_hand;
    }
    let words = |schema: &Json| -> Vec<Json> {
        let of = |schema: &Json| {
            let one = schema.get("const").cloned().map(|word| vec![word]);
            one.or_else(|| schema.get("enum").and_then(Json::as_array).cloned())
                .unwrap_or_default()
        };
        let any = ["oneOf", "anyOf"]
            .iter()
            .find_map(|any| schema.get(any)?.as_array());
        any.map_or_else(
            || of(schema),
            |any| {
                any.iter()
                    .flat_map(|schema| {
                        let inner = schema.get("oneOf").and_then(Json::as_array);
                        inner.map_or_else(|| of(schema), |inner| inner.iter().flat_map(of).collect())
                    })
                    .collect()
            },
        )
    };
    if let Some(word) = words(schema)
        .iter()
        .find(|word| Some(*word) != now && word.is_string())
    {
        return word.clone();
    }
    let kind = schema["type"].to_string();
    if kind.contains("boolean") {
        json!(!now.and_then(Json::as_bool).unwrap_or_default())
    } else if kind.contains("integer") {
        json!(now.and_then(Json::as_u64).unwrap_or(8) + 1)
    } else if kind.contains("number") {
        json!(0.125)
    } else if kind.contains("array") {
        json!(["A"])
    } else {
        json!("another")
    }
}

/// Sets `key` in `config`, where lists of tables have one element.
fn set(config: &mut Json, schema: &Json, key: &str) {
    let (mut place, mut form) = (config, schema);
    let mut inner = form;
    for part in key.split('.') {
        let name = part.trim_end_matches("[]");
        let table = |form: &'_ Json| form.get("properties").is_some();
        inner = match form.get("anyOf").and_then(Json::as_array) {
            Some(any) => any.iter().find(|form| table(form)).unwrap_or(form),
            None => form,
        };
        form = &inner["properties"][name];
        if place.is_null() {
            *place = json!({});
        }
        place = &mut place[name];
        if part.ends_with("[]") {
            form = &form["items"];
            place = &mut place[0];
        }
    }
    let _ = inner;
    let now = (!place.is_null()).then(|| place.clone());
    *place = another(key, form, now.as_ref());
}

/// For every key: what a reload puts in force is what the table says, and the difference names that key alone.
#[test]
fn what_a_reload_takes_is_what_the_table_says() {
    let schema = schema();
    let base = config(
        "[[service]]\nport = 80\n[[limit]]\nname = 'a'\nrequests = 1\nwindow_s = 1\n\
         [[feed]]\nname = 'f'\nsource = '/f'\n[api]\ntokens = [{ name = 'a', role = 'viewer', file = '/a' }]",
    );
    let text = serde_json::to_value(&base).expect("JSON");
    // What tells elements apart: another one is another element.
    let names = [
        "service[].address",
        "service[].port",
        "limit[].name",
        "feed[].name",
        "api.tokens[].name",
    ];
    for key in keys() {
        if names.contains(&key.as_str()) {
            continue;
        }
        let mut changed = text.clone();
        let key = key.split("exclusions[]").next().map_or(key.clone(), |before| {
            if before.len() < key.len() {
                format!("{before}exclusions")
            } else {
                key.clone()
            }
        });
        set(&mut changed, &schema, &key);
        let next: Config = serde_json::from_value(changed).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_ne!(next, base, "{key}");
        let difference = base.difference(&next);
        let told: Vec<_> = difference
            .at_once
            .iter()
            .chain(&difference.needs_restart)
            .collect();
        assert_eq!(told.len(), 1, "{key}: {told:#?}");
        let (reloaded, expected) = match Effect::of(&key) {
            Effect::AtOnce => (base.reloaded(&next), &next),
            Effect::Restart => (base.reloaded(&next), &base),
        };
        assert_eq!(&reloaded, expected, "{key}");
    }
}

#[test]
fn secrets_are_masked_and_still_change() {
    let feed = |source: &str| format!("[[feed]]\nname = 'a'\nsource = 'https://{source}'");
    let (at_once, _) = shown(
        &feed("me:one@a.example/x?key=1"),
        &feed("me:two@a.example/x?key=1"),
    );
    let masked = "\"https://***@a.example/x?***\"";
    assert_eq!(at_once, [format!("feed[a].source: {masked} -> {masked}")]);
    let (at_once, _) = shown("", &feed("me:one@a.example/"));
    assert!(
        at_once.len() == 1 && at_once[0].contains("***@") && !at_once[0].contains("one"),
        "{at_once:?}"
    );
}
