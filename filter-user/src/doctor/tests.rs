//! Each check on facts that are made up.

use caps::Capability;

use super::{
    facts::{Directory, Engine, Host, Link},
    *,
};
use crate::{
    bpf::XdpMode,
    host::{Hindrance, Interface},
    privilege::Access,
};

/// A host on which nothing is to be said.
fn fit() -> Facts {
    Facts {
        host: Host {
            release: "6.12.48+deb13-amd64".into(),
            has_btf: true,
            has_bpffs: true,
            has_jit: Some(true),
            has_landlock: true,
            has_seccomp: true,
            clock: Some("tsc".into()),
            cpus: 4,
            capabilities: caps::all(),
            locked_bytes: None,
            forwards: [false, false],
            serves_others: [false, false],
            rp_filter: 0,
        },
        engine: Engine {
            runs: Some(true),
            links: vec!["link_xdp_eth0".into()],
            has_user: Some(true),
            has_systemd: true,
            unit: Some(true),
        },
        directories: vec![Directory {
            check: "state",
            key: "engine.state_dir",
            path: "/var/lib/portcullis".into(),
            access: Access::Writes,
        }],
        interfaces: vec![Link {
            name: "eth0".into(),
            interface: Ok(Interface {
                name: "eth0".into(),
                index: 2,
                address: [2, 0, 0, 0, 0, 1],
                mtu: 1500,
                queues: 4,
                up: true,
                is_promiscuous: false,
                is_veth: false,
                xdp_mode: Some(XdpMode::Native),
            }),
            driver: Some("ice".into()),
            hindrances: Vec::new(),
            rp_filter: 2,
            is_ours: true,
        }],
    }
}

fn config(text: &str) -> Config {
    Config::parse("a", text, None, &[]).expect("valid")
}

const USER: &str = "[engine]\nuser = 'portcullis'\n";

/// Changes facts, and looks for the only check that is not well: its name, its verdict and the beginning of what mends it.
fn says(change: impl FnOnce(&mut Facts), text: &str, wanted: (&str, Verdict, &str)) {
    let mut facts = fit();
    change(&mut facts);
    let mut findings = examine(&facts, &config(text));
    findings.retain(|finding| finding.verdict != Verdict::Ok);
    let [finding] = findings.as_slice() else {
        panic!("{wanted:?}: {findings:#?}");
    };
    let fix = finding.fix.as_deref().unwrap_or_default();
    assert_eq!(
        (finding.check, finding.verdict),
        (wanted.0, wanted.1),
        "{finding:?}"
    );
    assert!(fix.starts_with(wanted.2), "{fix}");
}

fn link(facts: &mut Facts) -> &mut Link {
    &mut facts.interfaces[0]
}

fn interface(facts: &mut Facts) -> &mut Interface {
    link(facts).interface.as_mut().expect("it is there")
}

#[test]
fn a_fit_host_is_fit() {
    let findings = examine(&fit(), &config(USER));
    assert!(
        findings
            .iter()
            .all(|finding| finding.verdict == Verdict::Ok && finding.fix.is_none())
    );
    assert!(findings.len() > 12, "{findings:#?}");
}

#[test]
fn the_kernel_and_the_process_are_judged() {
    use Verdict::{Warning, Wrong};
    says(
        |facts| facts.host.release = "6.1.0-25-amd64".into(),
        USER,
        ("kernel", Wrong, "apt "),
    );
    says(
        |facts| facts.host.has_btf = false,
        USER,
        ("btf", Warning, "use a kernel"),
    );
    says(
        |facts| facts.host.has_bpffs = false,
        USER,
        ("bpffs", Wrong, "mount -t bpf"),
    );
    says(
        |facts| facts.host.has_jit = Some(false),
        USER,
        ("jit", Warning, "sysctl -w net.core"),
    );
    says(
        |facts| facts.host.has_landlock = false,
        USER,
        ("sandbox", Warning, "use a kernel"),
    );
    says(
        |facts| facts.host.clock = Some("hpet".into()),
        USER,
        ("clock", Warning, "echo tsc"),
    );
    says(
        |facts| facts.host.serves_others = [true, false],
        USER,
        ("forwarding", Wrong, "sysctl -w net.ipv4.ip_forward=1"),
    );
    says(
        |facts| {
            facts.host.capabilities.remove(&Capability::CAP_SETUID);
        },
        USER,
        ("privileges", Wrong, "sudo "),
    );
    says(
        |facts| {
            facts.host.locked_bytes = Some(8 << 20);
            facts.host.capabilities.remove(&Capability::CAP_IPC_LOCK);
            facts.host.capabilities.remove(&Capability::CAP_SYS_RESOURCE);
        },
        USER,
        ("memlock", Wrong, "ulimit -l"),
    );
}

#[test]
fn engines_and_their_surroundings_are_judged() {
    use Verdict::{Warning, Wrong};
    says(
        |facts| facts.engine.runs = Some(false),
        USER,
        ("engine", Warning, "portcullis cleanup"),
    );
    says(
        |facts| facts.engine.runs = None,
        USER,
        ("engine", Warning, "sudo portcullis doctor"),
    );
    says(
        |facts| facts.engine.has_user = Some(false),
        USER,
        ("user", Wrong, "useradd --system"),
    );
    says(
        |facts| facts.engine.has_user = None,
        "",
        ("user", Warning, "useradd --system"),
    );
    says(
        |facts| facts.engine.unit = Some(false),
        USER,
        ("unit", Warning, "systemctl enable"),
    );
    says(
        |facts| facts.engine.unit = None,
        USER,
        ("unit", Warning, "cargo xtask package"),
    );
    says(
        |facts| facts.interfaces.clear(),
        USER,
        ("interface", Warning, "portcullis doctor"),
    );
}

#[test]
fn interfaces_are_judged() {
    use Verdict::{Warning, Wrong};
    let hindrance = |is_changeable| Hindrance {
        name: "rx-lro",
        is_changeable,
    };
    let keep = format!("{USER}offloads = 'keep'\n");
    says(
        |facts| link(facts).interface = Err("none".into()),
        USER,
        ("interface", Wrong, "ip link"),
    );
    says(
        |facts| interface(facts).up = false,
        USER,
        ("interface", Wrong, "ip link set dev eth0 up"),
    );
    says(
        |facts| link(facts).driver = None,
        USER,
        ("xdp", Warning, "portcullis run --xdp-mode generic"),
    );
    says(
        |facts| link(facts).is_ours = false,
        USER,
        ("program", Wrong, "ip link set dev eth0 xdpdrv off"),
    );
    says(
        |facts| link(facts).hindrances = vec![hindrance(true)],
        &keep,
        ("offloads", Warning, "ethtool -K eth0 rx-lro off"),
    );
    says(
        |facts| link(facts).hindrances = vec![hindrance(false)],
        USER,
        ("offloads", Warning, "ethtool -K eth0 rx-lro off"),
    );
    says(
        |facts| facts.host.cpus = 2,
        USER,
        ("queues", Warning, "ethtool -L eth0 combined 2"),
    );
    let more = format!("{USER}queues = 8\n");
    says(|_| {}, &more, ("queues", Wrong, "ethtool -L eth0 combined 8"));
    let fewer = format!("{USER}queues = 2\n");
    says(|_| {}, &fewer, ("queues", Warning, "ethtool -L eth0 combined 2"));
    says(
        |facts| (link(facts).rp_filter, facts.host.rp_filter) = (0, 1),
        USER,
        ("rp_filter", Warning, "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
    );
    // What the engine does itself is well.
    let replace = format!("{USER}replace_foreign = 'replace'\n");
    let mut facts = fit();
    link(&mut facts).is_ours = false;
    link(&mut facts).hindrances = vec![hindrance(true)];
    let findings = examine(&facts, &config(&replace));
    assert!(
        findings.iter().all(|finding| finding.verdict == Verdict::Ok),
        "{findings:#?}"
    );
}

#[test]
fn directories_have_to_be_the_engine_s() {
    let is = |access| move |facts: &mut Facts| facts.directories[0].access = access;
    for (access, verdict, fix) in [
        (
            Access::Missing,
            Verdict::Warning,
            "mkdir -p -m 0750 /var/lib/portcullis && chown portcullis ",
        ),
        (
            Access::OfRoot,
            Verdict::Warning,
            "chown portcullis /var/lib/portcullis",
        ),
        (
            Access::OfOther(7),
            Verdict::Wrong,
            "chown -R portcullis /var/lib/portcullis",
        ),
        (Access::NoDirectory, Verdict::Wrong, "mv /var/lib/portcullis "),
        (
            Access::Closed,
            Verdict::Wrong,
            "chmod u+rwx /var/lib/portcullis && chmod a+x /var/lib",
        ),
    ] {
        says(is(access), USER, ("state", verdict, fix));
    }
}
