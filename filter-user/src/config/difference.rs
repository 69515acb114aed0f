//! What differs between the configuration in force and another, key by key, and what of it can be put in force.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{
    Baseline, Config, ConfigError, Effect, Engine, Limits, Lists, Mistake, Report, Reputation, RulesFolder,
    Scoring, Service, validate,
};

/// Longer values of lists are shown by what came and went, other ones are cut.
const SHOWN: usize = 120;
/// Elements of a list that are shown.
const ELEMENTS: usize = 5;

/// One key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key; elements of lists of tables by what tells them apart: `service[any:80].scoring.mode`, `limit[login]`.
    pub key: String,
    /// The value in force, as TOML; none if there is none.
    pub before: Option<String>,
    /// The new one.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &'_ Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            shown(&self.before),
            shown(&self.after)
        )
    }
}

/// What differs, by when it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// With a reload.
    pub at_once: Vec<Change>,
    /// When the engine starts again.
    pub needs_restart: Vec<Change>,
}

impl Config {
    /// What of `next` differs.
    #[must_use]
    pub fn difference(&self, next: &Self) -> Difference {
        let (before, after) = (self.named(), next.named());
        let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let changed = keys
            .into_iter()
            .filter_map(|key| change(key, before.get(key), after.get(key)));
        let (at_once, needs_restart) = whole(changed.collect(), &before, &after)
            .into_iter()
            .partition(|change| Effect::of(&change.key) == Effect::AtOnce);
        Difference {
            at_once,
            needs_restart,
        }
    }

    /// This configuration with what of `next` takes effect at once.
    #[must_use]
    pub fn reloaded(&self, next: &Self) -> Self {
        Self {
            profile: next.profile.clone(),
            engine: Engine {
                log: next.engine.log,
                ..self.engine.clone()
            },
            clients: next.clients.clone(),
            suspicious: next.suspicious.clone(),
            flood: next.flood.clone(),
            limits: Limits {
                body_bytes: next.limits.body_bytes,
                body_overflow: next.limits.body_overflow,
                decoded_bytes: next.limits.decoded_bytes,
                decoded_ratio: next.limits.decoded_ratio,
                decoded_overflow: next.limits.decoded_overflow,
                body_depth: next.limits.body_depth,
                body_values: next.limits.body_values,
                ..self.limits.clone()
            },
            rules: RulesFolder {
                folder: next.rules.folder.clone(),
                ..self.rules.clone()
            },
            scoring: Scoring {
                cache: self.scoring.cache,
                baseline: Baseline {
                    entries: self.scoring.baseline.entries,
                    ..next.scoring.baseline
                },
                ..next.scoring.clone()
            },
            deep: self.deep.clone(),
            response: self.response.clone(),
            reputation: Reputation {
                ipv6_prefix: self.reputation.ipv6_prefix,
                ..next.reputation.clone()
            },
            lists: Lists {
                never_block: self.lists.never_block.clone(),
                ..next.lists.clone()
            },
            report: Report {
                directory: next.report.directory.clone(),
                ..self.report.clone()
            },
            api: self.api.clone(),
            service: self.reloaded_services(next),
            limit: next.limit.clone(),
            geo: next.geo.clone(),
            feed: next.feed.clone(),
        }
    }

    /// Whether `[lists]` fit what they are bounded by. A reload may bring longer ones with bounds that wait for a start.
    pub(crate) fn ensure_lists_fit(&self) -> Result<(), ConfigError> {
        let mistakes: Vec<_> = validate::list_findings(self)
            .into_iter()
            .map(|finding| Mistake {
                origin: "with what is in force until the next start".to_owned(),
                position: None,
                key: finding.key,
                message: finding.message,
                remedy: format!("{}, and start the engine again", finding.remedy),
            })
            .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ConfigError { mistakes })
    }

    /// Its services, each as it is now in what takes effect at once.
    fn reloaded_services(&self, next: &Self) -> Vec<Service> {
        let mut services = self.services();
        let others = next.services();
        for service in &mut services {
            let now = others
                .iter()
                .find(|other| (other.address, other.port) == (service.address, service.port));
            service.scoring = now.and_then(|now| now.scoring.clone());
            service.proxy_protocol = now.map_or_else(Default::default, |now| now.proxy_protocol);
        }
        if self.service.is_empty() && services == [Service::http()] {
            services.clear();
        }
        services
    }

    /// All keys with their values. The list of services is never empty.
    fn named(&self) -> BTreeMap<String, Value> {
        let config = Self {
            service: self.services(),
            ..self.masked()
        };
        config.flat_by(name).into_iter().collect()
    }

    /// The same without secrets, to be shown.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut masked = self.clone();
        for feed in &mut masked.feed {
            feed.source = feed.source.masked();
        }
        masked
    }
}

/// What tells elements of a list of tables apart; none if the list counts as one value.
fn name(list: &str, _: usize, element: &Table) -> Option<String> {
    let of = |key: &str| element.get(key).map(|value| value.to_string().replace('"', ""));
    let name = match list {
        "service" => {
            let address = of("address").unwrap_or_default();
            let port = of("port").unwrap_or_default();
            if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            }
        }
        "limit" | "feed" | "api.tokens" => of("name")?,
        _ => return None,
    };
    Some(format!("{list}[{name}]"))
}

/// Elements that came or went are one change each.
fn whole(
    changes: Vec<Change>,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<Change> {
    let element = |key: &str| key.rfind("].").map(|end| key[..=end].to_owned());
    let has = |all: &BTreeMap<String, Value>, element: &str| all.keys().any(|key| key.starts_with(element));
    let mut whole: Vec<Change> = Vec::new();
    for change in changes {
        let Some(element) = element(&change.key) else {
            whole.push(change);
            continue;
        };
        let (was, is) = (has(before, &element), has(after, &element));
        if was && is {
            whole.push(change);
        } else if whole.last().is_none_or(|last| last.key != element) {
            whole.push(Change {
                before: was.then(|| describe(&element, before)),
                after: is.then(|| describe(&element, after)),
                key: element,
            });
        }
    }
    whole
}

/// What the element says.
fn describe(element: &str, all: &BTreeMap<String, Value>) -> String {
    let keys = all
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(element)?.strip_prefix('.')?, value)));
    let text: Vec<_> = keys.map(|(key, value)| format!("{key} = {value}")).collect();
    cut(format!("{{ {} }}", text.join(", ")))
}

fn change(key: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Change> {
    // A list that is left out is an empty one.
    let is_empty =
        |value: Option<&Value>| value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty));
    if before == after || (is_empty(before) && is_empty(after)) {
        return None;
    }
    let text = |value: &Value| value.to_string();
    let (mut old, mut new) = (before.map(text), after.map(text));
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    if let (Some(Value::Array(before)), Some(Value::Array(after))) = (before, after)
        && length(&old).max(length(&new)) > SHOWN
    {
        old = Some(format!("{} entries", before.len()));
        new = Some(format!(
            "{} entries ({})",
            after.len(),
            came_and_went(before, after)
        ));
    }
    Some(Change {
        key: key.to_owned(),
        before: old.map(cut),
        after: new.map(cut),
    })
}

/// The first elements that are only in one of two lists.
fn came_and_went(before: &[Value], after: &[Value]) -> String {
    let texts = |list: &[Value]| {
        list.iter()
            .map(Value::to_string)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (texts(before), texts(after));
    let came = after.difference(&before).map(|text| format!("+{text}"));
    let went = before.difference(&after).map(|text| format!("-{text}"));
    let all: Vec<_> = came.chain(went).collect();
    if all.is_empty() {
        return "in another order".to_owned();
    }
    let more = all.len().saturating_sub(ELEMENTS);
    let shown: Vec<_> = all.into_iter().take(ELEMENTS).map(cut).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// At most so much of a text that nobody reads.
fn cut(text: String) -> String {
    const MOST: usize = SHOWN * (ELEMENTS + 1);
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
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
            "lists.allow"
            | "lists.block"
            | "lists.watch"
            | "lists.never_block"
            | "clients.trusted_proxies" => {
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
            let next: Config =
                serde_json::from_value(changed).unwrap_or_else(|error| panic!("{key}: {error}"));
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
}
