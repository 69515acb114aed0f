//! The lab: a client, a gateway and a server in network namespaces of their own.
//!
//! ```text
//!  NAME-client               NAME-gateway                    NAME-server
//! ┌───────────┐         ┌──────────────────────┐          ┌──────────────┐
//! │ eth0      ├─────────┤ outside       inside ├──────────┤ eth0         │
//! │ 10.71.0.2 │  veth   │ 10.71.0.1  10.72.0.1 │   veth   │ 10.72.0.2    │
//! │ fd71::2   │         │ fd71::1      fd72::1 │          │ fd72::2      │
//! └───────────┘         └──────────────────────┘          │ nginx :80    │
//!                          forwards IPv4, IPv6            │ origin :8080 │
//!                                                         └──────────────┘
//! ```
//!
//! Every lab has its own names, so that tests run side by side; dropping it (also in a panic) removes it, and
//! [`sweep`] removes what killed processes left. What a lab keeps in files is below its [`Lab::directory`].
//!
//! A lab made with [`Lab::start`] has a private file-system view as well: its own bpffs on `/sys/fs/bpf`
//! and its own `/run/portcullis`, so that pinned maps and control sockets of two labs do not meet although
//! each sees the usual paths. Commands and closures that run in a namespace of the lab share that view.
//!
//! | module | what it holds |
//! |---|---|
//! | [`address`] | the addresses above |
//! | [`topology`] | building the links, and the options for them |
//! | [`namespace`] | one network namespace: commands and closures inside it |
//! | [`mounts`] | the private file-system view |
//! | [`lifetime`] | names, stale labs, the lock of serial tests |
//! | [`nginx`] | the real HTTP server |
//! | [`origin`], [`http`] | the HTTP server that records every byte it gets |
//! | [`frame`] | building and reading Ethernet frames |
//! | [`packet_socket`] | sending and receiving them raw |
//! | [`trunk`] | a switch that gives the server's frames VLAN tags |
//! | [`raw_tcp`] | a scripted TCP client made of raw frames |
//! | [`flood`] | floods of raw frames from forged addresses |
//! | [`request_flood`] | a flood of HTTP requests from many addresses |
//! | [`listeners`] | many WebSocket clients, some of which do not read |
//! | [`visitor`] | a well-behaved client that asks at a fixed rate |
//! | [`wait`] | waiting for conditions with a deadline |
//! | [`engine_config`] | the engine's configuration for this lab |

pub mod address;
pub mod engine_config;
mod exchange;
pub mod flood;
pub mod frame;
pub mod http;
pub mod lifetime;
pub mod listeners;
pub mod mounts;
pub mod namespace;
pub mod nginx;
pub mod origin;
pub mod packet_socket;
pub mod raw_tcp;
pub mod request_flood;
pub mod topology;
pub mod trunk;
pub mod visitor;
pub mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

pub use flood::{Flood, FloodKind};
pub use lifetime::{SerialGuard, serial, sweep};
pub use listeners::{Audience, Heard, Listeners};
use mounts::Mounts;
pub use namespace::Namespace;
pub use nginx::Nginx;
pub use origin::Origin;
pub use packet_socket::PacketSocket;
pub use raw_tcp::RawTcp;
pub use request_flood::RequestFlood;
pub use topology::{Gateway, Offload, Options};
pub use trunk::Trunk;
pub use visitor::{Visit, Visits};

/// A running lab. Dropping it removes the namespaces, ends the processes inside them and deletes its files,
/// unless [`Lab::keep`] was called.
#[derive(Debug)]
pub struct Lab {
    name: String,
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
    directory: PathBuf,
    bridged: bool,
    outsides: &'static [&'static str],
    kept: bool,
}

impl Lab {
    /// Starts a lab with a name of its own and a private file-system view. Stale labs are swept first.
    ///
    /// # Errors
    /// If not root, or a tool of the lab is missing or fails.
    pub fn start(options: &Options) -> Result<Self> {
        sweep();
        let name = lifetime::unique_name();
        let mounts = Arc::new(Mounts::private().context("making the lab's private file-system view")?);
        Self::build(&name, options, Some(&mounts))
    }

    /// For tests: starts a lab, or prints why it cannot and returns `None`.
    ///
    /// # Panics
    /// If root, and the lab fails all the same.
    #[must_use]
    pub fn for_test(options: &Options) -> Option<Self> {
        if !crate::privilege::is_root() {
            eprintln!("SKIPPED: network namespaces and eBPF need root");
            return None;
        }
        Some(Self::start(options).unwrap_or_else(|error| panic!("starting the lab: {error:#}")))
    }

    /// Starts the lab that people use by hand: `name` is fixed and the host's file systems are seen, so that
    /// pinned maps are where the documentation says.
    ///
    /// # Errors
    /// If a lab of that name is up already, if not root, or a tool is missing or fails.
    pub fn start_named(name: &str, options: &Options) -> Result<Self> {
        lifetime::check_name(name)?;
        if Self::is_up(name) {
            bail!("the lab `{name}` is up already; `cargo xtask lab down --name {name}` removes it");
        }
        mounts::ensure_bpffs()?;
        Self::build(name, options, None)
    }

    fn build(name: &str, options: &Options, mounts: Option<&Arc<Mounts>>) -> Result<Self> {
        let mut lab = Self::attach(name, mounts);
        lab.bridged = options.gateway == Gateway::Bridge;
        lab.outsides = &topology::OUTSIDES[..=usize::from(options.second_cable)];
        // From here on, dropping `lab` cleans up after an error.
        fs::create_dir_all(&lab.directory)
            .with_context(|| format!("creating {}", lab.directory.display()))?;
        topology::build(&lab, options).with_context(|| format!("building the lab `{name}`"))?;
        Ok(lab)
    }

    fn attach(name: &str, mounts: Option<&Arc<Mounts>>) -> Self {
        let namespace = |role: &str| Namespace::new(format!("{name}-{role}"), mounts.cloned());
        Self {
            name: name.to_owned(),
            client: namespace("client"),
            gateway: namespace("gateway"),
            server: namespace("server"),
            directory: lifetime::directory(name),
            bridged: false,
            outsides: &topology::OUTSIDES[..1],
            kept: false,
        }
    }

    /// The named lab that is up. It outlives the value.
    ///
    /// # Errors
    /// If it is not up.
    pub fn existing(name: &str) -> Result<Self> {
        lifetime::check_name(name)?;
        if !Self::is_up(name) {
            bail!("the lab `{name}` is not up; `cargo xtask lab up --name {name}` starts it");
        }
        let mut lab = Self::attach(name, None);
        lab.kept = true;
        Ok(lab)
    }

    /// Removes a named lab, whatever is left of it.
    ///
    /// # Errors
    /// If the name is not one for a named lab.
    pub fn remove_named(name: &str) -> Result<()> {
        lifetime::check_name(name)?;
        lifetime::remove(name);
        Ok(())
    }

    /// True if all namespaces of a lab of this name exist.
    #[must_use]
    pub fn is_up(name: &str) -> bool {
        lifetime::ROLES
            .iter()
            .all(|role| namespace::path(&format!("{name}-{role}")).exists())
    }

    /// Leaves the lab up when this value is dropped; `lab down` removes it.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The lab's name, the prefix of its namespaces' names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the gateway is a bump in the wire.
    #[must_use]
    pub fn is_bridged(&self) -> bool {
        self.bridged
    }

    /// The gateway's interfaces that the client is behind.
    #[must_use]
    pub fn outsides(&self) -> &'static [&'static str] {
        self.outsides
    }

    /// Where the client's frames go first, and by which device what answers them comes: the gateway, or through it the server.
    #[must_use]
    pub fn next_hop(&self) -> (&Namespace, &'static str) {
        if self.bridged {
            (&self.server, "eth0")
        } else {
            (&self.gateway, "outside")
        }
    }

    /// Takes the kernel's bridge out of the gateway of a bridged lab, so that an engine is all that joins the links.
    ///
    /// # Errors
    /// If the lab is gone.
    pub fn cut_wire(&self) -> Result<()> {
        if self.gateway.mac(topology::WIRE).is_ok() {
            self.gateway.ip(&format!("link del {}\n", topology::WIRE))?;
        }
        Ok(())
    }

    /// Lets the client stand for the rest of the world: what the gateway, or behind a bridge the server, has for nobody else goes there,
    /// and the client has the addresses of [`address::CROWD`] and [`address::VISITORS`]. What is for others ends there.
    ///
    /// # Errors
    /// If the lab is gone.
    pub fn add_internet(&self) -> Result<()> {
        let (router, device) = self.next_hop();
        let client = address::CLIENT_V4;
        router.ip(&format!("route replace default via {client} dev {device}\n"))?;
        for (network, prefix) in [address::CROWD, address::VISITORS] {
            self.client
                .ip(&format!("route replace local {network}/{prefix} dev lo\n"))?;
        }
        Ok(())
    }

    /// Where the lab's files are: configurations, logs, documents.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The gateway's namespace, where the engine runs on the interface `outside`.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// The server's namespace.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// The namespace for `client`, `gateway` or `server`.
    #[must_use]
    pub fn role(&self, role: &str) -> Option<&Namespace> {
        match role {
            "client" => Some(&self.client),
            "gateway" => Some(&self.gateway),
            "server" => Some(&self.server),
            _ => None,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            lifetime::remove(&self.name);
        }
    }
}
