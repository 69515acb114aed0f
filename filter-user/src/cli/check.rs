//! `portcullis check`

use std::{fs, io::Write, path::PathBuf};

use clap::Args;

use super::Connection;
use crate::{rules::Rules, tuning::Tuned};

/// Check a configuration, or rule packs and their samples.
#[derive(Debug, Args)]
#[command(
    after_help = "A file with `family` or [[rule]] in it is taken for a rule pack, any other for a configuration.

Examples:
  portcullis check /etc/portcullis/portcullis.toml
  portcullis check rules/"
)]
pub(super) struct Check {
    /// The file or directory
    file: PathBuf,
}

impl Check {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let name = self.file.display();
        if self.is_rules() {
            let rules = Rules::load_path(&self.file)?;
            rules.test()?;
            writeln!(out, "{name}: ok, {} rules", rules.set.rules().len())?;
        } else {
            let origin = connection.origin_of(Some(&self.file), &[])?;
            let config = origin.check()?;
            let tuned = Tuned::load(&config, &origin, &config.services(), None)?;
            super::warn_of_model(&tuned.rules)?;
            writeln!(out, "{name}: ok")?;
        }
        Ok(())
    }

    fn is_rules(&self) -> bool {
        if self.file.is_dir() {
            return true;
        }
        // Only what can be told line by line: the file may be anything but TOML.
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let starts = |line: &str| {
            let line = line.trim_start();
            line.starts_with("[[rule]]")
                || line
                    .strip_prefix("family")
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        text.lines().any(starts)
    }
}
