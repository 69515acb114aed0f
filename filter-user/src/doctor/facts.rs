//! What there is, as far as this process can see.

use std::{
    fs, io,
    net::UdpSocket,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use caps::{CapSet, CapsHashSet};
use nix::{
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit},
        statfs::{BPF_FS_MAGIC, statfs},
        utsname::uname,
    },
    unistd::User,
};

use crate::{
    bpf::pinned_links,
    config::{Address, Config},
    host::{Hindrance, Interface, hindrances},
    privilege::{self, Access},
};

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The kernel and this process.
    pub host: Host,
    /// Engines and their surroundings.
    pub engine: Engine,
    /// Where an engine writes.
    pub directories: Vec<Directory>,
    /// The interfaces that were asked for.
    pub interfaces: Vec<Link>,
}

/// The kernel and what this process may.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is the answer to a question of its own"
)]
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// `uname -r`.
    pub release: String,
    /// Types of the kernel.
    pub has_btf: bool,
    /// Whether the directory of pins is on a BPF file system, or would be.
    pub has_bpffs: bool,
    /// Whether programs are compiled; none where that cannot be seen.
    pub has_jit: Option<bool>,
    /// Whether files can be restricted.
    pub has_landlock: bool,
    /// Whether system calls can be.
    pub has_seccomp: bool,
    /// What gives the time.
    pub clock: Option<String>,
    /// CPUs that this process may use.
    pub cpus: u32,
    /// What this process may.
    pub capabilities: CapsHashSet,
    /// Bytes that it may lock; none if as many as there are.
    pub locked_bytes: Option<u64>,
    /// Whether packets between interfaces are forwarded: IPv4 and IPv6.
    pub forwards: [bool; 2],
    /// Whether a service is on another host: IPv4 and IPv6.
    pub serves_others: [bool; 2],
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter: u8,
}

/// Engines and their surroundings.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Whether one answers on the configured socket; none where that cannot be seen.
    pub runs: Option<bool>,
    /// Links in the directory of pins.
    pub links: Vec<String>,
    /// Whether the configured user is there; none if none is configured.
    pub has_user: Option<bool>,
    /// Whether the host is run by systemd.
    pub has_systemd: bool,
    /// Whether there is a unit, and whether it is started at boot.
    pub unit: Option<bool>,
}

/// A directory that an engine writes in.
#[derive(Clone, Debug)]
pub struct Directory {
    /// What the check of it is called.
    pub check: &'static str,
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What the configured user can do with it.
    pub access: Access,
}

/// A network interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What the kernel says of it, or why nothing.
    pub interface: Result<Interface, String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Offloads that are on and hinder XDP.
    pub hindrances: Vec<Hindrance>,
    /// `net.ipv4.conf.NAME.rp_filter`.
    pub rp_filter: u8,
    /// Whether a program on it is an engine's.
    pub is_ours: bool,
}

impl Facts {
    /// Looks at this host and at these interfaces.
    pub async fn gather(config: &Config, interfaces: &[String]) -> Self {
        let mut links = Vec::new();
        for name in interfaces {
            links.push(link(config, name).await);
        }
        Self {
            host: host(config),
            engine: engine(config),
            directories: directories(config),
            interfaces: links,
        }
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: impl AsRef<Path>) -> u8 {
    read(path).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn host(config: &Config) -> Host {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    let jit = read("/proc/sys/net/core/bpf_jit_enable");
    let locked = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    let forwards = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
    Host {
        release: release.unwrap_or_default(),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        has_bpffs: is_on_bpffs(&config.engine.pin_dir),
        has_jit: jit.map(|value| value != "0"),
        has_landlock: privilege::has_landlock(),
        has_seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
        clock: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32),
        capabilities: caps::read(None, CapSet::Effective).unwrap_or_default(),
        locked_bytes: (locked != RLIM_INFINITY).then_some(locked),
        forwards: forwards.map(|key| number(Path::new("/proc/sys/net").join(key)) != 0),
        serves_others: [false, true].map(|is_v6| serves_others(config, is_v6)),
        rp_filter: number("/proc/sys/net/ipv4/conf/all/rp_filter"),
    }
}

fn serves_others(config: &Config, is_v6: bool) -> bool {
    config.services().iter().any(|service| match service.address {
        // An address can be bound where it is this host's.
        Address::Ip(ip) => ip.is_ipv6() == is_v6 && UdpSocket::bind((ip, 0)).is_err(),
        Address::Any => false,
    })
}

/// It may not be there yet: then what it will be made in counts.
fn is_on_bpffs(pin_dir: &Path) -> bool {
    let existing = pin_dir.ancestors().find(|path| path.exists());
    existing.is_some_and(|path| statfs(path).is_ok_and(|status| status.filesystem_type() == BPF_FS_MAGIC))
}

fn engine(config: &Config) -> Engine {
    let engine = &config.engine;
    let user = Some(engine.user.as_str()).filter(|user| !user.is_empty());
    Engine {
        runs: answers(&engine.control_socket),
        links: pinned_links(&engine.pin_dir),
        // Numbers need no entry.
        has_user: user.map(|user| {
            user.parse::<u32>().is_ok() || User::from_name(user).is_ok_and(|entry| entry.is_some())
        }),
        has_systemd: Path::new("/run/systemd/system").is_dir(),
        unit: unit(),
    }
}

fn answers(socket: &Path) -> Option<bool> {
    match UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        answer => Some(answer.is_ok()),
    }
}

/// Those that are written in. Without the configured user nothing can be said of them.
fn directories(config: &Config) -> Vec<Directory> {
    let (audit, history) = (&config.audit, &config.history);
    let all = [
        (true, "state", "engine.state_dir", &config.engine.state_dir),
        (audit.enabled, "audit", "audit.directory", &audit.directory),
        (
            history.interval_s > 0,
            "history",
            "history.directory",
            &history.directory,
        ),
    ];
    let written = all.into_iter().filter(|(is_written, ..)| *is_written);
    let directory = |(_, check, key, path): (bool, _, _, &PathBuf)| {
        Some(Directory {
            check,
            key,
            path: path.clone(),
            access: Access::of(&config.engine.user, path)?,
        })
    };
    written.filter_map(directory).collect()
}

fn unit() -> Option<bool> {
    const UNIT: &str = "portcullis.service";
    let local = PathBuf::from("/etc/systemd/system");
    let places = ["/usr/lib/systemd/system", "/lib/systemd/system"].map(PathBuf::from);
    let is_there = places
        .iter()
        .chain([&local])
        .any(|place| place.join(UNIT).exists());
    let wants = local.join("multi-user.target.wants").join(UNIT);
    is_there.then(|| wants.symlink_metadata().is_ok())
}

async fn link(config: &Config, name: &str) -> Link {
    let interface = Interface::find(name).await.map_err(|error| error.to_string());
    // A device's driver; devices that are none have no such link.
    let driver = fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok();
    let driver = driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let is_veth = interface.as_ref().is_ok_and(|interface| interface.is_veth);
    let link = format!("link_xdp_{name}");
    Link {
        name: name.to_owned(),
        hindrances: hindrances(name).await,
        driver: driver.or_else(|| is_veth.then(|| "veth".to_owned())),
        rp_filter: number(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")),
        is_ours: pinned_links(&config.engine.pin_dir).contains(&link),
        interface,
    }
}
