//! The documents name what is there.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use xtask::workspace;

const CRATES: [&str; 7] = [
    "benches",
    "filter-common",
    "filter-ebpf",
    "filter-score",
    "filter-user",
    "fuzz",
    "xtask",
];

#[test]
fn the_architecture_has_a_sentence_for_every_module() -> Result<()> {
    let root = workspace::root();
    let text = fs::read_to_string(root.join("docs/architecture.md")).context("docs/architecture.md")?;
    let mut missing = Vec::new();
    for name in CRATES {
        let source = root.join(name).join("src");
        let heading = format!("### {name}\n");
        let section = text
            .split(&heading)
            .nth(1)
            .with_context(|| format!("no section {heading}"))?;
        let section = section.split("\n### ").next().unwrap_or_default();
        visit(&source, &mut |file| {
            let module = file.strip_prefix(&source).unwrap_or(file).display().to_string();
            let is_test =
                module.ends_with("tests.rs") || module.contains("tests/") || module.ends_with("testing.rs");
            if !is_test && !section.contains(&format!("| `{module}` | ")) {
                missing.push(format!("{name}: {module}"));
            }
        })?;
    }
    assert!(missing.is_empty(), "docs/architecture.md lacks: {missing:#?}");
    Ok(())
}

fn visit(directory: &Path, found: &mut dyn FnMut(&Path)) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found(&path);
        }
    }
    Ok(())
}
