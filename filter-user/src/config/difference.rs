//! What differs between the configuration in force and another, key by key.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Config, Effect};

/// Longer values of lists are shown by what came and went, other ones are cut.
const SHOWN: usize = 120;
/// Elements of a list that are shown.
const ELEMENTS: usize = 5;

/// One key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        let (shown_before, shown_after) = (self.masked().named(), next.masked().named());
        let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let changed = keys
            .into_iter()
            .filter(|key| !is_same(before.get(*key), after.get(*key)));
        let changed = changed.map(|key| change(key, shown_before.get(key), shown_after.get(key)));
        let (at_once, needs_restart) = whole(changed.collect(), &shown_before, &shown_after)
            .into_iter()
            .partition(|change| Effect::of(&change.key) == Effect::AtOnce);
        Difference {
            at_once,
            needs_restart,
        }
    }

    /// All keys with their values, by what tells elements apart. The list of services is never empty.
    fn named(&self) -> BTreeMap<String, Value> {
        let config = Self {
            service: self.services(),
            ..self.clone()
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
        // Who knows where an incident channel is may post there.
        if let Some(url) = &mut masked.alerts.webhook {
            let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            *url = format!("{host}/***");
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

/// A list that is left out is an empty one.
fn is_same(before: Option<&Value>, after: Option<&Value>) -> bool {
    let is_empty =
        |value: Option<&Value>| value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty));
    before == after || (is_empty(before) && is_empty(after))
}

fn change(key: &str, before: Option<&Value>, after: Option<&Value>) -> Change {
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
    Change {
        key: key.to_owned(),
        before: old.map(cut),
        after: new.map(cut),
    }
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
mod tests;
