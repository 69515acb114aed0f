//! The configuration: one TOML file with profiles, the environment over it, and `--set` over that.
//!
//! Every key has a default, unknown keys are errors, and all mistakes are reported at once, each with
//! its line and a remedy. [`INITIAL`] is the commented file that `portcullis config init` writes.

mod alerts;
mod api;
mod audit;
mod baseline;
mod cidr;
mod clients;
mod decision;
mod deep;
mod difference;
mod document;
mod effect;
mod engine;
mod environment;
mod events;
mod exclusion;
mod feed;
mod flat;
mod flood;
mod geo;
mod history;
mod interfaces;
mod layers;
mod limit;
mod limits;
mod lists;
mod mistake;
mod origin;
mod overrides;
mod profile;
mod reloaded;
mod schema;
mod service;
#[cfg(test)]
mod tests;
mod validate;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use layers::Layers;

pub use alerts::{Alerts, Threshold};
pub use api::{Api, CheckApi, Role, Tls, Token};
pub use audit::Audit;
pub use baseline::{Baseline, BaselineMode, ServiceBaseline};
pub use cidr::{CidrError, overlap, parse as parse_cidr, short as short_cidr};
pub use clients::{ClientHeader, Clients, ProxyProtocol};
pub use decision::{
    Allow, Mode, ModelSource, Reputation, RequestLimits, Respond, Response, RulesFolder, RulesSource, Scoring,
};
pub use deep::{Deep, Workers};
pub use difference::{Change, Difference};
pub use effect::Effect;
pub use engine::{
    Engine, FailurePolicy, ForeignProgram, Forward, FragmentPolicy, Idle, Level, Offloads, Poll, Queues,
    Scheduling, VlanPolicy, XdpMode,
};
pub use environment::environment;
pub use events::Events;
pub use exclusion::{Exclusion, FromText, RuleIds, Written};
pub use feed::{Feed, FeedAction, FeedFormat, FeedSource, GEO};
pub use flood::{Challenge, Flood, Rate, SourceRates, TotalRates};
pub use geo::Geo;
pub use history::History;
pub use interfaces::Interfaces;
pub use layers::Source;
pub use limit::{Limit, LimitAction, LimitedService};
pub use limits::{Limits, Overflow};
pub use lists::{Lists, Report};
pub use mistake::{ConfigError, Mistake};
pub use origin::Origin;
pub use overrides::Override;
pub use schema::{keys, schema};
pub use service::{Address, Inspect, Service, ServiceScoring, Suspicious};
pub use validate::MAX_PAGE_BYTES;

/// A commented configuration with every key at its default.
pub const INITIAL: &str = include_str!("initial.toml");

/// Where the configuration is looked for when `--config` is not given; it need not exist.
pub const DEFAULT_PATH: &str = "/etc/portcullis/portcullis.toml";

/// The most services one engine protects.
pub const MAX_SERVICES: usize = 1024;

/// The largest configuration file read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The profile that holds, built in or of `[profiles]`; unset: none.
    pub profile: Option<String>,
    /// Where the engine attaches, and how its threads run.
    pub engine: Engine,
    /// Who the client of a request is.
    pub clients: Clients,
    /// What makes a flow worth a look.
    pub suspicious: Suspicious,
    /// How much may come.
    pub flood: Flood,
    /// The bounds of everything that grows.
    pub limits: Limits,
    /// Rules beside those of `scoring.rules`.
    pub rules: RulesFolder,
    /// How requests are judged.
    pub scoring: Scoring,
    /// The second look at requests that are merely suspicious.
    pub deep: Deep,
    /// What the ends of a blocked flow get.
    pub response: Response,
    /// How blocked requests add up to a blocked source.
    pub reputation: Reputation,
    /// Addresses that are settled beforehand.
    pub lists: Lists,
    /// What the engine reports by itself.
    pub report: Report,
    /// What programs ask the engine over HTTP.
    pub api: Api,
    /// What the engine tells as it happens.
    pub events: Events,
    /// The log of decisions that matter.
    pub audit: Audit,
    /// When the engine says that something is wrong.
    pub alerts: Alerts,
    /// Snapshots of how it has done.
    pub history: History,
    /// The protected services; see [`Config::services`].
    pub service: Vec<Service>,
    /// Requests that a client may send.
    pub limit: Vec<Limit>,
    /// Blocks by country and by network operator.
    pub geo: Geo,
    /// Lists of addresses that others keep.
    pub feed: Vec<Feed>,
}

impl Config {
    /// Reads `path` and puts `overrides` over it. Without a path, [`DEFAULT_PATH`] is read if it exists.
    ///
    /// Relative paths in the configuration are relative to the directory of its file.
    pub fn load(path: Option<&Path>, overrides: &[Override]) -> Result<Self, ConfigError> {
        Origin::read(path, overrides)?.config()
    }

    /// Reads a configuration from text. `name` stands for it in messages, `base` is what its relative
    /// paths start from.
    pub fn parse(
        name: &str,
        text: &str,
        base: Option<&Path>,
        overrides: &[Override],
    ) -> Result<Self, ConfigError> {
        let layers = Layers::new(name, text, overrides)?;
        let mut config = layers.config()?;
        if let Some(base) = base {
            config.resolve_paths(base);
        }
        let mut mistakes: Vec<_> = validate::findings(&config)
            .into_iter()
            .map(|finding| layers.mistake(&finding.key, finding.message, finding.remedy))
            .collect();
        if mistakes.is_empty() {
            return Ok(config);
        }
        mistakes.sort_by_key(|mistake| mistake.position);
        Err(ConfigError { mistakes })
    }

    /// The protected services: those configured, or HTTP on any address if there are none.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        if self.service.is_empty() {
            vec![Service::http()]
        } else {
            self.service.clone()
        }
    }

    /// How requests are judged under `scoring`, the general one or a service's, as the scoring engine takes it.
    #[must_use]
    pub fn tuning(&self, scoring: &Scoring) -> filter_score::Tuning {
        scoring.tuning(&self.limits, self.deep.enabled)
    }

    /// The interfaces to filter, which only running an engine needs.
    pub fn interfaces(&self) -> Result<&Interfaces, ConfigError> {
        self.engine.interface.as_ref().ok_or_else(|| {
            ConfigError::from(Mistake {
                origin: "portcullis".to_owned(),
                position: None,
                key: "engine.interface".to_owned(),
                message: "no interface is named".to_owned(),
                remedy: "add `--iface eth0`, or `interface = \"eth0\"` under [engine]; `ip link` lists them"
                    .to_owned(),
            })
        })
    }

    /// The effective configuration as TOML.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "cannot panic, as the expect says")]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field of the configuration has a TOML form")
    }

    fn resolve_paths(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        if let RulesSource::Directory(path) = &mut self.scoring.rules {
            resolve(path);
        }
        if let ModelSource::File(path) = &mut self.scoring.model {
            resolve(path);
        }
        if let Some(path) = &mut self.rules.folder {
            resolve(path);
        }
        if let Some(path) = &mut self.response.page {
            resolve(path);
        }
        resolve(&mut self.report.directory);
        resolve(&mut self.audit.directory);
        resolve(&mut self.history.directory);
        for path in [&mut self.geo.database, &mut self.geo.asn_database]
            .into_iter()
            .flatten()
        {
            resolve(path);
        }
        for feed in &mut self.feed {
            if let FeedSource::File(path) = &mut feed.source {
                resolve(path);
            }
        }
        for token in &mut self.api.tokens {
            resolve(&mut token.file);
        }
        let Tls { certificate, key } = &mut self.api.tls;
        for path in [certificate, key].into_iter().flatten() {
            resolve(path);
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() && metadata.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "it is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    std::fs::read_to_string(path)
}
