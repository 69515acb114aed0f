//! `cargo xtask fuzz`: libFuzzer over the targets of the crate `fuzz`, with the Rust that everything else is built with.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::build::succeed;
use crate::workspace;

/// What `cargo fuzz` passes to the compiler, without what asks for a nightly one: edge coverage in counters of a byte, and
/// the operands of comparisons. Without an address sanitizer, as the fuzzed crates have no unsafe code.
const FLAGS: [&str; 8] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];
/// Flags need a target of their own, or build scripts would have them, too.
const TRIPLE: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Look for inputs that make a target panic, hang or decide differently. What was found before is gone on from; it is below
/// target/fuzz. The first build takes some minutes.
#[derive(Args, Debug)]
pub struct Fuzz {
    /// What is fuzzed
    target: Target,
    /// Seconds to go on for; 0: until stopped
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seconds that one input may take
    #[arg(long, default_value_t = 5)]
    timeout: u32,
}

/// The targets of the crate `fuzz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Requests on a connection, cut into segments in different ways
    Stream,
    /// Rule packs
    Pack,
    /// Model files
    Model,
    /// Packets
    Packet,
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Fuzz {
    /// Runs the verb.
    ///
    /// # Errors
    /// If it cannot be built, or an input was found: the message names its file.
    pub fn run(&self) -> Result<ExitCode> {
        let name = self.target.name();
        let build = workspace::target().join("fuzz");
        let found = build.join("corpus").join(&name);
        let failures = build.join("artifacts").join(&name);
        for folder in [&found, &failures] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command = workspace::cargo_command();
        command
            .args([
                "build",
                "--release",
                "--package",
                "portcullis-fuzz",
                "--bin",
                &name,
            ])
            .args(["--target", TRIPLE, "--target-dir"])
            .arg(&build)
            .env("RUSTFLAGS", FLAGS.join(" "));
        succeed(&mut command)?;
        let mut fuzzer = std::process::Command::new(build.join(TRIPLE).join("release").join(&name));
        fuzzer
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-timeout={}", self.timeout))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg("-print_final_stats=1")
            .arg(&found)
            .arg(workspace::root().join("fuzz/corpus").join(&name));
        succeed(&mut fuzzer).with_context(|| {
            format!(
                "an input fails; it is in {0}. Run it again with `cargo run -p portcullis-fuzz --bin {name} -- {0}/FILE`, and \
                 keep it as a seed in fuzz/corpus/{name}",
                failures.display()
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
