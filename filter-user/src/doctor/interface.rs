//! Interfaces that an engine is to filter.

use super::{
    Finding,
    facts::{Host, Link},
};
use crate::{
    bpf::XdpMode,
    config::{self, Config, ForeignProgram, Forward, Offloads, Queues},
    host::Interface,
};

/// Drivers that run XDP programs themselves.
const NATIVE_DRIVERS: [&str; 29] = [
    "atlantic",
    "bnxt_en",
    "ena",
    "fec",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "funeth",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_core",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "rvu_nicpf",
    "rvu_nicvf",
    "sfc",
    "tsnep",
    "veth",
    "virtio_net",
    "vmxnet3",
];
/// `rp_filter` that takes only what comes by the way back to its source.
const STRICT: u8 = 1;

pub(super) fn examine(link: &Link, host: &Host, config: &Config) -> Vec<Finding> {
    let name = &link.name;
    let interface = match &link.interface {
        Ok(interface) => interface,
        Err(error) => return vec![Finding::wrong("interface", error, "ip link").of(name)],
    };
    let mut findings = vec![
        state(interface),
        mode(link, config),
        program(link, interface, config),
        offloads(link, config),
        queues(interface, host, config),
    ];
    if config.engine.forward == Forward::Host {
        findings.push(reverse_path(link, host));
    }
    findings.into_iter().map(|finding| finding.of(name)).collect()
}

fn state(interface: &Interface) -> Finding {
    if interface.up {
        Finding::ok("interface", format!("up, MTU {}", interface.mtu))
    } else {
        Finding::wrong(
            "interface",
            "down",
            format!("ip link set dev {} up", interface.name),
        )
    }
}

fn mode(link: &Link, config: &Config) -> Finding {
    let driver = link.driver.as_deref().unwrap_or("none");
    let is_native = NATIVE_DRIVERS.contains(&driver);
    match config.engine.xdp_mode {
        config::XdpMode::Native if !is_native => Finding::warning(
            "xdp",
            format!(
                "driver {driver}, which is not known to run XDP programs, and engine.xdp_mode is \"native\""
            ),
            "portcullis run --xdp-mode auto",
        ),
        config::XdpMode::Auto if !is_native => Finding::warning(
            "xdp",
            format!("driver {driver}, which is not known to run XDP programs: the stack will, more slowly"),
            "portcullis run --xdp-mode generic",
        ),
        config::XdpMode::Generic => {
            Finding::ok("xdp", format!("driver {driver}, generic mode as configured"))
        }
        _ => Finding::ok("xdp", format!("driver {driver}, which can run XDP programs")),
    }
}

fn program(link: &Link, interface: &Interface, config: &Config) -> Finding {
    let Some(mode) = interface.xdp_mode else {
        return Finding::ok("program", "no XDP program");
    };
    if link.is_ours {
        return Finding::ok("program", format!("an engine's, in {mode} mode"));
    }
    if config.engine.replace_foreign == ForeignProgram::Replace {
        return Finding::ok(
            "program",
            format!("somebody else's, in {mode} mode, which the engine will take off"),
        );
    }
    let kind = match mode {
        XdpMode::Native => "xdpdrv",
        XdpMode::Generic => "xdpgeneric",
    };
    Finding::wrong(
        "program",
        format!(
            "an XDP program of somebody else, in {mode} mode; what a running process holds goes with that process"
        ),
        format!("ip link set dev {} {kind} off", link.name),
    )
}

fn offloads(link: &Link, config: &Config) -> Finding {
    let names = |changeable| -> Vec<&str> {
        let some = link.hindrances.iter().filter(|on| on.is_changeable == changeable);
        some.map(|on| on.name).collect()
    };
    let (changeable, fixed) = (names(true), names(false));
    if changeable.is_empty() && fixed.is_empty() {
        return Finding::ok("offloads", "none that hinders");
    }
    if config.engine.offloads == Offloads::Auto && fixed.is_empty() {
        return Finding::ok(
            "offloads",
            format!(
                "{}, which the engine switches off while it runs",
                changeable.join(", ")
            ),
        );
    }
    let all: Vec<_> = changeable.iter().chain(&fixed).copied().collect();
    let off: Vec<_> = all.iter().map(|name| format!("{name} off")).collect();
    Finding::warning(
        "offloads",
        format!(
            "{} are on: packets are joined or lose their VLAN tags before they are seen",
            all.join(", ")
        ),
        format!("ethtool -K {} {}", link.name, off.join(" ")),
    )
}

fn queues(interface: &Interface, host: &Host, config: &Config) -> Finding {
    let (name, have) = (&interface.name, interface.queues);
    match config.engine.queues {
        Queues::Count(count) if count > have => Finding::wrong(
            "queues",
            format!("{have}, and engine.queues is {count}"),
            format!("ethtool -L {name} combined {count}"),
        ),
        Queues::Count(count) if count < have => Finding::warning(
            "queues",
            format!("{have}, of which engine.queues reads {count}: what comes by others is not inspected"),
            format!("ethtool -L {name} combined {count}"),
        ),
        _ if have > host.cpus => Finding::warning(
            "queues",
            format!("{have}, for {} CPUs", host.cpus),
            format!("ethtool -L {name} combined {}", host.cpus),
        ),
        _ => Finding::ok("queues", format!("{have}, for {} CPUs", host.cpus)),
    }
}

/// What the engine gives back comes by devices of its own, which are not strict: a source would be treated in two ways.
fn reverse_path(link: &Link, host: &Host) -> Finding {
    let effective = link.rp_filter.max(host.rp_filter);
    if effective == STRICT {
        Finding::warning(
            "rp_filter",
            "strict: what is not inspected is dropped if the way back to its source is another, what is inspected is not",
            format!("sysctl -w net.ipv4.conf.{}.rp_filter=2", link.name),
        )
    } else {
        Finding::ok("rp_filter", if effective == 0 { "off" } else { "loose" })
    }
}
