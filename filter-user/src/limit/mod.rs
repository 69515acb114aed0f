//! Limits: how many requests of a kind a client may send in a window.

mod table;
pub mod window;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use filter_score::{PathPattern, RequestHead};

pub use table::{Counts, Outcome};
use window::Rate;

use crate::config::{self, LimitAction, LimitedService, Service};

/// A limit, ready to be asked.
#[derive(Debug)]
pub struct Limit {
    /// Counts belong to it: the same as long as name and rate are.
    pub id: u64,
    /// What operators call it.
    pub name: Arc<str>,
    /// What is too much.
    pub rate: Rate,
    /// What happens then.
    pub action: LimitAction,
    methods: Box<[String]>,
    paths: Box<[PathPattern]>,
}

impl Limit {
    fn new(limit: &config::Limit) -> Self {
        let mut id = DefaultHasher::new();
        (&limit.name, limit.requests, limit.window_s).hash(&mut id);
        Self {
            id: id.finish(),
            name: limit.name.as_str().into(),
            rate: Rate {
                requests: limit.requests,
                window_s: limit.window_s,
            },
            action: limit.action,
            methods: limit.methods.clone().into(),
            paths: limit.paths.iter().map(|path| path.value().clone()).collect(),
        }
    }

    /// Whether a request counts. A path that targets read differently may be any.
    #[must_use]
    pub fn is_about(&self, request: &RequestHead<'_>) -> bool {
        let method = || {
            self.methods
                .iter()
                .any(|method| method.as_bytes() == request.method)
        };
        let path = |path: &[u8]| self.paths.iter().any(|pattern| pattern.matches(path));
        (self.methods.is_empty() || method()) && (self.paths.is_empty() || request.path.is_none_or(path))
    }
}

/// The limits of each service.
#[derive(Debug, Default)]
pub struct Limits {
    /// By the service's number; 0 is none of them.
    of: Box<[Box<[Arc<Limit>]>]>,
}

impl Limits {
    /// `limits` as they are about each of `services`.
    #[must_use]
    pub fn new(limits: &[config::Limit], services: &[Service]) -> Self {
        let compiled: Vec<_> = limits
            .iter()
            .map(|limit| (*limit.service.value(), Arc::new(Limit::new(limit))))
            .collect();
        let about = |service: Option<&Service>| {
            let is_about = |wanted: LimitedService| match (wanted, service) {
                (LimitedService::Any, _) => true,
                (LimitedService::One(address, port), Some(service)) => {
                    (address, port) == (service.address, service.port)
                }
                (LimitedService::One(..), None) => false,
            };
            compiled
                .iter()
                .filter(|(wanted, _)| is_about(*wanted))
                .map(|(_, limit)| Arc::clone(limit))
                .collect()
        };
        Self {
            of: [None]
                .into_iter()
                .chain(services.iter().map(Some))
                .map(about)
                .collect(),
        }
    }

    /// The limits of the service with this number.
    #[must_use]
    pub fn of(&self, service: u16) -> &[Arc<Limit>] {
        self.of.get(usize::from(service)).map_or(&[], |limits| limits)
    }
}
