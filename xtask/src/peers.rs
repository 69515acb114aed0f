//! Programs that benchmarks put beside Portcullis, and where they come from. Nothing else needs them, so only `cargo xtask bench`
//! installs them, and a benchmark leaves out what cannot be had.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::distribution::{self, Family};
use crate::workspace::find_program;

/// Where Debian's newer packages for its stable release are told to apt.
const SOURCES: &str = "/etc/apt/sources.list.d/portcullis-bench.sources";

/// A program or a library to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An XDP program that drops by address.
    XdpFilter,
    /// `ModSecurity`'s library and the `OWASP` Core Rule Set.
    LibModSecurity,
    /// Suricata, which Debian's stable release has among its backports only.
    Suricata,
    /// nginx with `ModSecurity` and the Core Rule Set.
    ModSecurity,
    /// iptables over the kernel's older interface, the one that has `NFQUEUE` in every kernel.
    Iptables,
}

impl Peer {
    /// Those that the benchmark of this name measures beside Portcullis.
    #[must_use]
    pub fn of(benchmark: &str) -> &'static [Self] {
        match benchmark {
            "xdp" => &[Self::XdpFilter],
            "score" => &[Self::LibModSecurity],
            "peers" => &[Self::Suricata, Self::ModSecurity, Self::Iptables],
            "flood" => &[Self::Iptables],
            _ => &[],
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XdpFilter => "xdp-filter",
            Self::LibModSecurity => "libmodsecurity with the Core Rule Set",
            Self::Suricata => "Suricata",
            Self::ModSecurity => "nginx with ModSecurity and the Core Rule Set",
            Self::Iptables => "iptables",
        }
    }

    /// True if it is here.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            Self::XdpFilter => find_program("xdp-filter").is_some(),
            Self::LibModSecurity => are_files(&[MODSECURITY_HEADER, CORE_RULES]),
            Self::Suricata => find_program("suricata").is_some(),
            Self::ModSecurity => are_files(&[MODSECURITY, CORE_RULES]),
            Self::Iptables => find_program("iptables-legacy").is_some(),
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::XdpFilter => &["xdp-tools"],
            Self::LibModSecurity => &["libmodsecurity-dev", "modsecurity-crs"],
            // The library is older in the release itself than Suricata needs.
            Self::Suricata => &["suricata", "libhtp2/RELEASE-backports"],
            Self::ModSecurity => &["libnginx-mod-http-modsecurity", "modsecurity-crs"],
            Self::Iptables => &["iptables"],
        }
    }
}

/// nginx's module.
pub const MODSECURITY: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
/// The rules.
pub const CORE_RULES: &str = "/usr/share/modsecurity-crs/rules";
const MODSECURITY_HEADER: &str = "/usr/include/modsecurity/modsecurity.h";

fn are_files(paths: &[&str]) -> bool {
    paths.iter().all(|path| Path::new(path).exists())
}

/// Installs what is missing, and says loudly what cannot be had.
pub fn ensure(peers: &[Peer]) {
    for peer in peers.iter().filter(|peer| !peer.is_here()) {
        let installed = install(*peer).and_then(|()| {
            if peer.is_here() {
                Ok(())
            } else {
                bail!("it is still missing after installing its packages")
            }
        });
        if let Err(error) = installed {
            eprintln!("NOT COMPARED WITH {}: {error:#}", peer.name());
        }
    }
}

fn install(peer: Peer) -> Result<()> {
    if Family::of_this_system() != Family::Debian {
        bail!("packages are installed only on Debian and its children");
    }
    let release = release().context("/etc/os-release names no release")?;
    if peer == Peer::Suricata && distribution::apt_candidate("suricata").is_none() {
        let suite = format!("{release}-backports");
        eprintln!("this release has no Suricata: adding {suite} to apt's sources, as {SOURCES}");
        distribution::apt_source(SOURCES, &suite)?;
    }
    distribution::apt_update()?;
    let packages: Vec<String> = peer
        .packages()
        .iter()
        .map(|package| package.replace("RELEASE", &release))
        .collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    distribution::apt_install(&packages)
}

fn release() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}
