//! `portcullis train`

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use anyhow::Context as _;
use clap::Args;
use filter_score::train::{self, Corpus, Options};

use super::{Connection, connection::print_json};
use crate::{
    corpus::{self, Label},
    rules::Rules,
};

/// Train the model that judges beside the rules, from recorded requests and attack strings.
#[derive(Debug, Args)]
#[command(after_help = "Lines of JSON, plain or gzip:
  benign  {\"raw_base64\"} or {\"method\", \"path\", …}, as `portcullis scan` reads them,
          or {\"value_base64\", \"source\"}
  attack  {\"payload_base64\", \"category\", \"source\"}, before transport encoding

The same rules and files in the same order give the same model, byte for byte. It takes about half a minute
for 50,000 records.

Examples:
  portcullis train --benign requests.jsonl.gz --benign values.jsonl.gz --attack payloads.jsonl.gz --out model.bin
  portcullis run --iface eth0 --set scoring.model=model.bin")]
pub(super) struct Train {
    /// Files of benign requests or values
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    benign: Vec<String>,

    /// Files of attack strings
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    attack: Vec<String>,

    /// Where the model goes
    #[arg(long, default_value = "model.bin", value_name = "FILE")]
    out: PathBuf,

    /// Where the report goes, as Markdown [default: standard output]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    /// Of everything drawn at random
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,

    /// Share of the benign requests that the model alone may block
    #[arg(long, default_value_t = Options::default().requests, value_name = "SHARE")]
    false_requests: f64,

    /// Share of the benign values that the model alone may block
    #[arg(long, default_value_t = Options::default().values, value_name = "SHARE")]
    false_values: f64,
}

impl Train {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let rules = Rules::load(&connection.load()?.scoring.rules, None)?;
        let start = Instant::now();
        let say = |text: &str| {
            let _ = writeln!(io::stderr(), "{:6.1} s  {text}", start.elapsed().as_secs_f64());
        };
        let mut data = Corpus::default();
        for (files, label) in [(&self.benign, Label::Benign), (&self.attack, Label::Attack)] {
            for file in files {
                say(&format!("reading {file}"));
                corpus::read(&mut data, file, label).with_context(|| format!("cannot read {file}"))?;
            }
        }
        let options = Options {
            seed: self.seed,
            requests: self.false_requests,
            values: self.false_values,
        };
        let (model, report) = train::train(&rules.set, &data, options, say)?;
        fs::write(&self.out, model.to_bytes())
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        say(&format!("model {} is in {}", model.version(), self.out.display()));
        if let Some(path) = &self.report {
            fs::write(path, report.to_string())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            print_json(out, &report)?;
        } else if self.report.is_none() {
            write!(out, "{report}")?;
        }
        Ok(())
    }
}
