//! `[[limit]]`: how many requests of a kind a client may send.

use std::{fmt, net::SocketAddr};

use filter_score::PathPattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Address,
    engine::keyword,
    exclusion::{FromText, Written},
};

/// Requests that a client may send in a window. All conditions that are given must hold; of a list, one element.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What it is called in logs; each has another name.
    pub name: String,
    /// The service that the requests are for.
    #[serde(default = "any_service")]
    pub service: Written<LimitedService>,
    /// Methods, in capitals; empty: any.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The request's path, decoded and normalised: a folder, or a pattern with `*` and `?`; empty: any.
    #[serde(default)]
    pub paths: Vec<Written<PathPattern>>,
    /// Requests of one client in a window.
    pub requests: u32,
    /// Seconds of a window.
    pub window_s: u32,
    /// What becomes of further ones.
    #[serde(default)]
    pub action: LimitAction,
}

keyword! {
    /// What becomes of a request beyond a limit.
    #[derive(Default)]
    LimitAction {
        /// A page with that status, and `Retry-After`.
        #[default]
        TooMany = "429",
        /// The same as of an attack: it is an offence.
        Block = "block",
        /// It goes on, and is logged.
        Log = "log",
    }
}

/// The service of a limit: `"any"`, or the address and port of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedService {
    /// All of them.
    Any,
    /// This one.
    One(Address, u16),
}

fn any_service() -> Written<LimitedService> {
    Written::new("any", LimitedService::Any)
}

impl FromText for LimitedService {
    const EXPECTED: &str =
        "\"any\" or a service such as \"192.0.2.1:80\", \"[2001:db8::1]:80\" or \"any:80\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some(port) = text.strip_prefix("any:").and_then(|port| port.parse().ok()) {
            return Ok(Self::One(Address::Any, port));
        }
        text.parse::<SocketAddr>()
            .map(|socket| Self::One(Address::Ip(socket.ip().to_canonical()), socket.port()))
            .map_err(|_| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

impl fmt::Display for LimitedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One(Address::Ip(ip), port) => write!(f, "{}", SocketAddr::new(*ip, *port)),
            Self::One(Address::Any, port) => write!(f, "any:{port}"),
        }
    }
}
