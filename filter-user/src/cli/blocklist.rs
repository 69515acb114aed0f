//! A file of addresses to block, on its way to the engine.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ipnet::IpNet;
use serde::Serialize;

use super::{connection::unexpected, exit};
use crate::{
    config,
    control::{Blocked, Client, ClientError, MAX_TARGETS, Refusal, RefusalCode, Request, Response},
};

/// Lines that are complained about; the rest is only counted.
const SHOWN: u64 = 20;
/// Bytes of a line that are read as one; what comes behind them counts as another.
const LONGEST_LINE: u64 = 4096;
/// How often progress shows on a terminal.
const PROGRESS: Duration = Duration::from_millis(200);

/// What became of a list.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// Entries that are blocked now.
    pub(super) blocked: u64,
    /// Entries that the engine refuses.
    pub(super) refused: u64,
    /// Lines that are no entry.
    pub(super) unreadable: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Why the rest was not tried.
    #[serde(skip)]
    pub(super) end: Option<Refusal>,
}

impl Outcome {
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.refused > 0 {
            ExitCode::from(exit::REFUSED)
        } else if self.unreadable > 0 {
            ExitCode::from(exit::BAD_INPUT)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Opens a list; `-` is standard input.
pub(super) fn open(name: &str) -> anyhow::Result<Box<dyn BufRead>> {
    if name == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(name).with_context(|| format!("cannot read {name}"))?;
    Ok(Box::new(BufReader::new(file)))
}

/// How the entries of a list are to be blocked.
pub(super) struct Loader<'a> {
    pub(super) client: Client,
    /// The list's name, for messages.
    pub(super) name: &'a str,
    pub(super) for_s: Option<u64>,
    pub(super) reason: &'a str,
}

impl Loader<'_> {
    /// Blocks what `list` names. Lines that are no entry are left out, and said.
    pub(super) fn load(&mut self, mut list: impl BufRead) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let mut outcome = Outcome::default();
        let mut progress = Progress::new();
        let (mut targets, mut numbers) = (Vec::new(), Vec::new());
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let is_end = (&mut list)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .with_context(|| format!("cannot read {}", self.name))?
                == 0;
            match entry(&String::from_utf8_lossy(&line)) {
                Ok(None) => {}
                Ok(Some(target)) => {
                    targets.push(target);
                    numbers.push(number);
                }
                Err(error) => {
                    outcome.unreadable += 1;
                    self.complain(outcome.unreadable, number, &error);
                }
            }
            if targets.len() == MAX_TARGETS || is_end && !targets.is_empty() {
                self.send(std::mem::take(&mut targets), &numbers, &mut outcome)?;
                numbers.clear();
                progress.show(outcome.blocked);
            }
            if is_end || outcome.end.is_some() {
                break;
            }
        }
        progress.end();
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    fn send(&mut self, targets: Vec<IpNet>, numbers: &[u64], outcome: &mut Outcome) -> anyhow::Result<()> {
        let request = Request::BlockAll {
            targets,
            for_s: self.for_s,
            reason: self.reason.to_owned(),
        };
        let Blocked { blocked, refused } = match self.client.ask(&request)? {
            Response::BlockedAll(blocked) => blocked,
            other => return Err(unexpected(&other)),
        };
        outcome.blocked += blocked;
        for refused in refused {
            outcome.refused += 1;
            let number = numbers.get(refused.at).copied().unwrap_or_default();
            if refused.refusal.code == RefusalCode::Protected {
                self.complain(outcome.refused, number, &refused.refusal);
            } else {
                outcome.end = Some(self.end(number, outcome.blocked, refused.refusal));
            }
        }
        Ok(())
    }

    /// The refusal that ends the list, with its place.
    fn end(&self, number: u64, blocked: u64, refusal: Refusal) -> Refusal {
        Refusal {
            message: format!(
                "{}:{number}: {}; {blocked} entries before it are blocked, the rest is not",
                self.name, refusal.message
            ),
            ..refusal
        }
    }

    fn complain(&self, count: u64, number: u64, error: &dyn std::fmt::Display) {
        let more = if count == SHOWN {
            " (further ones are only counted)"
        } else {
            ""
        };
        if count <= SHOWN {
            let _ = writeln!(io::stderr(), "{}:{number}: {error}{more}", self.name);
        }
    }
}

/// Fails if the list has not been gone through.
pub(super) fn ensure_complete(outcome: &mut Outcome) -> anyhow::Result<()> {
    match outcome.end.take() {
        Some(refusal) => Err(ClientError::Refused(refusal).into()),
        None => Ok(()),
    }
}

/// The entry in a line, if there is one in front of the comment.
fn entry(line: &str) -> Result<Option<IpNet>, config::CidrError> {
    let text = line.split(['#', ';']).next().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    config::parse_cidr(text).map(Some)
}

/// A line on a terminal.
struct Progress {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, blocked: u64) {
        if self.is_terminal && self.shown.is_none_or(|at| at.elapsed() >= PROGRESS) {
            self.shown = Some(Instant::now());
            let _ = write!(io::stderr(), "\r{blocked} blocked");
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_entry_or_a_comment_or_both() {
        for (line, expected) in [
            ("192.0.2.7\n", Some("192.0.2.7/32")),
            ("  192.0.2.0/24 ; why\r\n", Some("192.0.2.0/24")),
            ("2001:db8::/32# why", Some("2001:db8::/32")),
            ("# 192.0.2.7", None),
            ("\n", None),
            ("", None),
        ] {
            let found = entry(line).expect(line).map(|net| net.to_string());
            assert_eq!(found.as_deref(), expected, "{line:?}");
        }
        for line in ["192.0.2.7/24", "192.0.2.1 192.0.2.2", "\u{fffd}"] {
            assert!(entry(line).is_err(), "{line:?}");
        }
    }
}
