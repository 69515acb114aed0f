//! libmodsecurity with the Core Rule Set, and libinjection: a small C program that judges records of a file in process and says how long
//! each took. It is compiled when it is needed, and answers round by round, so that rounds can alternate.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The program's sources and configuration.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// The running program.
pub(super) struct Judge {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Name and version of the library.
    pub(super) library: String,
}

/// What became of one record.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    pub(super) ns: u64,
    pub(super) is_blocked: bool,
}

impl Judge {
    /// Compiles and starts it with these records; `folder` is for its files.
    ///
    /// # Errors
    /// If libmodsecurity or the rules are not installed.
    pub(super) fn start(folder: &Path, requests: &[Vec<u8>], values: &[Vec<u8>]) -> Result<Self> {
        let program = folder.join("judge");
        let compiled = Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&program)
            .arg(format!("{FOLDER}/judge.c"))
            .arg("-lmodsecurity")
            .output()
            .context("starting cc")?;
        if !compiled.status.success() {
            let text = String::from_utf8_lossy(&compiled.stderr);
            bail!(
                "not installed (Debian: apt-get install libmodsecurity-dev modsecurity-crs): {}",
                text.lines().next().unwrap_or_default()
            );
        }
        let files = [("requests", requests), ("values", values)].map(|(name, records)| {
            let path = folder.join(name);
            let records: Vec<u8> = records
                .iter()
                .flat_map(|record| [&(record.len() as u32).to_le_bytes()[..], record].concat())
                .collect();
            fs::write(&path, records).map(|()| path)
        });
        let mut command = Command::new(&program);
        command.arg(format!("{FOLDER}/modsecurity.conf"));
        for file in files {
            command.arg(file.context("writing the records")?);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the program")?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        let mut judge = Self {
            child,
            input,
            output: BufReader::new(output),
            library: String::new(),
        };
        let line = judge.line()?;
        let library = line
            .strip_prefix("ready ")
            .context("the rules do not load (Debian: apt-get install modsecurity-crs)")?;
        library.clone_into(&mut judge.library);
        Ok(judge)
    }

    /// Judges all requests once.
    ///
    /// # Errors
    /// If the program has ended.
    pub(super) fn requests(&mut self) -> Result<Vec<Judged>> {
        self.round("requests\n")
    }

    /// Asks libinjection about all values once.
    ///
    /// # Errors
    /// If the program has ended.
    pub(super) fn values(&mut self) -> Result<Vec<Judged>> {
        self.round("values\n")
    }

    fn round(&mut self, of: &str) -> Result<Vec<Judged>> {
        self.input
            .write_all(of.as_bytes())
            .context("asking the program")?;
        let mut judged = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(judged);
            }
            let (ns, is_blocked) = line.split_once(' ').context("an answer of one word")?;
            judged.push(Judged {
                ns: ns.parse().context("nanoseconds")?,
                is_blocked: is_blocked == "1",
            });
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.output.read_line(&mut line).context("reading an answer")?;
        ensure!(length > 0, "the program has ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
