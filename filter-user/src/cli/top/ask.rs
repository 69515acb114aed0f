//! Asks the engine, for as long as the screen is there.

use std::{
    io::{BufRead as _, Read as _},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    super::http::Http,
    board::{MAX_BLOCKS, MAX_REQUESTS},
};
use crate::{
    alert::Alert,
    control::{BlockEntry, SourceRisk, Status},
    trend::Point,
};

/// News that may wait for the screen; then the asking waits.
pub(super) const WAITING: usize = 1024;
/// The longest message, bytes.
const MAX_MESSAGE: u64 = 1 << 20;
/// Between two attempts to reach an engine.
const RETRY: Duration = Duration::from_secs(1);
/// What is listened to.
const EVENTS: &str = "/v1/events?topics=stats,verdicts,blocks,alerts";

/// What the screen gets to know.
#[derive(Debug)]
pub(super) enum News {
    /// How the engine has done, oldest first.
    History(Vec<Point>),
    /// How it is.
    Levels(Box<Levels>),
    /// What has happened, as `/v1/events` tells it.
    Message(Value),
    /// No engine answers, and why.
    Gone(String),
    /// What became of an order.
    Done(String),
}

/// What is asked for again each second.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) status: Status,
    pub(super) sources: Vec<SourceRisk>,
    /// A page of at most [`MAX_BLOCKS`].
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) alerts: Vec<Alert>,
}

pub(super) fn channel() -> (SyncSender<News>, Receiver<News>) {
    sync_channel(WAITING)
}

/// All that a screen needs.
pub(super) fn all(http: &Http) -> anyhow::Result<Vec<News>> {
    let mut news = vec![
        levels(http)?,
        News::History(part(http, "/v1/history?resolution=second", "points")?),
    ];
    let requests: Vec<Value> = part(http, &format!("/v1/requests?limit={MAX_REQUESTS}"), "requests")?;
    news.extend(requests.into_iter().rev().map(News::Message));
    Ok(news)
}

fn levels(http: &Http) -> anyhow::Result<News> {
    let status = http.get("/v1/stats")?;
    Ok(News::Levels(Box::new(Levels {
        status: serde_json::from_value(status).context("/v1/stats is not as this program knows it")?,
        sources: part(http, "/v1/sources?limit=50", "sources")?,
        blocks: part(http, &format!("/v1/blocks?limit={MAX_BLOCKS}"), "blocks")?,
        alerts: part(http, "/v1/alerts", "alerts")?,
    })))
}

/// A field of an answer.
fn part<T: DeserializeOwned>(http: &Http, target: &str, key: &str) -> anyhow::Result<T> {
    let value = http.get(target)?[key].take();
    serde_json::from_value(value).with_context(|| {
        format!(
            "{target} is not as this program knows it\n  fix: use the program of the running engine's version"
        )
    })
}

/// Asks and listens on a thread of its own, which ends with the receiver.
pub(super) fn keep_asking(http: Arc<Http>, teller: SyncSender<News>) -> anyhow::Result<()> {
    let asking = move || {
        loop {
            let Err(error) = listen(&http, &teller) else {
                return;
            };
            if teller.send(News::Gone(format!("{error:#}"))).is_err() {
                return;
            }
            thread::sleep(RETRY);
        }
    };
    thread::Builder::new()
        .name("top-ask".into())
        .spawn(asking)
        .context("starting a thread")?;
    Ok(())
}

/// Ends well when nobody wants news any more.
fn listen(http: &Http, teller: &SyncSender<News>) -> anyhow::Result<()> {
    // Listening comes first, so that nothing is missed; what is heard twice has the same number.
    let mut stream = http.listen(EVENTS)?;
    for news in all(http)? {
        if teller.send(news).is_err() {
            return Ok(());
        }
    }
    let mut line = String::new();
    loop {
        line.clear();
        let count = stream.by_ref().take(MAX_MESSAGE).read_line(&mut line)?;
        ensure!(count > 0, "the engine has ended");
        ensure!(line.ends_with('\n'), "the engine sends a message without an end");
        let Some(text) = line.strip_prefix("data: ") else {
            continue;
        };
        let message: Value = serde_json::from_str(text)?;
        let is_second = message["topic"] == "stats";
        if teller.send(News::Message(message)).is_err() {
            return Ok(());
        }
        if is_second && teller.send(levels(http)?).is_err() {
            return Ok(());
        }
    }
}
