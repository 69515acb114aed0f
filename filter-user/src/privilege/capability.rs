//! The capabilities that an engine keeps.

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};

use crate::config::Config;

/// Only for loading programs: with it the verifier takes them as they are; without, it would forbid what reads the kernel's
/// addresses, and put barriers against speculation into them.
pub(super) const LOADING: Capability = Capability::CAP_PERFMON;

/// What an engine needs all its life.
const ALWAYS: [Capability; 3] = [
    // Maps are opened by their pins when queues are changed, and programs are loaded and linked.
    Capability::CAP_BPF,
    // XDP and tcx links, the devices of the way back and their settings, offloads and channels, at the end, too; busy polling.
    Capability::CAP_NET_ADMIN,
    // `AF_XDP` sockets, also of queues that are changed, or taken back from a successor.
    Capability::CAP_NET_RAW,
];

/// Ports below are the system's.
const FIRST_ORDINARY_PORT: u16 = 1024;

/// What the configuration takes, where locked memory is limited or is not.
pub(super) fn kept(config: &Config, memory_is_limited: bool) -> Vec<Capability> {
    let mut kept = ALWAYS.to_vec();
    kept.push(LOADING);
    if memory_is_limited {
        // The rings' packet memory.
        kept.push(Capability::CAP_IPC_LOCK);
    }
    let mut ports = config.api.listen.iter().map(std::net::SocketAddr::port);
    if config.api.enabled && ports.any(|port| port < FIRST_ORDINARY_PORT) {
        // A successor binds them when its predecessor has ended.
        kept.push(Capability::CAP_NET_BIND_SERVICE);
    }
    kept
}

/// Those that this process has not been given.
pub(super) fn lacking(kept: &[Capability]) -> anyhow::Result<Vec<Capability>> {
    let permitted = caps::read(None, CapSet::Permitted).context("cannot read this process's capabilities")?;
    let lacking = kept.iter().filter(|capability| !permitted.contains(capability));
    Ok(lacking.copied().collect())
}

/// Takes all others out of the bounding set, which takes the right to. Without it they stay there, out of reach without a new program.
pub(super) fn bound(kept: &[Capability]) {
    let others = caps::all()
        .into_iter()
        .filter(|capability| !kept.contains(capability));
    for capability in others {
        // This kernel may not know it.
        if caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false)
            && let Err(error) = caps::drop(None, CapSet::Bounding, capability)
        {
            tracing::debug!("{capability} stays in the bounding set: {error}");
        }
    }
}

/// Keeps these, and no others.
pub(super) fn keep(kept: &[Capability]) -> anyhow::Result<()> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Ambient)?;
    Ok(())
}

/// Gives one up.
pub(super) fn give_up(capability: Capability) -> anyhow::Result<()> {
    let given_up = || format!("cannot give up {capability}");
    caps::drop(None, CapSet::Effective, capability).with_context(given_up)?;
    caps::drop(None, CapSet::Permitted, capability).with_context(given_up)
}

pub(super) fn names(capabilities: &[Capability]) -> String {
    let names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ports_take_one_more() {
        let kept = |listen: &str| {
            let text = format!(
                "[api]\nlisten = ['{listen}']\ntokens = [{{ name = 'a', role = 'viewer', file = '/a' }}]\n"
            );
            kept(&Config::parse("a", &text, None, &[]).expect("valid"), false)
        };
        assert!(!kept("127.0.0.1:9100").contains(&Capability::CAP_NET_BIND_SERVICE));
        assert!(kept("127.0.0.1:443").contains(&Capability::CAP_NET_BIND_SERVICE));
    }
}
