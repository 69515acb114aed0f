//! What of another configuration a reload puts in force.

use super::{
    Api, Baseline, Config, ConfigError, Engine, Limits, Lists, Mistake, Report, Reputation, RulesFolder,
    Scoring, Service, validate,
};

impl Config {
    /// This configuration with what of `next` takes effect at once.
    #[must_use]
    pub fn reloaded(&self, next: &Self) -> Self {
        Self {
            profile: next.profile.clone(),
            engine: Engine {
                log: next.engine.log,
                ..self.engine.clone()
            },
            clients: next.clients.clone(),
            suspicious: next.suspicious.clone(),
            flood: next.flood.clone(),
            limits: Limits {
                body_bytes: next.limits.body_bytes,
                body_overflow: next.limits.body_overflow,
                decoded_bytes: next.limits.decoded_bytes,
                decoded_ratio: next.limits.decoded_ratio,
                decoded_overflow: next.limits.decoded_overflow,
                body_depth: next.limits.body_depth,
                body_values: next.limits.body_values,
                ..self.limits.clone()
            },
            rules: RulesFolder {
                folder: next.rules.folder.clone(),
                ..self.rules.clone()
            },
            scoring: Scoring {
                cache: self.scoring.cache,
                baseline: Baseline {
                    entries: self.scoring.baseline.entries,
                    ..next.scoring.baseline
                },
                ..next.scoring.clone()
            },
            deep: self.deep.clone(),
            response: self.response.clone(),
            reputation: Reputation {
                ipv6_prefix: self.reputation.ipv6_prefix,
                ..next.reputation.clone()
            },
            lists: Lists {
                never_block: self.lists.never_block.clone(),
                ..next.lists.clone()
            },
            report: Report {
                directory: next.report.directory.clone(),
                ..self.report.clone()
            },
            api: Api {
                tokens: next.api.tokens.clone(),
                tls: next.api.tls.clone(),
                ..self.api.clone()
            },
            events: self.events.clone(),
            audit: self.audit.clone(),
            alerts: self.alerts.clone(),
            history: self.history.clone(),
            service: self.reloaded_services(next),
            limit: next.limit.clone(),
            geo: next.geo.clone(),
            feed: next.feed.clone(),
        }
    }

    /// Whether `[lists]` fit what they are bounded by. A reload may bring longer ones with bounds that wait for a start.
    pub(crate) fn ensure_lists_fit(&self) -> Result<(), ConfigError> {
        let mistakes: Vec<_> = validate::list_findings(self)
            .into_iter()
            .map(|finding| Mistake {
                origin: "with what is in force until the next start".to_owned(),
                position: None,
                key: finding.key,
                message: finding.message,
                remedy: format!("{}, and start the engine again", finding.remedy),
            })
            .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ConfigError { mistakes })
    }

    /// Its services, each as it is now in what takes effect at once.
    fn reloaded_services(&self, next: &Self) -> Vec<Service> {
        let mut services = self.services();
        let others = next.services();
        for service in &mut services {
            let now = others
                .iter()
                .find(|other| (other.address, other.port) == (service.address, service.port));
            service.scoring = now.and_then(|now| now.scoring.clone());
            service.proxy_protocol = now.map_or_else(Default::default, |now| now.proxy_protocol);
        }
        if self.service.is_empty() && services == [Service::http()] {
            services.clear();
        }
        services
    }
}
