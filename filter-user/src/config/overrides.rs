//! `--set key=value`: single keys given beside the file.

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, document, mistake::Mistake};

/// One key set on the command line or in the environment, over the file's.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The option as it was written, for messages: `--iface eth0`, `--set limits.max_flows=1024`; or the variable's name.
    pub origin: String,
    /// The dotted key; array elements by number: `service.0.port`.
    pub key: String,
    /// The value.
    pub value: Value,
}

impl Override {
    /// Reads the `KEY=VALUE` of a `--set`. The value is TOML; what is not TOML is taken as a string, so
    /// that `--set engine.interface=eth0` needs no quotes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` has no `=`; write it like limits.max_flows=1024"))?;
        let key = key.trim();
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("`{key}` is not a dotted key like limits.max_flows"));
        }
        Ok(Self::written(format!("--set {text}"), key, value))
    }

    /// A key with its value as people write it.
    pub(super) fn written(origin: String, key: &str, value: &str) -> Self {
        let value = value.trim();
        let parsed = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        Self {
            origin,
            key: key.to_owned(),
            value: parsed.unwrap_or_else(|| Value::String(value.to_owned())),
        }
    }

    /// An option that stands for one key.
    #[must_use]
    pub fn option(origin: impl Into<String>, key: &str, value: impl Into<Value>) -> Self {
        Self {
            origin: origin.into(),
            key: key.to_owned(),
            value: value.into(),
        }
    }

    /// Puts the value into `table`; leaves `table` as it was if the result is not a configuration.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), Mistake> {
        let mut changed = table.clone();
        self.insert(&mut changed)
            .map_err(|message| self.mistake(message, String::new()))?;
        if let Err(error) = Config::deserialize(changed.clone()) {
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            let remedy = document::remedy(&message);
            return Err(self.mistake(message, remedy));
        }
        *table = changed;
        Ok(())
    }

    /// Whether this is where the value of `key` comes from.
    pub(super) fn sets(&self, key: &str) -> bool {
        key.strip_prefix(self.key.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    pub(super) fn mistake(&self, message: String, remedy: String) -> Mistake {
        Mistake {
            origin: self.origin.clone(),
            position: None,
            key: self.key.clone(),
            message,
            remedy,
        }
    }

    fn insert(&self, table: &mut Table) -> Result<(), String> {
        let mut segments = self.key.split('.').peekable();
        let first = segments.next().unwrap_or_default();
        if segments.peek().is_none() {
            table.insert(first.to_owned(), self.value.clone());
            return Ok(());
        }
        let mut place = table
            .entry(first.to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            place = match place {
                Value::Table(table) if last => {
                    table.insert(segment.to_owned(), self.value.clone());
                    return Ok(());
                }
                Value::Table(table) => table
                    .entry(segment.to_owned())
                    .or_insert_with(|| Value::Table(Table::new())),
                Value::Array(array) => {
                    let length = array.len();
                    let element = segment.parse().ok().and_then(|i: usize| array.get_mut(i));
                    element.ok_or_else(|| {
                        format!("there is no element `{segment}`: the list has {length}, counted from 0")
                    })?
                }
                _ => return Err(format!("`{segment}` is inside a value that has no parts")),
            };
        }
        *place = self.value.clone();
        Ok(())
    }
}
