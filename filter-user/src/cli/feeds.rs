//! `portcullis feeds`

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{
    Connection,
    connection::{print_json, unexpected},
    duration,
    plain::plain,
};
use crate::control::{FeedStatus, Request, Response};

/// List the feeds: when each was had, its entries and what is wrong with it; or fetch them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo portcullis feeds
  sudo portcullis feeds --refresh          # all of them
  sudo portcullis feeds --refresh drop")]
pub(super) struct Feeds {
    /// Fetch this one, or all, at once
    #[arg(long, value_name = "NAME")]
    #[expect(clippy::option_option, reason = "the option without a name means all")]
    refresh: Option<Option<String>>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Feeds {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        if let Some(name) = self.refresh {
            return connection.tell(&Request::RefreshFeeds { name }, self.json, out);
        }
        let feeds = match connection.ask(&Request::Feeds {})? {
            Response::Feeds { feeds } => feeds,
            other => return Err(unexpected(&other)),
        };
        if self.json {
            return print_json(out, &feeds);
        }
        writeln!(
            out,
            "{:<24} {:<6} {:>8} {:>9} {:>8} {:>8} {:>10} {:>10}  SOURCE",
            "FEED", "ACTION", "ENTRIES", "PROTECTED", "TOO WIDE", "NO ROOM", "ASKED", "HAD"
        )?;
        feeds.iter().try_for_each(|feed| print(feed, out))
    }
}

fn print(feed: &FeedStatus, out: &mut dyn Write) -> anyhow::Result<()> {
    let ago = |time: Option<u64>| match time {
        Some(time) => duration::show_seconds(now().saturating_sub(time)),
        None => "never".to_owned(),
    };
    writeln!(
        out,
        "{:<24} {:<6} {:>8} {:>9} {:>8} {:>8} {:>10} {:>10}  {}",
        feed.name,
        feed.action,
        feed.entries,
        feed.protected,
        feed.too_wide,
        feed.no_room,
        ago(feed.last_run_s),
        ago(feed.last_success_s),
        feed.source
    )?;
    if let Some(error) = &feed.error {
        writeln!(out, "  {}", plain(error))?;
    }
    Ok(())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
