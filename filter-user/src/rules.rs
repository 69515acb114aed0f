//! Rule packs from where the configuration says they are.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_score::{PackError, PackSource, RuleSet, builtin_packs};

use crate::{
    config::{RulesSource, Scoring},
    control::ModelStatus,
    model,
};

/// The largest rule pack read, in bytes.
const MAX_PACK_BYTES: u64 = 16 << 20;

/// The most packs of one directory.
const MAX_PACKS: usize = 1024;

/// Compiled rules, and which they are.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The rules.
    pub set: Arc<RuleSet>,
    /// A digest of the packs' names and texts: equal rules have equal versions.
    pub version: String,
    /// The model beside them.
    pub model: ModelStatus,
}

impl Rules {
    /// Reads and compiles the packs of `source` and, with them, those in `folder`, which may have none; without a model.
    /// Every mistake in every pack is reported.
    pub fn load(source: &RulesSource, folder: Option<&Path>) -> Result<Self, RulesError> {
        Ok(Self::without_model(compile_all(source, folder)?))
    }

    /// Reads rules, those in `folder` among them, and the model. A model that cannot be used is no error: the one of
    /// `before` stays if there is one, else the rules judge alone; [`Rules::model`] says why.
    pub fn with_model(
        scoring: &Scoring,
        folder: Option<&Path>,
        before: Option<&Self>,
    ) -> Result<Self, RulesError> {
        let (set, version) = compile_all(&scoring.rules, folder)?;
        let (model, error) = match model::load(&scoring.model) {
            Ok(model) => (model, None),
            Err(error) => {
                let kept = before.and_then(|rules| rules.set.model().cloned());
                (kept, Some(error.to_string()))
            }
        };
        Ok(Self {
            model: ModelStatus {
                source: scoring.model.to_string(),
                version: model.as_ref().map(|model| model.version().to_string()),
                error,
            },
            set: Arc::new(set.with_model(model)),
            version,
        })
    }

    /// What to tell an operator whose model is not in force.
    #[must_use]
    pub fn model_warning(&self) -> Option<String> {
        let error = self.model.error.as_ref()?;
        let instead = match &self.model.version {
            Some(version) => format!("model {version} stays in force"),
            None => "RULES JUDGE ALONE, without a model".to_owned(),
        };
        Some(format!("{error}; {instead}"))
    }

    /// Reads and compiles one pack, or the `*.toml` files of a directory in the order of their names.
    pub fn load_path(path: &Path) -> Result<Self, RulesError> {
        Ok(Self::without_model(compile_path(path)?))
    }

    /// Runs every rule against its own samples: it must hit those it should, and no other.
    pub fn test(&self) -> Result<(), RulesError> {
        let errors = self.set.check_samples();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(RulesError::Packs(errors))
        }
    }

    fn without_model((set, version): (RuleSet, String)) -> Self {
        Self {
            set: Arc::new(set),
            version,
            model: ModelStatus::default(),
        }
    }
}

fn compile_all(source: &RulesSource, folder: Option<&Path>) -> Result<(RuleSet, String), RulesError> {
    let (builtin, base) = match source {
        RulesSource::Builtin => (builtin_packs(), Vec::new()),
        RulesSource::Directory(path) => (&[][..], read(path)?),
    };
    let added = match folder {
        Some(path) if path.is_dir() => packs_in(path)?,
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    let texts = base
        .iter()
        .chain(&added)
        .map(|(name, text)| PackSource { name, text });
    let packs: Vec<_> = builtin.iter().copied().chain(texts).collect();
    compile(&packs)
}

fn compile_path(path: &Path) -> Result<(RuleSet, String), RulesError> {
    let texts = read(path)?;
    let packs: Vec<_> = texts
        .iter()
        .map(|(name, text)| PackSource { name, text })
        .collect();
    compile(&packs)
}

fn compile(packs: &[PackSource<'_>]) -> Result<(RuleSet, String), RulesError> {
    let set = RuleSet::compile(packs).map_err(RulesError::Packs)?;
    Ok((set, format!("{:016x}", digest(packs))))
}

/// The 64-bit FNV-1a hash, which is the same in every build: names and texts, each with its length.
fn digest(packs: &[PackSource<'_>]) -> u64 {
    let parts = packs.iter().flat_map(|pack| [pack.name, pack.text]);
    let bytes = parts.flat_map(|part| (part.len() as u64).to_le_bytes().into_iter().chain(part.bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read(path: &Path) -> Result<Vec<(String, String)>, RulesError> {
    if !path.is_dir() {
        return Ok(vec![read_pack(path).map_err(|error| failed(path, error))?]);
    }
    let packs = packs_in(path)?;
    if packs.is_empty() {
        return Err(failed(
            path,
            io::Error::other("there is no rule pack (*.toml) in it"),
        ));
    }
    Ok(packs)
}

fn failed(path: &Path, error: io::Error) -> RulesError {
    RulesError::Io {
        path: path.to_owned(),
        error,
    }
}

/// The packs of a directory, in the order of their names.
fn packs_in(path: &Path) -> Result<Vec<(String, String)>, RulesError> {
    let entries = fs::read_dir(path).map_err(|error| failed(path, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| failed(path, error))?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    if files.len() > MAX_PACKS {
        return Err(failed(
            path,
            io::Error::other(format!("there are more than {MAX_PACKS} rule packs in it")),
        ));
    }
    files.sort();
    files
        .iter()
        .map(|file| read_pack(file).map_err(|error| failed(file, error)))
        .collect()
}

fn read_pack(path: &Path) -> io::Result<(String, String)> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() && metadata.len() > MAX_PACK_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_PACK_BYTES} bytes"
        )));
    }
    Ok((path.display().to_string(), fs::read_to_string(path)?))
}

/// Why rules cannot be used.
#[derive(Debug)]
pub enum RulesError {
    /// A file or directory cannot be read.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The packs have mistakes; never empty.
    Packs(Vec<PackError>),
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(
                f,
                "{}: cannot read the rules: {error}\n  fix: name a rule pack or a directory that has some, or use \"builtin\"",
                path.display()
            ),
            Self::Packs(errors) => {
                for (
                    i,
                    PackError {
                        file,
                        line,
                        column,
                        message,
                        remedy,
                    },
                ) in errors.iter().enumerate()
                {
                    let separator = if i > 0 { "\n" } else { "" };
                    write!(f, "{separator}{file}:{line}:{column}: {message}\n  fix: {remedy}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for RulesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelSource;

    const PACK: &str = "family = \"sqli\"\n[[rule]]\nid = 1\nmessage = \"x\"\nseverity = \"critical\"\n\
        targets = [\"inputs\"]\nregex = 'needle'\nsamples.match = [\"needle\", \"a needle\"]\n\
        samples.pass = [\"hay\", \"stack\"]\n";

    #[test]
    fn a_directory_is_its_packs_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        let load = || Rules::load(&RulesSource::Directory(dir.path().to_owned()), None);
        let empty = load().expect_err("there is nothing").to_string();
        assert!(
            empty.contains("no rule pack") && empty.contains("fix:"),
            "{empty}"
        );

        write("b.toml", &PACK.replace("id = 1", "id = 2"));
        write("a.toml", PACK);
        write("notes.txt", "not a pack");
        let rules = load().expect("two packs");
        assert_eq!(rules.set.rules().map(|rule| rule.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(load().expect("the same").version, rules.version);

        write("b.toml", &PACK.replace("id = 1", "id = 3"));
        assert_ne!(load().expect("others").version, rules.version);

        assert!(rules.test().is_ok());
        write(
            "b.toml",
            &PACK.replace("id = 1", "id = 3").replace("a needle", "a pin"),
        );
        let wrong = load()
            .expect("it compiles")
            .test()
            .expect_err("a sample is not hit")
            .to_string();
        assert!(wrong.contains("b.toml:8:") && wrong.contains("fix:"), "{wrong}");

        write("b.toml", "family = \"sqli\"\n[[rule]]\nid = 'x'\n");
        let broken = load().expect_err("a mistake").to_string();
        assert!(
            broken.contains("b.toml:3:") && broken.contains("fix:"),
            "{broken}"
        );
    }

    #[test]
    fn packs_of_a_folder_are_compiled_with_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let load = || Rules::load(&RulesSource::Builtin, Some(dir.path()));
        let builtin = load().expect("a folder may be empty");
        fs::write(dir.path().join("patch.toml"), PACK).expect("written");
        let patched = load().expect("one rule more");
        assert_eq!(patched.set.rules().len(), builtin.set.rules().len() + 1);
        assert_ne!(patched.version, builtin.version);
        let id = builtin.set.rules().next().expect("a rule").id;
        let switch_off = format!("[[override]]\nid = {id}\nenabled = false\n");
        fs::write(dir.path().join("off.toml"), switch_off).expect("written");
        assert!(!load().expect("right").set.rules().any(|rule| rule.id == id));
        fs::write(
            dir.path().join("patch.toml"),
            PACK.replace("id = 1", &format!("id = {id}")),
        )
        .expect("written");
        fs::remove_file(dir.path().join("off.toml")).expect("removed");
        let taken = load().expect_err("the id is taken").to_string();
        assert!(
            taken.contains("patch.toml:3:") && taken.contains("is taken by"),
            "{taken}"
        );
    }

    #[test]
    fn a_bad_model_leaves_the_rules_alone_or_the_model_before() {
        let load = |model, before| {
            let scoring = Scoring {
                model,
                ..Scoring::default()
            };
            Rules::with_model(&scoring, None, before).expect("the rules are sound")
        };
        let bad = || ModelSource::File("/nowhere/model.bin".into());
        let alone = load(bad(), None);
        assert!(alone.set.model().is_none());
        assert!(
            alone
                .model_warning()
                .expect("a warning")
                .contains("RULES JUDGE ALONE")
        );

        let whole = load(ModelSource::Builtin, None);
        assert_eq!(whole.model_warning(), None);
        let kept = load(bad(), Some(&whole));
        assert_eq!(kept.model.version, whole.model.version);
        assert!(kept.set.model().is_some());
        assert!(
            kept.model_warning()
                .expect("a warning")
                .contains("stays in force")
        );

        let off = load(ModelSource::Off, Some(&whole));
        assert!(off.set.model().is_none() && off.model_warning().is_none());
    }

    #[test]
    fn the_builtin_packs_compile() {
        let rules =
            Rules::load(&RulesSource::Builtin, None).expect("they are tested before they are built in");
        assert!(rules.set.rules().len() > 0);
    }
}
