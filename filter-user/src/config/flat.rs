//! A configuration as the list of its keys and values.

use toml::{Table, Value};

use super::Config;

/// Names an element of a list of tables: the list's key, the element's number and the element. Without a name, the list is one value.
type Name = fn(&str, usize, &Table) -> Option<String>;

impl Config {
    /// All keys with their values, in order; elements of lists of tables by number: `service.0.port`.
    #[must_use]
    pub fn flat(&self) -> Vec<(String, Value)> {
        self.flat_by(|list, at, _| Some(format!("{list}.{at}")))
    }

    pub(super) fn flat_by(&self, name: Name) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        collect(&self.table(), "", name, &mut all);
        all
    }

    /// The effective configuration as a table.
    pub(super) fn table(&self) -> Table {
        Table::try_from(self).expect("every field of the configuration has a TOML form")
    }
}

fn collect(table: &Table, prefix: &str, name: Name, all: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            Value::Table(table) => collect(table, &key, name, all),
            Value::Array(list) => match named(&key, list, name) {
                Some(elements) => {
                    for (key, element) in elements {
                        collect(element, &key, name, all);
                    }
                }
                None => all.push((key, value.clone())),
            },
            value => all.push((key, value.clone())),
        }
    }
}

/// The elements with their names, if they are tables and all have one.
fn named<'v>(key: &str, list: &'v [Value], name: Name) -> Option<Vec<(String, &'v Table)>> {
    if list.is_empty() {
        return None;
    }
    let element = |(at, element): (usize, &'v Value)| {
        let element = element.as_table()?;
        Some((name(key, at, element)?, element))
    };
    list.iter().enumerate().map(element).collect()
}
