//! Rules and the configuration's policies, compiled together: what the scoring engine works by.

use std::{collections::HashMap, sync::Arc};

use filter_common::Address;
use filter_score::{Policies, Tuning};

use crate::{
    config::{self, Config, ConfigError, Inspect, Origin, Service},
    rules::Rules,
};

/// Rules and policies that fit each other.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The rules, and which they are.
    pub rules: Rules,
    /// The policies: the general one, and one for each service that was asked for, in its order.
    pub policies: Arc<Policies>,
}

impl Tuned {
    /// Loads the rules and the model of a configuration and compiles its policies for `services`, which may be those of an
    /// older configuration: one that is not in this one falls under the general policy. Where the model cannot be used, that of
    /// the rules `before` stays, see [`Rules::with_model`].
    ///
    /// # Errors
    ///
    /// [`RulesError`](crate::rules::RulesError) and [`ConfigError`], each with all mistakes.
    pub fn load(
        config: &Config,
        origin: &Origin,
        services: &[Service],
        before: Option<&Rules>,
    ) -> anyhow::Result<Self> {
        let rules = Rules::with_model(&config.scoring, config.rules.folder.as_deref(), before)?;
        Self::of(rules, config, origin, services)
    }

    /// The same with rules that are loaded.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all mistakes.
    pub fn of(rules: Rules, config: &Config, origin: &Origin, services: &[Service]) -> anyhow::Result<Self> {
        let general = config.tuning(&config.scoring);
        let places: Vec<_> = services
            .iter()
            .map(|wanted| {
                config
                    .service
                    .iter()
                    .position(|service| (service.address, service.port) == (wanted.address, wanted.port))
            })
            .collect();
        let tunings: Vec<Option<Tuning>> = places
            .iter()
            .map(|place| {
                let changes = config.service[(*place)?].scoring.as_ref()?;
                Some(config.tuning(&changes.over(&config.scoring)))
            })
            .collect();
        let shared = general.exclusions.len();
        let compiled = Policies::compile(Arc::clone(&rules.set), &general, &tunings);
        match compiled {
            Ok(policies) => Ok(Self {
                rules,
                policies: Arc::new(policies.noting_heads(!config.limit.is_empty())),
            }),
            Err(errors) => {
                let located = errors.into_iter().filter_map(|(number, error)| {
                    // The general exclusions are also those of each service; their mistakes are told once.
                    let (table, at) = match number.checked_sub(1) {
                        None => ("scoring".to_owned(), error.exclusion),
                        Some(service) => (
                            format!("service.{}.scoring", places[service]?),
                            error.exclusion.checked_sub(shared)?,
                        ),
                    };
                    let element = error.element.map(|(list, at)| format!(".{list}.{at}"));
                    let key = format!("{table}.exclusions.{at}{}", element.unwrap_or_default());
                    Some(origin.mistake(&key, error.message, error.remedy))
                });
                let mut mistakes: Vec<_> = located.collect();
                mistakes.sort_by_key(|mistake| mistake.position);
                Err(ConfigError { mistakes }.into())
            }
        }
    }
}

/// Which policy holds for a flow, by where it goes: its service's number, counted from 1; 0 is the general one.
#[derive(Debug, Clone, Default)]
pub struct ServiceNumbers {
    exact: HashMap<(Address, u16), Numbered>,
    any: HashMap<u16, Numbered>,
}

#[derive(Debug, Clone, Copy)]
struct Numbered {
    number: u16,
    inspected: bool,
}

impl ServiceNumbers {
    /// The numbers of `services`, in their order.
    #[must_use]
    pub fn new(services: &[Service]) -> Self {
        let mut numbers = Self::default();
        for (number, service) in (1..).zip(services) {
            let numbered = Numbered {
                number,
                inspected: service.inspect != Inspect::None,
            };
            match service.address {
                config::Address::Any => numbers.any.insert(service.port, numbered),
                config::Address::Ip(ip) => numbers.exact.insert((ip.into(), service.port), numbered),
            };
        }
        numbers
    }

    /// The number for a destination. A service of this very address comes before one of any.
    #[must_use]
    pub fn of(&self, address: Address, port: u16) -> u16 {
        self.find(address, port).map_or(0, |service| service.number)
    }

    /// Whether a destination is a service, and one that is inspected.
    #[must_use]
    pub fn inspects(&self, address: Address, port: u16) -> bool {
        self.find(address, port).is_some_and(|service| service.inspected)
    }

    fn find(&self, address: Address, port: u16) -> Option<Numbered> {
        let exact = self.exact.get(&(address, port));
        exact.or_else(|| self.any.get(&port)).copied()
    }
}

#[cfg(test)]
mod tests {
    use filter_score::Mode;

    use super::*;

    const EXCLUSION: &str = "[[scoring.exclusions]]\nreason = 'x'\n";
    const SERVICES: &str = "[[service]]\nport = 80\n[[service]]\nport = 81\naddress = '192.0.2.1'\n";

    /// What comes of a configuration file, with three small rules.
    fn load(text: &str) -> anyhow::Result<Tuned> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("p.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::create_dir(dir.path().join("packs")).expect("a directory");
        let rule = |id: u32, family: &str| {
            format!(
                "[[rule]]\nid = {id}\nfamily = \"{family}\"\nmessage = \"m\"\nseverity = \"error\"\ntargets = [\"inputs\"]\n\
                 regex = 'abc'\nsamples.match = [\"abc\", \"xabc\"]\nsamples.pass = [\"c\", \"d\"]\n"
            )
        };
        let pack = rule(100_110, "sqli") + &rule(100_210, "xss") + &rule(100_220, "ssti");
        std::fs::write(dir.path().join("packs/pack.toml"), pack).expect("written");
        let packs = config::Override::option("--set", "scoring.rules", "packs");
        let origin = Origin::read(Some(&file), &[packs])?;
        let config = origin.config()?;
        Tuned::load(&config, &origin, &config.services(), None)
    }

    #[test]
    fn mistakes_that_show_only_with_the_rules_have_their_line() {
        for (text, place, remedy) in [
            (
                format!("{EXCLUSION}rules = [7]\n"),
                "p.toml:3:10: scoring.exclusions.0.rules.0: there is no rule 7",
                "rules list",
            ),
            (
                format!("{EXCLUSION}rules = [100110]\n{EXCLUSION}\ntags = ['nothing']\n"),
                "p.toml:7:9: scoring.exclusions.1.tags.0: no rule has the tag",
                "rules list",
            ),
            (
                EXCLUSION.to_owned(),
                "p.toml:1:1: scoring.exclusions.0: it has no conditions",
                "name `rules`",
            ),
            (
                format!("{EXCLUSION}paths = ['/']\n"),
                "p.toml:1:1: scoring.exclusions.0: it excludes everything",
                "narrow it",
            ),
            (
                "[[scoring.exclusions]]\nrules = [100110]\n".to_owned(),
                "p.toml:1:1: scoring.exclusions.0: no reason",
                "add `reason",
            ),
            (
                format!(
                    "{EXCLUSION}rules = [100110]\n{SERVICES}scoring.exclusions = [{{ reason = 'y', rules = [8] }}]\n"
                ),
                ": service.1.scoring.exclusions.0.rules.0: there is no rule 8",
                "rules list",
            ),
        ] {
            let error = load(&text).map(|_| ()).expect_err(&text).to_string();
            assert!(
                error.contains(place) && error.contains(remedy),
                "{text}\n  wanted {place}\n  got {error}"
            );
            assert_eq!(
                error.matches("fix:").count(),
                1,
                "one error for one mistake: {error}"
            );
        }
    }

    #[test]
    fn the_examples_of_the_documentation_are_right() {
        let text = include_str!("../../docs/rules.md");
        let examples: Vec<_> = text.split("```toml config\n").skip(1).collect();
        assert!(examples.len() >= 3);
        for example in examples {
            let example = example.split("```").next().expect("it ends");
            load(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        }
    }

    #[test]
    fn services_differ_where_they_say_so() {
        let text =
            format!("[scoring]\nanomaly = 9\n{SERVICES}scoring = {{ mode = 'detect', paranoia = 2 }}\n");
        let policies = load(&text).expect("right").policies;
        let [general, first, second] = [0, 1, 2].map(|number| *policies.policy(number));
        assert_eq!(first, general);
        assert_eq!(
            (general.mode, general.anomaly, general.paranoia),
            (Mode::Block, 9, 1)
        );
        assert_eq!(
            (second.mode, second.anomaly, second.paranoia),
            (Mode::Detect, 9, 2)
        );
        assert_eq!(second.detect_paranoia, 2);
    }

    #[test]
    fn the_nearest_service_counts() {
        let config = Config::parse(
            "f",
            "[[service]]\nport = 80\n[[service]]\nport = 80\naddress = '192.0.2.1'\n[[service]]\nport = 81\naddress = '192.0.2.1'\n",
            None,
            &[],
        )
        .expect("valid");
        let numbers = ServiceNumbers::new(&config.services());
        let of = |address: &str, port| {
            numbers.of(
                Address::from(address.parse::<std::net::IpAddr>().expect("an address")),
                port,
            )
        };
        assert_eq!(of("192.0.2.1", 80), 2);
        assert_eq!(of("192.0.2.2", 80), 1);
        assert_eq!(of("192.0.2.1", 81), 3);
        assert_eq!(of("192.0.2.2", 81), 0);
        assert_eq!(of("2001:db8::1", 80), 1);
    }
}
