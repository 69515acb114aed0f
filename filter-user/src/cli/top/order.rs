//! What an operator has done from the screen.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use anyhow::Context as _;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::{super::http::Http, ask::News, view::View};

/// How long a block from the screen lasts, seconds.
const BLOCK_S: u64 = 3_600;
/// Orders that may wait.
const WAITING: usize = 8;

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Block(IpNet),
    Unblock(IpNet),
    Allow(IpNet),
}

impl Order {
    /// As a question.
    pub(super) fn question(&self) -> String {
        format!("{self}? y/n")
    }

    fn send(self, http: &Http) -> anyhow::Result<Value> {
        match self {
            Self::Block(target) => {
                let block = json!({"target": target, "for_s": BLOCK_S, "reason": "portcullis top"});
                http.ask("POST", "/v1/blocks", &block.to_string())
            }
            Self::Unblock(target) => http.ask("DELETE", &format!("/v1/blocks/{target}"), ""),
            Self::Allow(target) => http.ask("POST", "/v1/allows", &json!({"target": target}).to_string()),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(target) => write!(f, "block {target} for an hour"),
            Self::Unblock(target) => write!(f, "end the block of {target}"),
            Self::Allow(target) => write!(f, "always let {target} pass"),
        }
    }
}

/// A thread that carries out orders, so that the screen does not wait for the engine.
#[derive(Debug)]
pub(super) struct Operator {
    orders: SyncSender<Order>,
}

impl Operator {
    pub(super) fn start(http: Arc<Http>, teller: SyncSender<News>) -> anyhow::Result<Self> {
        let (orders, waiting) = sync_channel::<Order>(WAITING);
        let work = move || {
            for order in waiting {
                let said = match order.send(&http) {
                    Ok(answer) => answer["message"].as_str().unwrap_or("done").to_owned(),
                    Err(error) => format!("{order}: {error}"),
                };
                if teller.send(News::Done(said)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("top-operator".into())
            .spawn(work)
            .context("starting a thread")?;
        Ok(Self { orders })
    }

    pub(super) fn carry_out(&self, order: Order, view: &mut View) {
        match self.orders.try_send(order) {
            Ok(()) => view.say(format!("{order} …")),
            Err(TrySendError::Full(_)) => {
                view.say("the engine still has orders to carry out: try again".into());
            }
            Err(TrySendError::Disconnected(_)) => {
                view.say("nobody carries out orders any more: start again".into());
            }
        }
    }
}
