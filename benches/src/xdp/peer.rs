//! xdp-filter, as Debian's xdp-tools have it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use xtask::{
    lab::{Lab, Options, mounts::BPFFS, namespace},
    workspace::find_program,
};

/// xdp-filter on an interface of a lab, where it sees no packet but those of test runs.
pub(super) struct XdpFilter {
    lab: Lab,
    program: Xdp,
}

impl XdpFilter {
    /// Loads it with all its features; what matches nothing passes.
    ///
    /// # Errors
    /// If it is not installed, or does not load here.
    pub(super) fn load() -> Result<Self> {
        ensure!(
            find_program("xdp-filter").is_some(),
            "not installed (Debian: apt-get install xdp-tools)"
        );
        let lab = Lab::start(&Options::default())?;
        let run = |program: &str, arguments: &[&str]| {
            namespace::output_of(lab.gateway().command(program).args(arguments))
        };
        run(
            "xdp-filter",
            &["load", "--mode", "skb", "--features", "all", "outside"],
        )?;
        // Behind a dispatcher or not: whatever the interface has.
        let links: serde_json::Value =
            serde_json::from_str(&run("ip", &["-json", "link", "show", "outside"])?)?;
        let id = links
            .pointer("/0/xdp/prog/id")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("the interface has no program: {links}"))?;
        let pin = format!("{BPFFS}/peer");
        run("bpftool", &["prog", "pin", "id", &id.to_string(), &pin])?;
        let program = lab
            .gateway()
            .enter(|| Xdp::from_pin(&pin, XdpAttachType::Interface))?
            .context("opening xdp-filter's program")?;
        Ok(Self { lab, program })
    }

    pub(super) fn program(&self) -> &Xdp {
        &self.program
    }

    /// Has it drop what comes from a source.
    ///
    /// # Errors
    /// If it refuses.
    pub(super) fn block(&self, source: IpAddr) -> Result<()> {
        self.ip(source, &["--mode", "src"])
    }

    /// Has it pass that again.
    ///
    /// # Errors
    /// If it refuses.
    pub(super) fn unblock(&self, source: IpAddr) -> Result<()> {
        self.ip(source, &["--mode", "src", "--remove"])
    }

    fn ip(&self, source: IpAddr, options: &[&str]) -> Result<()> {
        let mut command = self.lab.gateway().command("xdp-filter");
        command.arg("ip").arg(source.to_string()).args(options);
        namespace::run(&mut command)
    }
}
