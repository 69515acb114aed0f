//! `cargo xtask package`: the Debian package.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::build::{Build, succeed};
use crate::{lab::namespace::output_of, privilege, workspace};

/// Build the Debian package, below target/debian.
#[derive(Args, Debug)]
pub struct Package {
    /// Package the engine without optimisation
    #[arg(long)]
    pub debug: bool,
    /// Then install it in a fresh Debian, run an engine there, and look at what is left after removing it
    #[arg(long)]
    pub test: bool,
    /// Then boot a fresh Debian with it in a container, whose systemd starts, reloads, kills and stops the unit
    #[arg(long)]
    pub test_systemd: bool,
}

/// Files of the workspace, where they are installed, and their modes.
const FILES: [(&str, &str, u32); 14] = [
    (
        "packaging/systemd/portcullis.service",
        "usr/lib/systemd/system/portcullis.service",
        0o644,
    ),
    (
        "packaging/debian/copyright",
        "usr/share/doc/portcullis/copyright",
        0o644,
    ),
    ("LICENSE-MIT", "usr/share/doc/portcullis/LICENSE-MIT", 0o644),
    ("LICENSE-APACHE", "usr/share/doc/portcullis/LICENSE-APACHE", 0o644),
    (
        "docs/operations.md",
        "usr/share/doc/portcullis/operations.md",
        0o644,
    ),
    ("docs/rules.md", "usr/share/doc/portcullis/rules.md", 0o644),
    ("docs/api.md", "usr/share/doc/portcullis/api.md", 0o644),
    (
        "docs/openapi.json",
        "usr/share/doc/portcullis/openapi.json",
        0o644,
    ),
    (
        "docs/configuration.md",
        "usr/share/doc/portcullis/configuration.md",
        0o644,
    ),
    (
        "docs/monitoring/alerts.yml",
        "usr/share/doc/portcullis/monitoring/alerts.yml",
        0o644,
    ),
    (
        "docs/monitoring/dashboard.json",
        "usr/share/doc/portcullis/monitoring/dashboard.json",
        0o644,
    ),
    ("packaging/debian/postinst", "DEBIAN/postinst", 0o755),
    ("packaging/debian/prerm", "DEBIAN/prerm", 0o755),
    ("packaging/debian/postrm", "DEBIAN/postrm", 0o755),
];
/// Completions, and where shells look for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/portcullis"),
    ("zsh", "usr/share/zsh/vendor-completions/_portcullis"),
    ("fish", "usr/share/fish/vendor_completions.d/portcullis.fish"),
];
const MANUAL: &str = "usr/share/man/man1";
const PROGRAM: &str = "usr/bin/portcullis";
const CONFIGURATION: &str = "etc/portcullis/portcullis.toml";
/// Installs the package in a fresh Debian.
const TEST: &str = "packaging/debian/test";
/// Has the systemd of a fresh Debian run the unit.
const SYSTEMD_TEST: &str = "packaging/systemd/test";

impl Package {
    /// Runs the verb.
    ///
    /// # Errors
    /// If a build or a tool fails, or the test finds something.
    pub fn run(&self) -> Result<ExitCode> {
        let build = Build {
            debug: self.debug,
            ..Build::default()
        };
        let package = package(&build.build()?)?;
        eprintln!("built {}", package.display());
        if self.test {
            test(TEST, &["mmdebstrap"], &package)?;
        }
        if self.test_systemd {
            test(SYSTEMD_TEST, &["mmdebstrap", "systemd-nspawn"], &package)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Packages a built engine.
fn package(engine: &Path) -> Result<PathBuf> {
    let architecture = output_of(Command::new("dpkg").arg("--print-architecture"))?;
    let name = format!("portcullis_{}_{}", env!("CARGO_PKG_VERSION"), architecture.trim());
    let directory = workspace::target().join("debian");
    let tree = directory.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
    }
    for (from, to, mode) in FILES {
        let text = fs::read(workspace::root().join(from)).with_context(|| format!("reading {from}"))?;
        write(&tree, to, &text, mode)?;
    }
    let program = install(&tree, PROGRAM)?;
    succeed(Command::new("strip").arg("-o").arg(&program).arg(engine))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    for (shell, to) in COMPLETIONS {
        let script = output_of(Command::new(engine).args(["completions", shell]))?;
        write(&tree, to, script.as_bytes(), 0o644)?;
    }
    manual(engine, &tree)?;
    let initial = output_of(Command::new(engine).args(["config", "init"]))?;
    write(&tree, CONFIGURATION, configuration(&initial)?.as_bytes(), 0o644)?;
    write(
        &tree,
        "DEBIAN/conffiles",
        format!("/{CONFIGURATION}\n").as_bytes(),
        0o644,
    )?;
    let control = control(&tree, architecture.trim())?;
    write(&tree, "DEBIAN/control", control.as_bytes(), 0o644)?;
    let package = directory.join(format!("{name}.deb"));
    succeed(
        Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Zxz"])
            .arg(&tree)
            .arg(&package),
    )?;
    fs::remove_dir_all(&tree)?;
    Ok(package)
}

/// The initial configuration, of an engine that is not root.
fn configuration(initial: &str) -> Result<String> {
    let changed = initial.replace("\nuser = \"\"\n", "\nuser = \"portcullis\"\n");
    if changed == initial {
        bail!("the initial configuration has no line `user = \"\"`");
    }
    Ok(changed)
}

fn manual(engine: &Path, tree: &Path) -> Result<()> {
    let directory = tree.join(MANUAL);
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    succeed(Command::new(engine).arg("man").arg(&directory))?;
    for page in fs::read_dir(&directory)? {
        succeed(Command::new("gzip").args(["-9", "-n"]).arg(page?.path()))?;
    }
    Ok(())
}

fn control(tree: &Path, architecture: &str) -> Result<String> {
    let depends = libraries(&tree.join(PROGRAM))?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "Package: portcullis\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The Portcullis contributors <portcullis@localhost>\n\
         Depends: {depends}, passwd\n\
         Recommends: systemd, ethtool, iproute2\n\
         Section: net\n\
         Priority: optional\n\
         Description: inline HTTP filter in the network driver and in user space\n \
         An XDP program drops what is known to be bad and hands flows that need a look\n \
         to AF_XDP sockets; the engine scores their HTTP requests and sends the good\n \
         ones on.\n"
    ))
}

/// The packages of the libraries that a program is linked with, with the versions here as the oldest that will do.
fn libraries(program: &Path) -> Result<String> {
    let linked = output_of(Command::new("ldd").arg(program))?;
    let mut packages = Vec::new();
    for path in linked
        .lines()
        .filter_map(|line| line.split_once("=> ")?.1.split(' ').next())
    {
        // Where /lib is /usr/lib, dpkg may know either.
        let owner = [path.to_owned(), format!("/usr{path}")]
            .iter()
            .find_map(|path| output_of(Command::new("dpkg").args(["-S", path])).ok());
        let owner = owner.with_context(|| format!("{path} belongs to no package"))?;
        let package = owner.split(':').next().unwrap_or_default().to_owned();
        let version = output_of(Command::new("dpkg-query").args(["-W", "-f", "${Version}", &package]))?;
        // What Debian has changed since does not matter.
        let upstream = version
            .rsplit_once('-')
            .map_or(version.as_str(), |(upstream, _)| upstream);
        let entry = format!("{package} (>= {upstream})");
        if !packages.contains(&entry) {
            packages.push(entry);
        }
    }
    Ok(packages.join(", "))
}

/// The place of a file, with the directories above.
fn install(tree: &Path, to: &str) -> Result<PathBuf> {
    let path = tree.join(to);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    Ok(path)
}

fn write(tree: &Path, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = install(tree, to)?;
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Runs a test, a script, or says loudly what keeps it from running.
fn test(script: &str, programs: &[&str], package: &Path) -> Result<()> {
    if let Some(program) = programs
        .iter()
        .find(|program| workspace::find_program(program).is_none())
    {
        eprintln!(
            "SKIPPED: the package was not tested: {program} is missing: `apt-get install mmdebstrap systemd-container`"
        );
        return Ok(());
    }
    let Some(mut command) = privilege::as_root("sh") else {
        eprintln!("SKIPPED: the package was not tested: that takes root");
        return Ok(());
    };
    succeed(command.arg(workspace::root().join(script)).arg(package))
}
