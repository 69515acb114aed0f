//! What is installed with the engine.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use xtask::workspace::{find_program, root};

/// Of systemd-analyze(1) security: 0 is nothing exposed, 10 is everything.
const EXPOSURE: u32 = 34;

#[test]
fn the_unit_is_right_and_exposes_little() -> Result<()> {
    if find_program("systemd-analyze").is_none() {
        eprintln!("SKIPPED: systemd-analyze is not installed");
        return Ok(());
    }
    let unit = fs::read_to_string(root().join("packaging/systemd/portcullis.service"))?;
    ensure!(unit.contains("ExecStart=/usr/bin/portcullis run"));
    // It looks whether the programs are there.
    let directory = std::env::temp_dir().join(format!("portcullis-unit-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let file = directory.join("portcullis.service");
    fs::write(&file, unit.replace("/usr/bin/portcullis", "/bin/true"))?;
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&file)
            .output();
        output.context("starting systemd-analyze")
    };
    let verified = analyze(&["verify", "--man=no"])?;
    let threshold = format!("--threshold={EXPOSURE}");
    let exposed = analyze(&["security", "--offline=true", "--no-pager", &threshold])?;
    fs::remove_dir_all(&directory)?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(verified.status.success() && said.is_empty(), "{said}");
    let said = String::from_utf8_lossy(&exposed.stdout).into_owned();
    ensure!(exposed.status.success(), "{said}");
    let score = format!("{}.{}", EXPOSURE / 10, EXPOSURE % 10);
    let documented = fs::read_to_string(root().join("docs/operations.md"))?;
    ensure!(
        documented.contains(&format!("exposure of {score}")),
        "docs/operations.md: {score}"
    );
    Ok(())
}
