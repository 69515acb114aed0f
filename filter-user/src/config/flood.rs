//! `[flood]`: how much may come, from one source and from all together.

use filter_common::{
    challenge::ChallengeSettings,
    flood::{FloodLimits, PerClass},
    limit::{Limit, SharedLimit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Findings;

/// The largest rate, in tokens a second: intervals are whole nanoseconds.
const MAX_RATE: u32 = 100_000_000;
/// A burst is at least what comes in a tick of the kernel's coarse clock, 10 ms where it is longest: one part in so many
/// of a second's.
const TICKS_PER_SECOND: u32 = 100;

const SECOND_NS: u64 = 1_000_000_000;

/// Limits in the XDP program, before anything is inspected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flood {
    /// The prefix length that stands for one IPv4 source; that of IPv6 is `reputation.ipv6_prefix`.
    pub ipv4_prefix: u8,
    /// Strays, of all sources together: segments to services that are inspected whole, that neither open a flow nor belong to
    /// a known one.
    pub strays: Rate,
    /// For each source.
    pub source: SourceRates,
    /// For all sources together.
    pub total: TotalRates,
    /// What happens while too many SYNs come.
    pub challenge: Challenge,
}

/// Sources of SYNs to inspected services have to prove that they exist, while too many come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Challenge {
    /// SYNs a second above which it begins; 0: never.
    pub syns: u32,
    /// SYNs a second above which it goes on; unset: half of `syns`.
    pub keep_syns: Option<u32>,
    /// Seconds that it goes on after they were last so many.
    pub hold_s: u32,
    /// Seconds for which a source stays proven.
    pub proven_s: u32,
}

/// A limit for each class of packets. The two sets of limits differ in their defaults alone.
macro_rules! rates {
    ($(#[$doc:meta])* $name:ident: $inspected:literal, $icmp:literal, $reflection:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// All packets.
            pub packets: Rate,
            /// SYNs.
            pub syns: Rate,
            /// Flows that the engine has not seen before.
            pub flows: Rate,
            /// Packets that go to the engine.
            pub inspected: Rate,
            /// UDP.
            pub udp: Rate,
            /// ICMP.
            pub icmp: Rate,
            /// UDP from ports that reflectors answer from.
            pub reflection: Rate,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    packets: Rate::default(),
                    syns: Rate::default(),
                    flows: Rate::default(),
                    inspected: Rate::of($inspected),
                    udp: Rate::default(),
                    icmp: Rate::of($icmp),
                    reflection: Rate::of($reflection),
                }
            }
        }

        impl $name {
            fn classes(&self) -> PerClass<Rate> {
                PerClass {
                    packets: self.packets,
                    syns: self.syns,
                    flows: self.flows,
                    inspected: self.inspected,
                    udp: self.udp,
                    icmp: self.icmp,
                    reflection: self.reflection,
                }
            }
        }
    };
}

rates! {
    /// Limits for each source.
    SourceRates: 200_000, 10_000, 20_000
}

rates! {
    /// Limits for all sources together.
    TotalRates: 0, 100_000, 100_000
}

/// So many a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// A second; 0: no limit.
    pub rate: u32,
    /// At once; unset: what comes in one second.
    pub burst: Option<u32>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            ipv4_prefix: 32,
            strays: Rate {
                rate: 5_000,
                burst: Some(20_000),
            },
            source: SourceRates::default(),
            total: TotalRates::default(),
            challenge: Challenge::default(),
        }
    }
}

impl Default for Challenge {
    fn default() -> Self {
        Self {
            syns: 50_000,
            keep_syns: None,
            hold_s: 10,
            proven_s: 300,
        }
    }
}

impl Challenge {
    /// The challenge as the XDP program takes it, on a machine with so many CPUs, with a secret key.
    #[must_use]
    pub fn settings(&self, cpus: u32, key: [u64; 2]) -> ChallengeSettings {
        let keep = self.keep_syns.unwrap_or(self.syns.div_ceil(2));
        ChallengeSettings {
            above: SharedLimit::per_second(self.syns, self.syns, cpus),
            keep: SharedLimit::per_second(keep, keep, cpus),
            hold_ns: u64::from(self.hold_s) * SECOND_NS,
            proof_ns: u64::from(self.proven_s) * SECOND_NS,
            key,
        }
    }

    fn check(&self, findings: &mut Findings) {
        findings.range("flood.challenge.syns", self.syns, 0..=MAX_RATE);
        if let Some(keep) = self.keep_syns
            && (keep == 0 || keep > self.syns)
        {
            findings.add(
                "flood.challenge.keep_syns",
                format!("{keep} is not between 1 and syns = {}", self.syns),
                "use a lower rate than `syns`, or leave it out for the half",
            );
        }
        findings.range("flood.challenge.hold_s", self.hold_s, 1..=86_400);
        findings.range("flood.challenge.proven_s", self.proven_s, 1..=86_400);
    }
}

impl Rate {
    fn of(rate: u32) -> Self {
        Self { rate, burst: None }
    }

    fn burst(self) -> u32 {
        self.burst.unwrap_or(self.rate)
    }

    fn check(self, key: &str, findings: &mut Findings) {
        findings.range(&format!("{key}.rate"), self.rate, 0..=MAX_RATE);
        let Some(burst) = self.burst else { return };
        let key = format!("{key}.burst");
        let least = self.rate.div_ceil(TICKS_PER_SECOND);
        if self.rate == 0 {
            findings.add(
                key,
                "a burst without a rate limits nothing",
                "add `rate`, or leave `burst` out",
            );
        } else if burst < least {
            findings.add(
                key,
                format!("{burst} is less than what comes in 10 ms at rate = {}", self.rate),
                format!(
                    "use {least} or more: time is counted in ticks of the kernel, which are up to so long"
                ),
            );
        }
    }
}

impl Flood {
    /// The limits as the XDP program takes them, on a machine with so many CPUs.
    #[must_use]
    pub fn limits(&self, cpus: u32) -> FloodLimits {
        let shared = |rate: Rate| SharedLimit::per_second(rate.rate, rate.burst(), cpus);
        let source = self.source.classes();
        FloodLimits::new(
            self.ipv4_prefix,
            source.map(|rate| Limit::per_second(rate.rate, rate.burst())),
            self.total.classes().map(shared),
        )
        .with_strays(shared(self.strays))
    }

    /// What is wrong with them.
    pub(super) fn check(&self, findings: &mut Findings) {
        findings.range("flood.ipv4_prefix", self.ipv4_prefix, 8..=32);
        self.strays.check("flood.strays", findings);
        for (table, rates) in [
            ("flood.source", self.source.classes()),
            ("flood.total", self.total.classes()),
        ] {
            rates.each(|name, rate| rate.check(&format!("{table}.{name}"), findings));
        }
        self.challenge.check(findings);
    }
}

#[cfg(test)]
mod tests {
    use filter_common::flood::Class;

    use super::*;

    #[test]
    fn defaults_leave_tcp_alone_but_for_strays_and_the_inspection_budget() {
        let limits = Flood::default().limits(2);
        let reflected = Class::Icmp.bit() | Class::Reflection.bit();
        assert_eq!(limits.source_on, Class::Inspected.bit() | reflected);
        assert_eq!(limits.total_on, reflected);
        assert_eq!(limits.source.inspected, Limit::per_second(200_000, 200_000));
        assert_eq!(limits.strays, SharedLimit::per_second(5_000, 20_000, 2));
    }
}
