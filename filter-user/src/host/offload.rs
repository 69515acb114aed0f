//! Offloads that hinder XDP: what joins packets before the programs see them, and what takes VLAN tags out of them.
//!
//! | feature | what it does |
//! |---|---|
//! | `rx-lro` | the NIC joins packets, for good: what is sent on is not what came |
//! | `rx-gro-hw` | the NIC joins packets so that they can be cut again; many drivers refuse XDP with it |
//! | `rx-vlan-hw-parse`, `rx-vlan-stag-hw-parse` | the NIC takes tags out of the frame, where neither mode of XDP finds them |
//!
//! The kernel's own joining (`rx-gro`) is none of them: it comes after native XDP, and the kernel leaves it out where generic XDP
//! is attached. On the servers' side of a bridge in generic mode, where no XDP is, it saves much work, and the stack cuts what it
//! has joined.

use super::{
    Interface,
    features::{Features, switch},
    record::Record,
};

/// What is switched off, by the kernel's names.
const HINDERING: [&str; 4] = ["rx-lro", "rx-gro-hw", "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// Whether an engine may have switched off this feature.
pub(super) fn is_known(feature: &str) -> bool {
    HINDERING.contains(&feature)
}

/// Switches off what hinders and is on, and notes it in the record first. Returns what is off now because of it.
pub(super) async fn switch_off(interface: &Interface, record: &mut Record) -> Vec<String> {
    let name = &interface.name;
    let found = on(interface).await;
    let (wanted, fixed): (Vec<_>, Vec<_>) = found.iter().partition(|feature| feature.is_changeable);
    warn_of(
        name,
        fixed.into_iter().map(|feature| feature.name),
        "cannot be switched off",
    );
    if wanted.is_empty() {
        return Vec::new();
    }
    let wanted: Vec<String> = wanted
        .into_iter()
        .map(|feature| feature.name.to_owned())
        .collect();
    let before = record.changed().clone();
    let mut noted = before.clone();
    noted.features.extend(wanted.iter().cloned());
    record.note(noted);
    if let Err(error) = switch(interface.index, &wanted, false).await {
        tracing::warn!("cannot switch off {} of {name}: {error}", wanted.join(", "));
    }
    let left = on(interface).await;
    let (refused, off): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|feature| left.iter().any(|left| left.name == feature));
    warn_of(
        name,
        refused.iter().map(String::as_str),
        "stay on, although the driver says that they can be switched off",
    );
    let mut noted = before;
    noted.features.extend(off.iter().cloned());
    record.note(noted);
    off
}

/// Warns of what hinders and is on.
pub(super) async fn warn_of_those_on(interface: &Interface) {
    let on = on(interface).await;
    warn_of(&interface.name, on.iter().map(|feature| feature.name), "are on");
}

/// Switches these features on again. Returns whether they are.
pub(super) async fn switch_on(interface: &Interface, features: Vec<String>) -> bool {
    if features.is_empty() {
        return true;
    }
    let name = &interface.name;
    let result = switch(interface.index, &features, true).await;
    let now = match result {
        Ok(()) => Features::of(name).await,
        Err(error) => Err(error),
    };
    let left: Vec<_> = match now {
        Ok(now) => features.iter().filter(|feature| !now.is_on(feature)).collect(),
        Err(error) => {
            tracing::warn!("{name}: {error}");
            features.iter().collect()
        }
    };
    for feature in &left {
        tracing::warn!(
            "{feature} of {name} is still off; switch it on with `ethtool -K {name} {feature} on`"
        );
    }
    left.is_empty()
}

/// An offload that is on and hinders XDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// The kernel's name for it.
    pub name: &'static str,
    /// Whether it can be switched off, as far as the kernel knows.
    pub is_changeable: bool,
}

async fn on(interface: &Interface) -> Vec<Hindrance> {
    hindrances(&interface.name).await
}

/// What hinders and is on at the interface `name`.
pub async fn hindrances(name: &str) -> Vec<Hindrance> {
    let features = match Features::of(name).await {
        Ok(features) => features,
        Err(error) => {
            tracing::warn!("cannot ask for the offloads of {name}: {error}");
            return Vec::new();
        }
    };
    HINDERING
        .into_iter()
        .filter(|name| features.is_on(name))
        .map(|name| Hindrance {
            name,
            is_changeable: features.is_changeable(name),
        })
        .collect()
}

fn warn_of<'a>(interface: &str, features: impl Iterator<Item = &'a str>, what: &str) {
    let features: Vec<_> = features.collect();
    if features.is_empty() {
        return;
    }
    let off: Vec<_> = features.iter().map(|feature| format!("{feature} off")).collect();
    tracing::warn!(
        "offloads of {interface} {what}: {}; packets may be joined or lose their VLAN tags before they are seen: try \
         `ethtool -K {interface} {}`, or the driver's own settings",
        features.join(", "),
        off.join(" ")
    );
}
