//! `portcullis completions`

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  portcullis completions bash | sudo tee /etc/bash_completion.d/portcullis")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, out: &mut dyn Write) {
        clap_complete::generate(self.shell, &mut Cli::command(), "portcullis", &mut Sink(out));
    }
}

/// The generator panics on write errors; a closed pipe is found out again when `out` is flushed.
struct Sink<'a>(&'a mut dyn Write);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
