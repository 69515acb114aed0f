//! One message.

use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::SystemTime};

use filter_score::Verdict;
use serde::Serialize;

use super::Topic;

/// One message, as all who listen get it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number. Those of a later message are larger, those of a later engine, too.
    pub sequence: u64,
    /// What it is about.
    pub topic: Topic,
    /// Whom, if it is about a client or a source.
    pub client: Option<IpAddr>,
    /// What was decided, if it is about a request.
    pub verdict: Option<Verdict>,
    /// The whole of it, a JSON object on one line.
    pub text: Arc<str>,
}

/// A message that has no number yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) topic: Topic,
    pub(super) client: Option<IpAddr>,
    pub(super) verdict: Option<Verdict>,
    /// When, RFC 3339.
    pub(super) time: String,
    /// A JSON object.
    pub(super) body: String,
}

impl Draft {
    /// `body` has to be an object.
    pub(super) fn new(topic: Topic, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_default();
        debug_assert!(body.starts_with('{'), "{body}");
        Self {
            topic,
            client: None,
            verdict: None,
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            body,
        }
    }

    pub(super) fn numbered(self, sequence: u64) -> Message {
        let Self {
            topic, time, body, ..
        } = &self;
        let mut text = String::with_capacity(body.len() + 96);
        // Writing to a string does not fail.
        let _ = write!(text, r#"{{"seq":{sequence},"topic":"{topic}","time":"{time}""#);
        match body.strip_prefix('{') {
            Some("}") | None => text.push('}'),
            Some(fields) => {
                text.push(',');
                text.push_str(fields);
            }
        }
        Message {
            sequence,
            topic: *topic,
            client: self.client,
            verdict: self.verdict,
            text: text.into(),
        }
    }
}
