//! Which messages a listener wants.

use filter_score::Verdict;
use ipnet::IpNet;

use super::{Message, Topic};
use crate::config::parse_cidr;

/// Which messages a listener wants. All that is said has to hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// About these; empty: about anything.
    pub topics: Vec<Topic>,
    /// About clients and sources in here.
    pub clients: Option<IpNet>,
    /// About requests only, and not about anything else that the topic has.
    pub requests: bool,
    /// Of requests, those that were decided like this or worse.
    pub at_least: Option<Verdict>,
}

/// What makes no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(String);

impl Filter {
    /// From words as they stand in a URL or a command: topics with commas between them, an address or a block of addresses, and
    /// `suspicious` or `block`.
    ///
    /// # Errors
    ///
    /// When one of them is none of these.
    pub fn parse(
        topics: Option<&str>,
        client: Option<&str>,
        decision: Option<&str>,
    ) -> Result<Self, FilterError> {
        let topics = topics
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(FilterError)?;
        let clients = client
            .map(parse_cidr)
            .transpose()
            .map_err(|error| FilterError(error.to_string()))?;
        let at_least = match decision {
            None | Some("allow") => None,
            Some("suspicious") => Some(Verdict::Suspicious),
            Some("block") => Some(Verdict::Block),
            Some(other) => {
                return Err(FilterError(format!(
                    "`{other}` is no decision; there are allow, suspicious and block"
                )));
            }
        };
        Ok(Self {
            topics,
            clients,
            requests: false,
            at_least,
        })
    }

    /// Whether a message is wanted.
    #[must_use]
    pub fn wants(&self, message: &Message) -> bool {
        let about = self.topics.is_empty() || self.topics.contains(&message.topic);
        let of = self
            .clients
            .is_none_or(|net| message.client.is_some_and(|client| net.contains(&client)));
        // What is not about a request has no decision, and is not kept back.
        let decided = match (self.at_least, message.verdict) {
            (Some(least), Some(verdict)) => verdict >= least,
            _ => true,
        };
        about && of && decided && (!self.requests || message.verdict.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: Topic, client: Option<&str>, verdict: Option<Verdict>) -> Message {
        Message {
            sequence: 0,
            topic,
            client: client.map(|client| client.parse().expect("an address")),
            verdict,
            text: "{}".into(),
        }
    }

    #[test]
    fn wants_what_was_asked_for() {
        let blocked = message(Topic::Verdicts, Some("192.0.2.7"), Some(Verdict::Block));
        let noted = message(Topic::Verdicts, Some("2001:db8::7"), Some(Verdict::Suspicious));
        let stats = message(Topic::Stats, None, None);
        for (topics, client, decision, expected) in [
            (None, None, None, [true, true, true]),
            (Some(""), None, Some("allow"), [true, true, true]),
            (Some("verdicts"), None, None, [true, true, false]),
            (Some("stats, blocks"), None, None, [false, false, true]),
            (None, Some("192.0.2.0/24"), None, [true, false, false]),
            (None, Some("2001:db8::7"), None, [false, true, false]),
            (None, None, Some("block"), [true, false, true]),
            (
                Some("verdicts"),
                Some("192.0.2.0/24"),
                Some("suspicious"),
                [true, false, false],
            ),
        ] {
            let filter = Filter::parse(topics, client, decision).expect("a filter");
            let wanted = [&blocked, &noted, &stats].map(|message| filter.wants(message));
            assert_eq!(wanted, expected, "{topics:?} {client:?} {decision:?}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (topics, client, decision, word) in [
            (Some("verdict"), None, None, "there are verdicts, blocks"),
            (None, Some("192.0.2.0/40"), None, "192.0.2.0/40"),
            (None, None, Some("deny"), "allow, suspicious and block"),
        ] {
            let error = Filter::parse(topics, client, decision)
                .expect_err("no filter")
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
