//! Rules of iptables in a lab's gateway.

use anyhow::{Context as _, Result};
use xtask::lab::{Lab, namespace};

/// Adds rules of the table `filter` to those of the gateway; a line is what follows `iptables`.
pub(crate) fn add(lab: &Lab, rules: &[String]) -> Result<()> {
    for rule in rules {
        let mut command = lab.gateway().command("iptables-legacy");
        namespace::run(command.args(rule.split_whitespace())).with_context(|| format!("iptables {rule}"))?;
    }
    Ok(())
}

/// Whether a program has bound an `NFQUEUE`.
pub(crate) fn has_queue(lab: &Lab, queue: u16) -> bool {
    let read = || std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue");
    let text = lab
        .gateway()
        .enter(read)
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default();
    text.lines().any(|line| {
        let number = line.split_whitespace().next();
        number.and_then(|number| number.parse().ok()) == Some(queue)
    })
}
