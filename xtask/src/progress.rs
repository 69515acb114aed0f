//! Long steps: what runs, for how long, and where its output is.
//!
//! The output of a step goes to a log file. On a terminal one line shows the elapsed time and the newest
//! line of the log; elsewhere a line appears every fifteen seconds. A failed step shows the end of its log.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const REDRAW: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How much of a failed step's log is shown, in bytes.
const TAIL: u64 = 4096;

/// Runs `command` as the step `name` (also the log's file name), and says how long it took.
///
/// # Errors
/// If the command cannot be started or does not end with success; the error carries the end of the log.
pub fn run(name: &str, what: &str, command: &mut Command) -> Result<()> {
    let directory = workspace::logs();
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let path = directory.join(format!("{name}.log"));
    let log = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let terminal = std::io::stderr().is_terminal();
    let start = Instant::now();
    eprintln!("{what} …");

    let mut child = command
        .stdout(log.try_clone().context("duplicating the log's descriptor")?)
        .stderr(log)
        .stdin(Stdio::inherit())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let mut reported = start;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {name}"))? {
            break status;
        }
        thread::sleep(REDRAW);
        let elapsed = start.elapsed().as_secs();
        if terminal {
            let newest = newest_line(&path);
            eprint!(
                "\r\x1b[2K  {elapsed:>4} s  {}",
                newest.chars().take(90).collect::<String>()
            );
            // A terminal that is gone is no reason to stop the step.
            let _ = std::io::stderr().flush();
        } else if reported.elapsed() >= HEARTBEAT {
            reported = Instant::now();
            eprintln!("  {elapsed:>4} s  {}", newest_line(&path));
        }
    };
    if terminal {
        eprint!("\r\x1b[2K");
    }
    if !status.success() {
        bail!(
            "{what}: {status}; the end of {}:\n{}",
            path.display(),
            tail(&path)
        );
    }
    eprintln!("  done in {} s", start.elapsed().as_secs());
    Ok(())
}

fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
}

fn newest_line(path: &Path) -> String {
    let text = tail(path);
    let line = text.split(['\n', '\r']).rfind(|line| !line.trim().is_empty());
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn a_failed_step_shows_the_end_of_its_log() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 5000; echo the reason >&2; exit 3"]);
        let error = super::run("progress-test", "Failing on purpose", &mut command);
        let text = error.map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(
            text.contains("exit status: 3") && text.contains("progress-test.log"),
            "{text}"
        );
        assert!(text.trim_end().ends_with("the reason"), "{text}");
        assert!(text.len() < 5000, "{} bytes", text.len());
        assert!(super::run("progress-test", "Succeeding", &mut Command::new("true")).is_ok());
    }
}
