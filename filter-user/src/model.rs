//! The learned model from where the configuration says it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_score::{Model, ModelError};

use crate::config::ModelSource;

/// The largest model file read, in bytes: several times the size of a model.
const MAX_MODEL_BYTES: u64 = 1 << 20;

/// Reads the model of `source`; `None` if it is to be off.
pub fn load(source: &ModelSource) -> Result<Option<Arc<Model>>, LoadError> {
    let model = match source {
        ModelSource::Off => return Ok(None),
        ModelSource::Builtin => Model::builtin().map_err(LoadError::Builtin)?,
        ModelSource::File(path) => load_path(path)?,
    };
    Ok(Some(Arc::new(model)))
}

fn load_path(path: &Path) -> Result<Model, LoadError> {
    let failed = |error| LoadError::Io {
        path: path.to_owned(),
        error,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() && metadata.len() > MAX_MODEL_BYTES {
        let message = format!("it is larger than {MAX_MODEL_BYTES} bytes");
        return Err(failed(io::Error::other(message)));
    }
    let bytes = fs::read(path).map_err(failed)?;
    Model::from_bytes(&bytes).map_err(|error| LoadError::Contents {
        path: path.to_owned(),
        error,
    })
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: cannot read the model: {error}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not a usable model.
    #[error("{path}: {error}", path = path.display())]
    Contents {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ModelError,
    },
    /// The program was built with another version's model.
    #[error("the built-in model: {0}")]
    Builtin(ModelError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_a_bad_one_is_explained() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("model.bin");
        let source = ModelSource::File(path.clone());
        assert!(load(&ModelSource::Off).expect("nothing is read").is_none());
        let missing = load(&source).expect_err("there is no file").to_string();
        assert!(missing.contains("model.bin: cannot read the model"), "{missing}");

        let builtin = load(&ModelSource::Builtin)
            .expect("it is sound")
            .expect("it is there");
        fs::write(&path, builtin.to_bytes()).expect("written");
        let read = load(&source)
            .expect("it is the built-in one")
            .expect("it is there");
        assert_eq!(read.version().to_string(), builtin.version().to_string());

        fs::write(&path, "x").expect("written");
        let bad = load(&source).expect_err("not a model").to_string();
        assert!(bad.contains("model.bin: not a model"), "{bad}");
    }
}
