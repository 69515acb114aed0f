//! Recorded requests, which are not part of the repository.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace;

/// The environment's word for the folder.
const VARIABLE: &str = "PORTCULLIS_DATA";

/// The folder that is named, else that of `PORTCULLIS_DATA`, else `../shared/data` if there is one.
#[must_use]
pub fn folder(named: Option<&Path>) -> Option<PathBuf> {
    let beside = || Some(workspace::root().join("../shared/data")).filter(|folder| folder.is_dir());
    named
        .map(Path::to_owned)
        .or_else(|| env::var_os(VARIABLE).map(PathBuf::from))
        .or_else(beside)
}

/// The folder, if it has these files.
///
/// # Errors
/// If there is no folder, or a file is not in it.
pub fn with(folder: Option<PathBuf>, files: &[&str]) -> Result<PathBuf> {
    let remedy = format!(
        "name the folder that has {} with --data DIR or {VARIABLE}: JSON lines as `portcullis train --help` shows them, of \
         sources as rules/model-card.md names them",
        files.join(", ")
    );
    let Some(folder) = folder else {
        bail!("there are no recorded requests\n  fix: {remedy}");
    };
    if let Some(missing) = files.iter().find(|name| !folder.join(name).is_file()) {
        bail!("there is no {missing} in {}\n  fix: {remedy}", folder.display());
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_files_is_explained() {
        let here = workspace::root().to_owned();
        let found = with(Some(here.clone()), &["Cargo.toml", "README.md"]);
        assert_eq!(found.expect("they are there"), here);
        for (folder, expected) in [
            (None, "there are no recorded requests"),
            (Some(here), "there is no a.gz in "),
        ] {
            let error = with(folder, &["README.md", "a.gz"]).expect_err("it is not there");
            let error = error.to_string();
            assert!(
                error.contains(expected) && error.contains("has README.md, a.gz with --data DIR"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is() {
        assert_eq!(folder(Some(Path::new("/nowhere"))), Some("/nowhere".into()));
    }
}
