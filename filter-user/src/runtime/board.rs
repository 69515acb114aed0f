//! What others see of the feeds, and ask of the thread that keeps them.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc::Sender};

use crate::{
    config::Config,
    control::{FeedStatus, Refusal, RefusalCode},
};

/// What others ask of the thread.
pub(super) enum Order {
    /// Another configuration is in force.
    Configure(Box<Config>),
    /// Fetch at once: one feed, or all.
    Refresh(Option<String>),
}

/// What others see of the feeds.
#[derive(Default)]
pub(super) struct Board {
    statuses: Mutex<Vec<FeedStatus>>,
    orders: Mutex<Option<Sender<Order>>>,
}

impl Board {
    pub(super) fn statuses(&self) -> MutexGuard<'_, Vec<FeedStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that takes orders from now on; none if it ends.
    pub(super) fn employ(&self, orders: Option<Sender<Order>>) {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = orders;
    }

    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    /// Each feed, in the order of the configuration.
    pub(super) fn all(&self) -> Vec<FeedStatus> {
        self.statuses().clone()
    }

    /// Another configuration is in force.
    pub(super) fn configure(&self, config: &Config) {
        self.order(Order::Configure(Box::new(config.clone())));
    }

    /// Has one feed or all fetched at once. Returns how many.
    pub(super) fn refresh(&self, name: Option<&str>) -> Result<u64, Refusal> {
        let count = self
            .statuses()
            .iter()
            .filter(|status| name.is_none_or(|name| status.name == name))
            .count() as u64;
        if count == 0 {
            let message = match name {
                Some(name) => format!("there is no feed {name}"),
                None => "there are no feeds".to_owned(),
            };
            return Err(Refusal::new(
                RefusalCode::NotFound,
                message,
                "`portcullis feeds` lists them",
            ));
        }
        if self.order(Order::Refresh(name.map(str::to_owned))) {
            return Ok(count);
        }
        Err(Refusal::new(
            RefusalCode::Failed,
            "the thread that fetches feeds has ended",
            "see the engine's log",
        ))
    }
}
