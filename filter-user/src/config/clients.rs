//! `[clients]`: who the client of a request is where a proxy stands in front of the service.

use std::fmt;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{cidr, engine::keyword};

/// Whose word on the client of a connection or request counts, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Proxies whose word counts. Their addresses are never blocked.
    #[serde(with = "cidr::list")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name the client.
    pub client_header: ClientHeader,
}

keyword! {
    /// Whether connections to a service begin with a header of the PROXY protocol.
    #[derive(Default)]
    ProxyProtocol {
        /// Such a header is scored like any other bytes.
        #[default]
        Off = "off",
        /// Those of trusted proxies may.
        Accept = "accept",
        /// All have to, and only trusted proxies may connect.
        Require = "require",
    }
}

/// The header in which proxies name the client; names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientHeader {
    /// None.
    None,
    /// `X-Forwarded-For`: a list, the nearest hop last.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list, the nearest hop last.
    Forwarded,
    /// A header with one address, such as `X-Real-IP`.
    Single(String),
}

impl fmt::Display for ClientHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::Single(name) => name,
        })
    }
}

impl Serialize for ClientHeader {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientHeader {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?.to_ascii_lowercase();
        Ok(match text.as_str() {
            "none" => Self::None,
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::Single(text),
        })
    }
}
