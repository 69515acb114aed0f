//! `[[service]]`: what is inspected, and `[suspicious]`: what counts as a reason to look.

use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    Allow, Exclusion, Mode, ProxyProtocol, RequestLimits, Scoring, ServiceBaseline, engine::keyword,
};

/// One protected service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The address clients connect to.
    #[serde(default)]
    pub address: Address,
    /// The TCP port clients connect to.
    pub port: u16,
    /// Which of its flows are inspected.
    #[serde(default)]
    pub inspect: Inspect,
    /// Whether its connections begin with a header of the PROXY protocol.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// How its requests are judged, where that differs from `[scoring]`.
    pub scoring: Option<ServiceScoring>,
}

/// What is different for one service; what is not given is as in `[scoring]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceScoring {
    /// Whether decisions are carried out.
    pub mode: Option<Mode>,
    /// The score from which a request is suspicious, 0..1.
    pub suspicious: Option<f64>,
    /// The score from which a request is blocked, 0..1.
    pub block: Option<f64>,
    /// The sum of rule severities from which a request is blocked.
    pub anomaly: Option<u32>,
    /// Rules up to this paranoia level (1 to 4) count.
    pub paranoia: Option<u8>,
    /// Rules above `paranoia` and up to this level are reported, but do not count.
    pub detect_paranoia: Option<u8>,
    /// What is learnt of its parameters.
    pub baseline: ServiceBaseline,
    /// Hits that do not count here, beside those that do not count anywhere.
    pub exclusions: Vec<Exclusion>,
    /// What requests may be.
    pub allow: Allow,
    /// How large the parts of a request may be.
    pub limits: RequestLimits,
}

impl ServiceScoring {
    /// `[scoring]` with these changes.
    #[must_use]
    pub fn over(&self, general: &Scoring) -> Scoring {
        let Self {
            mode,
            suspicious,
            block,
            anomaly,
            paranoia,
            detect_paranoia,
            baseline,
            exclusions,
            allow,
            limits,
        } = self;
        Scoring {
            mode: mode.unwrap_or(general.mode),
            suspicious: suspicious.unwrap_or(general.suspicious),
            block: block.unwrap_or(general.block),
            anomaly: anomaly.unwrap_or(general.anomaly),
            paranoia: paranoia.unwrap_or(general.paranoia),
            detect_paranoia: detect_paranoia.or(general.detect_paranoia.filter(|level| {
                // A service may count more than is detected elsewhere.
                paranoia.is_none_or(|paranoia| *level >= paranoia)
            })),
            baseline: baseline.over(general.baseline),
            exclusions: [&general.exclusions[..], exclusions].concat(),
            allow: allow.over(&general.allow),
            limits: limits.over(&general.limits),
            ..general.clone()
        }
    }
}

impl Service {
    /// Cleartext HTTP on any address: what is inspected when no service is configured.
    #[must_use]
    pub fn http() -> Self {
        Self {
            address: Address::Any,
            port: 80,
            inspect: Inspect::All,
            proxy_protocol: ProxyProtocol::Off,
            scoring: None,
        }
    }
}

keyword! {
    /// Which flows of a service are inspected.
    #[derive(Default)]
    Inspect {
        /// Every flow.
        #[default]
        All = "all",
        /// Those for which a trigger of `[suspicious]` fires.
        Suspicious = "suspicious",
        /// None: only addresses and rates are checked.
        None = "none",
    }
}

/// The address of a service: `"any"` or an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Address {
    /// Every address, IPv4 and IPv6.
    #[default]
    Any,
    /// This one.
    Ip(IpAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?;
        if text == "any" {
            return Ok(Self::Any);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() => Ok(Self::Ip(ip.to_canonical())),
            Ok(_) => Err(D::Error::custom(format!(
                "`{text}` is no address of a service; write \"any\""
            ))),
            Err(_) => Err(D::Error::custom(format!(
                "`{text}` is neither \"any\" nor an IP address"
            ))),
        }
    }
}

/// What makes a flow of an `inspect = "suspicious"` service worth a look. Each trigger can be switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent switch of the configuration"
)]
pub struct Suspicious {
    /// The first so many requests of a new source are inspected; 0: off.
    pub new_source_requests: u32,
    /// The source has reputation points.
    pub reputation: bool,
    /// The source is on `lists.watch`.
    pub watch: bool,
    /// The source sends more requests per second than this; 0: off.
    pub soft_limit_rps: u32,
    /// The head of the first payload fails the XDP program's cheap look.
    pub prescreen: bool,
    /// The packet is a fragment or carries unusual TCP options.
    pub odd_packets: bool,
}

impl Default for Suspicious {
    fn default() -> Self {
        Self {
            new_source_requests: 3,
            reputation: true,
            watch: true,
            soft_limit_rps: 100,
            prescreen: true,
            odd_packets: true,
        }
    }
}
