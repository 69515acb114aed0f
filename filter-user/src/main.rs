//! The command-line program.

use std::process::ExitCode;

fn main() -> ExitCode {
    filter_user::cli::main(|_config| anyhow::bail!("this build has no datapath"))
}
