//! `cargo xtask train`: the built-in model, from the recorded data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::build::succeed;
use crate::{recorded, workspace};

/// Where the figures stand in the model card.
const FIGURES: (&str, &str) = (
    "<!-- figures: written by `cargo xtask train` -->\n",
    "<!-- end of figures -->",
);
const BENIGN: [&str; 2] = ["benign_requests_train.jsonl.gz", "benign_values_train.jsonl.gz"];
const ATTACKS: &str = "attack_payloads_train.jsonl.gz";

/// Train the built-in model: rewrites rules/model.bin and the figures in rules/model-card.md. The same rules and data
/// give the same bytes. Run it again after rules were changed; it takes about half a minute.
#[derive(Args, Debug)]
pub struct Train {
    /// The folder of recorded data; see rules/model-card.md for the files in it [default: that of `PORTCULLIS_DATA`, else
    /// ../shared/data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Train {
    /// Runs the verb.
    ///
    /// # Errors
    /// If there is no data, or it cannot be read or written.
    pub fn run(&self) -> Result<ExitCode> {
        let files = [BENIGN[0], BENIGN[1], ATTACKS];
        let data = recorded::with(recorded::folder(self.data.as_deref()), &files)?;
        let rules = workspace::root().join("rules");
        let report = workspace::target().join("model-report.md");
        let mut command = workspace::cargo_command();
        command.args([
            "run",
            "--release",
            "--quiet",
            "--package",
            "filter-user",
            "--bin",
            "portcullis",
            "--",
        ]);
        // The built-in rules, whatever this machine's configuration says.
        command
            .arg("--config")
            .arg(workspace::root().join("filter-user/src/config/initial.toml"));
        command
            .arg("train")
            .arg("--benign")
            .args(BENIGN.map(|name| data.join(name)));
        command.arg("--attack").arg(data.join(ATTACKS));
        command.arg("--out").arg(rules.join("model.bin"));
        command.arg("--report").arg(&report);
        succeed(&mut command)?;
        let figures =
            fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
        rewrite(&rules.join("model-card.md"), &figures)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn rewrite(card: &Path, figures: &str) -> Result<()> {
    let text = fs::read_to_string(card).with_context(|| format!("cannot read {}", card.display()))?;
    let Some(text) = with_figures(&text, figures) else {
        bail!(
            "{} has lost the marks that its figures stand between",
            card.display()
        );
    };
    fs::write(card, text).with_context(|| format!("cannot write {}", card.display()))
}

fn with_figures(card: &str, figures: &str) -> Option<String> {
    let (before, rest) = card.split_once(FIGURES.0)?;
    let (_, after) = rest.split_once(FIGURES.1)?;
    Some(format!("{before}{}\n{figures}\n{}{after}", FIGURES.0, FIGURES.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_figures_are_replaced() {
        let card = format!("head\n{}old\n{}\ntail\n", FIGURES.0, FIGURES.1);
        let new = with_figures(&card, "new").expect("the marks are there");
        assert!(new.starts_with("head\n") && new.ends_with("\ntail\n"));
        assert!(new.contains("\nnew\n") && !new.contains("old"));
        assert_eq!(with_figures(&new, "new").as_deref(), Some(new.as_str()));
        assert_eq!(with_figures("nothing", "new"), None);
    }
}
