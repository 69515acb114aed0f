//! `portcullis events`

use std::io::{BufRead as _, Write};

use clap::Args;

use super::{Connection, audit::in_one_line, http::Http};

/// Show what happens, as it happens, until interrupted.
#[derive(Debug, Args)]
#[command(after_help = "Topics:
  verdicts  requests that are not simply allowed    config   reloads
  blocks    sources blocked, unblocked, allowed     workers  the second tier
  alerts    what goes wrong, and is right again     stats    rates and levels, once a second
  sources   reputations                             flows    packets dropped by the XDP program: a sample

Examples:
  sudo portcullis events --topics verdicts,blocks
  sudo portcullis events --client 192.0.2.0/24 --decision block --json | jq .")]
pub(super) struct Events {
    /// Only these, with commas between them [default: all but stats]
    #[arg(
        long,
        value_name = "TOPICS",
        default_value = "verdicts,blocks,alerts,sources,flows,config,workers",
        hide_default_value = true
    )]
    topics: String,
    /// Only about clients and sources in here: an address or a block of addresses
    #[arg(long, value_name = "TARGET")]
    client: Option<String>,
    /// Of requests, only those decided like this or worse
    #[arg(long, value_name = "DECISION", value_parser = ["allow", "suspicious", "block"])]
    decision: Option<String>,
    /// From behind the message with this number, as far as it is kept
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    /// Print the messages as they are: JSON
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut query = format!("topics={}", self.topics);
        let after = self.after.map(|after| after.to_string());
        for (key, value) in [
            ("client", &self.client),
            ("decision", &self.decision),
            ("after", &after),
        ] {
            if let Some(value) = value {
                query = format!("{query}&{key}={value}");
            }
        }
        anyhow::ensure!(
            query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'),
            "topics and clients have no such characters: {query}"
        );
        let stream = Http::of(connection)?.listen(&format!("/v1/events?{query}"))?;
        let mut left = self.count.unwrap_or(u64::MAX);
        for line in stream.lines() {
            let line = line?;
            let Some(text) = line.strip_prefix("data: ") else {
                continue;
            };
            if self.json {
                writeln!(out, "{text}")?;
            } else {
                writeln!(out, "{}", in_one_line(&serde_json::from_str(text)?))?;
            }
            out.flush()?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}
