//! The kernel, and what this process may.

use caps::Capability;

use super::{Finding, facts::Host};
use crate::config::{Config, Forward};

/// tcx links and `AF_XDP` packets in parts came with it.
const OLDEST: (u32, u32) = (6, 6);
/// What the rings of a few queues take.
const LOCKED_BYTES: u64 = 64 << 20;
/// Clocks that are read without leaving the CPU.
const QUICK_CLOCKS: [&str; 5] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "xen",
    "arch_sys_counter",
];

pub(super) fn examine(host: &Host, config: &Config) -> Vec<Finding> {
    let mut findings = vec![kernel(host), types(host), file_system(host)];
    findings.extend(host.has_jit.map(compiler));
    findings.push(capabilities(host, config));
    findings.push(memory(host, config));
    if !config.engine.user.is_empty() && config.engine.sandbox {
        findings.push(sandbox(host));
    }
    findings.extend(host.clock.as_deref().map(clock));
    if config.engine.forward == Forward::Host {
        findings.push(forwarding(host));
    }
    findings
}

fn kernel(host: &Host) -> Finding {
    let found = format!("Linux {}", host.release);
    let mut numbers = host
        .release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => Finding::wrong(
            "kernel",
            format!("{found}; tcx links take {}.{}", OLDEST.0, OLDEST.1),
            "apt install -t bookworm-backports linux-image-amd64 && reboot",
        ),
        _ => Finding::ok("kernel", found),
    }
}

fn types(host: &Host) -> Finding {
    if host.has_btf {
        Finding::ok("btf", "the kernel has its types")
    } else {
        Finding::warning(
            "btf",
            "the kernel has no types (/sys/kernel/btf/vmlinux): maps cannot be dumped with names",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
        )
    }
}

fn file_system(host: &Host) -> Finding {
    if host.has_bpffs {
        Finding::ok("bpffs", "engine.pin_dir is on a BPF file system")
    } else {
        Finding::wrong(
            "bpffs",
            "engine.pin_dir is on no BPF file system",
            "mount -t bpf bpf /sys/fs/bpf",
        )
    }
}

fn compiler(is_on: bool) -> Finding {
    if is_on {
        Finding::ok("jit", "eBPF programs are compiled")
    } else {
        Finding::warning(
            "jit",
            "eBPF programs are interpreted, at several times the cost",
            "sysctl -w net.core.bpf_jit_enable=1",
        )
    }
}

fn capabilities(host: &Host, config: &Config) -> Finding {
    let mut needed = vec![
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
        Capability::CAP_PERFMON,
    ];
    if !config.engine.user.is_empty() {
        needed.extend([
            Capability::CAP_SETUID,
            Capability::CAP_SETGID,
            Capability::CAP_CHOWN,
        ]);
    }
    needed.retain(|capability| !host.capabilities.contains(capability));
    if needed.is_empty() {
        return Finding::ok("privileges", "what an engine has to be started with is there");
    }
    let missing: Vec<_> = needed.iter().map(ToString::to_string).collect();
    Finding::wrong(
        "privileges",
        format!(
            "this process lacks {}, which an engine is started with",
            missing.join(", ")
        ),
        "sudo portcullis doctor",
    )
}

fn memory(host: &Host, config: &Config) -> Finding {
    let frames = u64::from(config.limits.frames_per_queue) * 4096;
    let needed = frames.max(LOCKED_BYTES);
    let may_lift = [Capability::CAP_IPC_LOCK, Capability::CAP_SYS_RESOURCE]
        .iter()
        .any(|capability| host.capabilities.contains(capability));
    match host.locked_bytes {
        Some(limit) if limit < needed && !may_lift => Finding::wrong(
            "memlock",
            format!("{limit} bytes may be locked, the rings take about {needed}"),
            "ulimit -l unlimited",
        ),
        _ => Finding::ok("memlock", "the rings' memory can be locked"),
    }
}

fn sandbox(host: &Host) -> Finding {
    match (host.has_landlock, host.has_seccomp) {
        (true, true) => Finding::ok("sandbox", "the kernel has Landlock and seccomp"),
        (landlock, _) => Finding::warning(
            "sandbox",
            format!(
                "the kernel has no {}",
                if landlock { "seccomp" } else { "Landlock" }
            ),
            "use a kernel with CONFIG_SECURITY_LANDLOCK=y and CONFIG_SECCOMP_FILTER=y, and `landlock` in its `lsm=` parameter",
        ),
    }
}

fn clock(name: &str) -> Finding {
    if QUICK_CLOCKS.contains(&name) {
        Finding::ok("clock", name)
    } else {
        Finding::warning(
            "clock",
            format!("{name} is slow to read, which is done for every inspected packet"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    }
}

/// Only a gateway has to.
fn forwarding(host: &Host) -> Finding {
    for (at, key) in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
        .into_iter()
        .enumerate()
    {
        if !host.forwards[at] && host.serves_others[at] {
            return Finding::wrong(
                "forwarding",
                "a service is on another host, and packets are not forwarded",
                format!("sysctl -w {key}=1"),
            );
        }
    }
    Finding::ok(
        "forwarding",
        match host.forwards {
            [false, false] => "off: services of this host alone are reached",
            [true, true] => "on",
            [true, false] => "on for IPv4 alone",
            [false, true] => "on for IPv6 alone",
        },
    )
}
