//! What a configuration is made of, from below: defaults, a built-in profile, the file, the file's part of the profile,
//! the environment, options of the command line.

use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, Mistake, Override, document::Document, profile::Profile};

/// A file's text with what lies below and above it.
pub(super) struct Layers<'t> {
    document: Document<'t>,
    profile: Option<Profile>,
    overrides: &'t [Override],
    /// All of them on each other.
    table: Table,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nothing sets it.
    Default,
    /// A built-in profile of this name.
    BuiltIn(String),
    /// This line of the file.
    File(String, usize),
    /// This option or variable.
    Override(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::BuiltIn(name) => write!(f, "profile {name}"),
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Override(origin) => f.write_str(origin),
        }
    }
}

impl<'t> Layers<'t> {
    /// Puts them on each other. Whatever is wrong with their keys, types and values' forms is found.
    pub(super) fn new(name: &'t str, text: &'t str, overrides: &'t [Override]) -> Result<Self, ConfigError> {
        let document = Document::parse(name, text).map_err(|mistakes| ConfigError { mistakes })?;
        let mut mistakes = document.type_mistakes();
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|mistake| mistake.position);
            return Err(ConfigError { mistakes });
        }
        let mut file: Table = toml::from_str(text)
            .map_err(|error| document.at_key("", error.message().to_owned(), String::new()))?;
        let profiles = file.remove("profiles").and_then(|profiles| match profiles {
            Value::Table(profiles) => Some(profiles),
            _ => None,
        });
        let mut layers = Self {
            document,
            profile: None,
            overrides,
            table: Table::new(),
        };
        let chosen = overrides.iter().rfind(|change| change.key == "profile");
        let chosen = chosen.map_or_else(|| file.get("profile"), |change| Some(&change.value));
        if let Some(name) = chosen.and_then(Value::as_str) {
            match Profile::find(name, &profiles.unwrap_or_default()) {
                Ok(profile) => layers.profile = Some(profile),
                Err(all) => {
                    let message = format!("there is no profile `{name}`");
                    return Err(layers
                        .mistake("profile", message, format!("use one of {all}"))
                        .into());
                }
            }
        }
        layers.table = match &layers.profile {
            Some(profile) => profile.around(file),
            None => file,
        };
        for change in overrides {
            if let Err(mistake) = change.apply(&mut layers.table) {
                mistakes.push(mistake);
            }
        }
        if mistakes.is_empty() {
            return Ok(layers);
        }
        Err(ConfigError { mistakes })
    }

    /// The configuration, whose values may still contradict each other.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        Config::deserialize(self.table.clone())
            .map_err(|error| self.mistake("", error.message().to_owned(), String::new()).into())
    }

    /// A mistake where the value of `key` is from.
    pub(super) fn mistake(&self, key: &str, message: String, remedy: String) -> Mistake {
        if let Some(change) = self.set_by(key) {
            return change.mistake(message, remedy);
        }
        match self.in_profile(key) {
            Some(key) => self.document.at_key(&key, message, remedy),
            None => self.document.at_key(key, message, remedy),
        }
    }

    /// Where the value of `key` is from.
    pub(super) fn source(&self, key: &str) -> Source {
        if let Some(change) = self.set_by(key) {
            return Source::Override(change.origin.clone());
        }
        let key = self.in_profile(key).unwrap_or_else(|| key.to_owned());
        if let Some(line) = self.document.line_of(&key) {
            return Source::File(self.document.name().to_owned(), line);
        }
        match &self.profile {
            Some(profile) if profile.supplies(&key) => Source::BuiltIn(profile.name.clone()),
            _ => Source::Default,
        }
    }

    fn set_by(&self, key: &str) -> Option<&Override> {
        self.overrides.iter().rfind(|change| change.sets(key))
    }

    /// The key's place below `[profiles]`, if the profile sets it.
    fn in_profile(&self, key: &str) -> Option<String> {
        let profile = self.profile.as_ref()?;
        profile
            .overrides(key)
            .then(|| format!("profiles.{}.{key}", profile.name))
    }
}
