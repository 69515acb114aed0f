//! What a configuration was read from: the way back from its keys to lines, and to a newer state of the file.

use std::path::{Path, PathBuf};

use super::{
    Config, ConfigError, DEFAULT_PATH, Override, Source, layers::Layers, mistake::Mistake, profile, read,
};

/// A configuration's text and the options over it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// As it was given; none if the default was looked for.
    given: Option<PathBuf>,
    /// The file, if there was one.
    path: Option<PathBuf>,
    text: String,
    overrides: Vec<Override>,
}

impl Origin {
    /// Reads `path`; without one, [`DEFAULT_PATH`] if it exists.
    pub fn read(path: Option<&Path>, overrides: &[Override]) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_PATH);
        let file = path.or_else(|| default.exists().then_some(default));
        let text = match file {
            None => String::new(),
            Some(file) => read(file).map_err(|error| Mistake {
                origin: file.display().to_string(),
                position: None,
                key: String::new(),
                message: format!("cannot read the configuration: {error}"),
                remedy: format!(
                    "check the path, or write one with `portcullis config init > {}`",
                    file.display()
                ),
            })?,
        };
        Ok(Self {
            given: path.map(Path::to_owned),
            path: file.map(Path::to_owned),
            text,
            overrides: overrides.to_vec(),
        })
    }

    /// The same, as the file is now.
    pub fn reread(&self) -> Result<Self, ConfigError> {
        Self::read(self.given.as_deref(), &self.overrides)
    }

    /// The file, if there was one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The configuration in it.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let base = self.path.as_deref().and_then(Path::parent);
        Config::parse(&self.name(), &self.text, base, &self.overrides)
    }

    /// A mistake that only shows with the rules: at the line of its key, or at the option that has set it.
    pub(crate) fn mistake(&self, key: &str, message: String, remedy: String) -> Mistake {
        let name = self.name();
        match Layers::new(&name, &self.text, &self.overrides) {
            Ok(layers) => layers.mistake(key, message, remedy),
            Err(_) => Mistake {
                origin: name.clone(),
                position: None,
                key: key.to_owned(),
                message,
                remedy,
            },
        }
    }

    /// What is wrong with the configuration, also where a profile of the file holds that does not now.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let config = self.config()?;
        for name in profile::names(&self.text) {
            let mut other = self.clone();
            other.overrides.retain(|change| change.key != "profile");
            other
                .overrides
                .push(Override::option(format!("--profile {name}"), "profile", name));
            other.config()?;
        }
        Ok(config)
    }

    /// Where the value of each of these keys is from, in their order.
    pub fn sources<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Result<Vec<Source>, ConfigError> {
        let name = self.name();
        let layers = Layers::new(&name, &self.text, &self.overrides)?;
        Ok(keys.map(|key| layers.source(key)).collect())
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn name(&self) -> String {
        let name = self.path.as_ref().map(|path| path.display().to_string());
        name.unwrap_or_else(|| "(defaults)".to_owned())
    }
}
