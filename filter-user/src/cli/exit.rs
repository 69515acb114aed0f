//! Exit codes.

use std::{io, process::ExitCode};

use crate::{
    config::ConfigError,
    control::{ClientError, RefusalCode},
    rules::RulesError,
};

/// The exit codes, as `portcullis --help` ends.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  no engine is running
  4  no permission
  5  the engine refuses (never-block list, table full, no such entry, a reload on trial)
  6  the configuration or the rules are wrong
  7  some of the input could not be read (the rest was done)

Examples:
  sudo portcullis run --iface eth0
  sudo portcullis status
  sudo portcullis block 192.0.2.7 --for 10m --reason \"login abuse\"
  portcullis scan --stats requests.jsonl.gz > decisions.jsonl";

const FAILED: u8 = 1;
const NOT_RUNNING: u8 = 3;
const NO_PERMISSION: u8 = 4;
/// The engine refuses.
pub(super) const REFUSED: u8 = 5;
const INVALID: u8 = 6;
/// Some of the input could not be read.
pub(super) const BAD_INPUT: u8 = 7;

pub(super) fn code_of(error: &anyhow::Error) -> ExitCode {
    let code = if error.is::<ConfigError>() || error.is::<RulesError>() {
        INVALID
    } else {
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::NotRunning { .. }) => NOT_RUNNING,
            Some(ClientError::Permission { .. }) => NO_PERMISSION,
            Some(ClientError::Refused(refusal)) => match refusal.code {
                RefusalCode::Invalid => INVALID,
                RefusalCode::Failed => FAILED,
                _ => REFUSED,
            },
            Some(ClientError::Io { .. } | ClientError::Protocol { .. }) | None => match io_kind(error) {
                Some(io::ErrorKind::PermissionDenied) => NO_PERMISSION,
                _ => FAILED,
            },
        }
    };
    ExitCode::from(code)
}

fn io_kind(error: &anyhow::Error) -> Option<io::ErrorKind> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    io_kind(error) == Some(io::ErrorKind::BrokenPipe)
}
