//! What stands in docs/monitoring, as Prometheus' own checker sees it.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

/// The alerts are well-formed, fire when they should, and only then.
#[test]
fn alerts_fire_when_they_should() -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = match Command::new("promtool")
            .args(arguments)
            .current_dir(&directory)
            .output()
        {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!(
                    "SKIPPED: there is no promtool (Debian's package prometheus; `cargo xtask setup` installs it)"
                );
                return Ok(());
            }
            output => output?,
        };
        ensure!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
