//! Profiles: sets of keys by the name of a place that the engine runs in.

use toml::{Table, Value};

/// Built-in profiles: their names, and the keys that they set below those of the file.
pub(super) const BUILT_IN: [(&str, &str); 3] = [
    ("dev", "scoring.mode = \"detect\"\nengine.log = \"debug\""),
    ("staging", "scoring.mode = \"detect\""),
    ("production", ""),
];

/// The profile that holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    pub(super) name: String,
    /// Below the file.
    built_in: Table,
    /// Above it: what the file says under `[profiles.NAME]`.
    own: Table,
}

impl Profile {
    /// The profile of that name, or all names that there are.
    pub(super) fn find(name: &str, profiles: &Table) -> Result<Self, String> {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let own = profiles.get(name).and_then(Value::as_table);
        if built_in.is_none() && own.is_none() {
            let built_in = BUILT_IN.iter().map(|(known, _)| *known);
            let all: Vec<_> = built_in
                .chain(
                    profiles
                        .keys()
                        .map(String::as_str)
                        .filter(|own| !BUILT_IN.iter().any(|(known, _)| known == own)),
                )
                .collect();
            return Err(all.join(", "));
        }
        Ok(Self {
            name: name.to_owned(),
            built_in: built_in
                .map(|(_, text)| text.parse().expect("built-in profiles are TOML"))
                .unwrap_or_default(),
            own: own.cloned().unwrap_or_default(),
        })
    }

    /// The file's keys, with the profile below and above them.
    pub(super) fn around(&self, file: Table) -> Table {
        let mut table = self.built_in.clone();
        put_over(&mut table, file);
        put_over(&mut table, self.own.clone());
        table
    }

    /// Whether the value of `key` is from the file's own part of the profile, if nothing above sets it.
    pub(super) fn overrides(&self, key: &str) -> bool {
        find(&self.own, key)
    }

    /// Whether the value of `key` is from the built-in part, if nothing above sets it.
    pub(super) fn supplies(&self, key: &str) -> bool {
        find(&self.built_in, key)
    }
}

/// The names of a file's own profiles.
pub(super) fn names(text: &str) -> Vec<String> {
    let file: Table = text.parse().unwrap_or_default();
    let profiles = file.get("profiles").and_then(Value::as_table);
    profiles.into_iter().flat_map(Table::keys).cloned().collect()
}

/// Tables are joined key by key; of anything else, the upper one counts.
fn put_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => put_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Whether the table has the key, or a list or value that it is in.
fn find(table: &Table, key: &str) -> bool {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    match table.get(first) {
        None => false,
        Some(Value::Table(inner)) if !rest.is_empty() => find(inner, rest),
        Some(_) => true,
    }
}
