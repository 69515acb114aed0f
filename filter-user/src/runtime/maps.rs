//! Configuration into maps.

use std::collections::HashSet;

use anyhow::Context as _;
use filter_common::{
    Address,
    block::Block,
    service::{Service, ServiceKey},
    settings::Settings,
};
use ipnet::IpNet;

use super::queues;
use crate::{
    bpf::{Prefix, TableError, Tables, monotonic_ns},
    config::{self, Config, FailurePolicy, Forward, FragmentPolicy, Inspect, Lists, Suspicious, VlanPolicy},
    control::Protected,
    host::Interface,
};

/// One drop in this many is reported; a power of two.
const SAMPLE: u32 = 64;

/// Services and lists into their maps. What an earlier configuration put there and this one does not is removed;
/// what operators have blocked and allowed, blocks by reputation, and what was put there by hand stay.
///
/// A block list that would hit a protected address is refused.
pub(super) fn fill(tables: &mut Tables, config: &Config, protected: &Protected) -> anyhow::Result<()> {
    for net in &config.lists.block {
        protected
            .check(net)
            .map_err(|refusal| anyhow::anyhow!("lists.block: {refusal}\n  fix: {}", refusal.remedy))?;
    }
    tables.set_services(&services(config))?;
    tables.set_allowed_by_configuration(&config.lists.allow.iter().map(prefix).collect())?;
    let watch: HashSet<_> = config.lists.watch.iter().map(prefix).collect();
    for stale in tables
        .watched()
        .into_iter()
        .filter(|prefix| !watch.contains(prefix))
    {
        tables.unwatch(stale)?;
    }
    watch.into_iter().try_for_each(|prefix| tables.watch(prefix))?;
    fill_blocks(tables, &config.lists.block)?;
    Ok(())
}

fn fill_blocks(tables: &mut Tables, nets: &[IpNet]) -> Result<(), TableError> {
    let wanted: HashSet<_> = nets.iter().map(prefix).collect();
    let stale: Vec<_> = tables
        .blocked()
        .filter(|(prefix, block)| block.reason == Block::REASON_CONFIGURATION && !wanted.contains(prefix))
        .map(|(prefix, _)| prefix)
        .collect();
    for prefix in stale {
        tables.unblock(prefix)?;
    }
    let block = Block {
        since_ns: monotonic_ns(),
        reason: Block::REASON_CONFIGURATION,
        ..Block::default()
    };
    let there: HashSet<_> = tables
        .blocked()
        .filter(|(_, block)| block.reason == Block::REASON_CONFIGURATION)
        .map(|(prefix, _)| prefix)
        .collect();
    wanted
        .into_iter()
        .filter(|prefix| !there.contains(prefix))
        .try_for_each(|prefix| tables.block(prefix, block))
}

/// Changes the lists of one configuration into those of another. What operators and others have put there stays.
pub(super) fn change_lists(tables: &mut Tables, before: &Lists, next: &Lists) -> Result<(), TableError> {
    let change = |before: &[IpNet], next: &[IpNet]| {
        let (before, next): (HashSet<_>, HashSet<_>) = (
            before.iter().map(prefix).collect(),
            next.iter().map(prefix).collect(),
        );
        let went: Vec<_> = before.difference(&next).copied().collect();
        let came: Vec<_> = next.difference(&before).copied().collect();
        (went, came)
    };
    if before.allow != next.allow {
        tables.set_allowed_by_configuration(&next.allow.iter().map(prefix).collect())?;
    }
    let (went, came) = change(&before.watch, &next.watch);
    went.into_iter()
        .try_for_each(|prefix| tables.unwatch(prefix).map(drop))?;
    came.into_iter().try_for_each(|prefix| tables.watch(prefix))?;
    if before.block == next.block {
        return Ok(());
    }
    fill_blocks(tables, &next.block)
}

fn services(config: &Config) -> Vec<(ServiceKey, Service)> {
    let mut entries: Vec<(ServiceKey, Service)> = Vec::new();
    for (index, service) in config.services().into_iter().enumerate() {
        let address = match service.address {
            config::Address::Any => Address::default(),
            config::Address::Ip(ip) => ip.into(),
        };
        let inspect = match service.inspect {
            Inspect::None => Service::INSPECT_NONE,
            Inspect::Suspicious => Service::INSPECT_SUSPICIOUS,
            Inspect::All => Service::INSPECT_ALL,
        };
        let value = Service {
            inspect,
            index: index as u32,
        };
        entries.push((ServiceKey::new(address, service.port), value));
        // Fragments have no ports: the strictest service of the address counts for them.
        let whole = ServiceKey::new(address, 0);
        match entries.iter_mut().find(|(key, _)| *key == whole) {
            Some((_, strictest)) if strictest.inspect < inspect => *strictest = value,
            Some(_) => {}
            None => entries.push((whole, value)),
        }
    }
    entries
}

/// The settings of the XDP program; their generation is one more than that of those in force.
pub(super) fn settings(
    config: &Config,
    interfaces: &[Interface],
    tables: &Tables,
) -> anyhow::Result<Settings> {
    let cpus = cpus()?;
    let generation = tables.settings()?.generation.checked_add(1).unwrap_or(1);
    let random = || getrandom::u64().context("cannot get random bytes for the key of challenges");
    let key = [random()?, random()?];
    Ok(Settings {
        generation,
        on_failure: on_failure(config),
        heartbeat_timeout_ns: u64::from(config.limits.heartbeat_timeout_ms) * 1_000_000,
        credits: config.limits.credits_per_queue(),
        vlan: match (config.engine.vlan, config.engine.forward) {
            (VlanPolicy::Drop, _) => Settings::VLAN_DROP,
            (VlanPolicy::Auto, Forward::Bridge) => Settings::VLAN_INSPECT,
            (VlanPolicy::Auto | VlanPolicy::Pass, _) => Settings::VLAN_PASS,
        },
        fragments: match config.engine.fragments {
            FragmentPolicy::Drop => Settings::FRAGMENTS_DROP,
            FragmentPolicy::Pass => Settings::FRAGMENTS_PASS,
            FragmentPolicy::Inspect => Settings::FRAGMENTS_INSPECT,
        },
        triggers: triggers(&config.suspicious),
        new_source_requests: config.suspicious.new_source_requests,
        soft_limit: config.suspicious.soft_limit_rps,
        sample_mask: SAMPLE - 1,
        frame_bytes: queues::frame_bytes(interfaces),
        forward: match config.engine.forward {
            Forward::Host if interfaces.len() > 1 => Settings::FORWARD_SEVERAL,
            Forward::Host => Settings::FORWARD_HOST,
            Forward::Bridge => Settings::FORWARD_BRIDGE,
        },
        clients: match config.engine.forward {
            Forward::Host => 0,
            Forward::Bridge => interfaces.first().map_or(0, |clients| clients.index),
        },
        source_mask: Address::v6([0xff; 16]).masked_v6(config.reputation.ipv6_prefix),
        flood: config.flood.limits(cpus),
        challenge: config.flood.challenge.settings(cpus, key),
    })
}

/// What becomes of what cannot be inspected.
pub(super) fn on_failure(config: &Config) -> u32 {
    match config.engine.on_failure {
        FailurePolicy::Drop => Settings::FAIL_DROP,
        FailurePolicy::Pass => Settings::FAIL_PASS,
    }
}

/// The settings in force, with what a reload takes of a configuration. The key of challenges stays: sources are answering them.
pub(super) fn reloaded(config: &Config, in_force: &Settings) -> anyhow::Result<Settings> {
    let cpus = cpus()?;
    let changed = Settings {
        triggers: triggers(&config.suspicious),
        new_source_requests: config.suspicious.new_source_requests,
        soft_limit: config.suspicious.soft_limit_rps,
        flood: config.flood.limits(cpus),
        challenge: config.flood.challenge.settings(cpus, in_force.challenge.key),
        ..*in_force
    };
    Ok(if changed == *in_force {
        changed
    } else {
        Settings {
            generation: in_force.generation.checked_add(1).unwrap_or(1),
            ..changed
        }
    })
}

fn cpus() -> anyhow::Result<u32> {
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))?;
    Ok(cpus as u32)
}

fn triggers(suspicious: &Suspicious) -> u32 {
    let Suspicious {
        new_source_requests,
        reputation,
        watch,
        soft_limit_rps,
        prescreen,
        odd_packets,
    } = *suspicious;
    [
        (new_source_requests > 0, Settings::TRIGGER_NEW),
        (reputation, Settings::TRIGGER_REPUTATION),
        (watch, Settings::TRIGGER_WATCH),
        (soft_limit_rps > 0, Settings::TRIGGER_SOFT_LIMIT),
        (prescreen, Settings::TRIGGER_PRESCREEN),
        (odd_packets, Settings::TRIGGER_ODD),
    ]
    .into_iter()
    .fold(0, |bits, (on, bit)| if on { bits | bit } else { bits })
}

/// The maps' form of a CIDR block.
pub(super) fn prefix(net: &IpNet) -> Prefix {
    Prefix {
        address: net.network(),
        length: net.prefix_len(),
    }
}

#[cfg(test)]
mod tests {
    use filter_common::challenge::ChallengeSettings;

    use super::*;

    #[test]
    fn a_reload_changes_limits_and_nothing_that_is_under_way() {
        let config = |text: &str| Config::parse("test", text, None, &[]).expect("valid");
        let in_force = Settings {
            generation: 7,
            on_failure: Settings::FAIL_PASS,
            challenge: ChallengeSettings {
                key: [1, 2],
                ..ChallengeSettings::default()
            },
            ..Settings::default()
        };
        let first = reloaded(&config(""), &in_force).expect("CPUs");
        assert_eq!(first.generation, 8);
        assert_eq!(
            reloaded(&config(""), &first).expect("CPUs"),
            first,
            "the same again"
        );
        let text = "[engine]\non_failure = \"drop\"\n[flood.source]\nsyns = { rate = 5 }\n[suspicious]\nsoft_limit_rps = 9\n";
        let next = reloaded(&config(text), &first).expect("CPUs");
        assert_eq!((next.generation, next.soft_limit), (9, 9));
        assert_ne!(next.flood, first.flood);
        assert_eq!(next.challenge, first.challenge);
        assert_eq!(
            (next.challenge.key, next.on_failure),
            ([1, 2], Settings::FAIL_PASS)
        );
    }

    #[test]
    fn fragments_follow_the_strictest_service_of_an_address() {
        let text = "[[service]]\naddress = \"192.0.2.1\"\nport = 80\ninspect = \"none\"\n\
                    [[service]]\naddress = \"192.0.2.1\"\nport = 81\ninspect = \"all\"\n\
                    [[service]]\naddress = \"192.0.2.1\"\nport = 82\ninspect = \"suspicious\"\n";
        let config = Config::parse("test", text, None, &[]).expect("valid");
        let entries = services(&config);
        let whole: Vec<_> = entries.iter().filter(|(key, _)| key.port == 0).collect();
        assert_eq!(entries.len(), 4);
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].1.inspect, Service::INSPECT_ALL);
    }
}
