//! Which system this is, and its package manager.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{privilege, progress};

/// Families of distributions whose package names are known. Only on [`Family::Debian`] are packages
/// installed; on the others they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Debian and its children.
    Debian,
    /// Fedora and its children.
    Fedora,
    /// Arch and its children.
    Arch,
    /// Anything else.
    Unknown,
}

impl Family {
    /// Reads `/etc/os-release`.
    #[must_use]
    pub fn of_this_system() -> Self {
        Self::from_os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// Decides by the `ID` and `ID_LIKE` lines of os-release(5).
    #[must_use]
    pub fn from_os_release(text: &str) -> Self {
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
        for id in values {
            match id {
                "debian" | "ubuntu" => return Self::Debian,
                "fedora" | "rhel" | "centos" => return Self::Fedora,
                "arch" => return Self::Arch,
                _ => {}
            }
        }
        Self::Unknown
    }
}

/// The version that apt would install, or `None` if it knows no such package.
#[must_use]
pub fn apt_candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?
        .trim();
    (version != "(none)").then(|| version.to_owned())
}

/// Reads the package lists anew.
pub fn apt_update() -> Result<()> {
    let mut command = root_shell("apt-get update")?;
    progress::run(
        "apt-update",
        "Reading the package lists (apt-get update)",
        &mut command,
    )
}

/// Packages that bring a service, and the service.
const SERVICES: [(&str, &str); 3] = [
    ("nginx-light", "nginx"),
    ("prometheus", "prometheus"),
    ("suricata", "suricata"),
];

/// Tells apt of another suite of Debian's own archive, in a file of its own.
pub fn apt_source(file: &str, suite: &str) -> Result<()> {
    let mut command = root_shell(&format!(
        "cat > {file} <<END\nTypes: deb\nURIs: http://deb.debian.org/debian\nSuites: {suite}\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nEND\n"
    ))?;
    progress::run("apt-source", &format!("Writing {file}"), &mut command)
}

/// Installs packages, never removes one, and lets no service start: the lab runs its own servers inside
/// its namespaces, and nothing of it may listen on the host.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    // invoke-rc.d and deb-systemd-invoke ask policy-rc.d; 101 means "do not start". A guard that the system
    // already has stays. What packages would enable for the next boot is disabled again.
    let mut script = String::from(
        "guard=/usr/sbin/policy-rc.d\n\
         if [ ! -e $guard ]; then\n\
         trap 'rm -f $guard' EXIT\n\
         printf '#!/bin/sh\\nexit 101\\n' > $guard && chmod 755 $guard\n\
         fi\n\
         export DEBIAN_FRONTEND=noninteractive\n",
    );
    script.push_str("apt-get install -y --no-install-recommends --no-remove ");
    script.push_str(&names);
    script.push('\n');
    for (package, service) in SERVICES {
        if packages.contains(&package) {
            let _ = write!(
                script,
                "if command -v update-rc.d >/dev/null; then update-rc.d {service} disable || true; fi\n\
                 if [ -d /run/systemd/system ]; then systemctl disable {service} || true; fi\n"
            );
        }
    }
    let mut command =
        root_shell(&script).with_context(|| format!("as root, run: apt-get install -y {names}"))?;
    progress::run("apt-install", &format!("Installing {names}"), &mut command)
}

fn root_shell(script: &str) -> Result<Command> {
    let Some(mut command) = privilege::as_root("sh") else {
        bail!("installing packages needs root, and sudo is not installed");
    };
    command.args(["-e", "-c", script]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn families_follow_id_and_id_like() {
        let cases = [
            ("ID=debian\nVERSION_ID=\"12\"", Family::Debian),
            (
                "NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"",
                Family::Debian,
            ),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", Family::Fedora),
            ("ID=arch", Family::Arch),
            ("ID=nixos\nBUILD_ID=debian", Family::Unknown),
            ("", Family::Unknown),
        ];
        for (text, family) in cases {
            assert_eq!(Family::from_os_release(text), family, "{text:?}");
        }
    }
}
