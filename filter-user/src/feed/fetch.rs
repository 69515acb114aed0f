//! Fetching a feed: from a file, or over HTTP without what has not changed.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::{
    Agent, ResponseExt as _,
    http::{StatusCode, header},
};

use super::FeedError;
use crate::config::{Feed, FeedSource};

/// How long the whole of a fetch may take: a feed waits for those before it.
const TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS: u32 = 3;
/// The longest header that is remembered, in bytes.
const MAX_VALIDATOR: usize = 1024;

/// By what a server tells that a feed has not changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It has not changed.
    Same,
    /// It has, or nobody knows.
    New(Vec<u8>, Validators),
}

/// Who fetches.
#[derive(Debug, Clone)]
pub struct Fetcher {
    timeout: Duration,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { timeout: TIMEOUT }
    }
}

impl Fetcher {
    /// With another time that a fetch may take.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Fetches a feed of which these validators are known. Its size and checksum are right.
    ///
    /// # Errors
    ///
    /// When it cannot be had, or is not what it should be.
    pub fn fetch(&self, feed: &Feed, known: &Validators) -> Result<Fetched, FeedError> {
        let fetched = match &feed.source {
            FeedSource::File(path) => Fetched::New(read(path, feed.max_bytes)?, Validators::default()),
            FeedSource::Url(url) => self.get(url, feed, known)?,
        };
        if let (Fetched::New(bytes, _), Some(expected)) = (&fetched, &feed.sha256) {
            let sum = checksum(bytes);
            if !sum.eq_ignore_ascii_case(expected) {
                return Err(FeedError::Checksum(sum));
            }
        }
        Ok(fetched)
    }

    fn get(&self, url: &str, feed: &Feed, known: &Validators) -> Result<Fetched, FeedError> {
        let failed = |error: ureq::Error| match error {
            ureq::Error::BodyExceedsLimit(_) => FeedError::TooLarge(feed.max_bytes),
            // Nothing of the URL that may be secret.
            error => FeedError::Http(error.to_string().replace(url, &feed.source.masked().to_string())),
        };
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .max_redirects(REDIRECTS)
            // No redirect leads out of it.
            .https_only(url.starts_with("https://"))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut request = agent.get(url);
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(time) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, time);
        }
        let mut response = request.call().map_err(failed)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Same);
        }
        if response.status() != StatusCode::OK {
            let message = format!("the server answered {}", response.status());
            return Err(FeedError::Http(message));
        }
        let header = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            (value.len() <= MAX_VALIDATOR).then(|| value.to_owned())
        };
        let validators = Validators {
            etag: header(header::ETAG),
            last_modified: header(header::LAST_MODIFIED),
        };
        tracing::debug!(
            "feed {}: {} from {}",
            feed.name,
            response.status(),
            response.get_uri().host().unwrap_or_default()
        );
        let body = response
            .body_mut()
            .with_config()
            .limit(u64::from(feed.max_bytes) + 1);
        let bytes = body.read_to_vec().map_err(failed)?;
        if bytes.len() > feed.max_bytes as usize {
            return Err(FeedError::TooLarge(feed.max_bytes));
        }
        Ok(Fetched::New(bytes, validators))
    }
}

fn read(path: &Path, most: u32) -> Result<Vec<u8>, FeedError> {
    let failed = |source| FeedError::File {
        path: path.to_owned(),
        source,
    };
    // Reading a pipe could wait for ever.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(u64::from(most) + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > most as usize {
        return Err(FeedError::TooLarge(most));
    }
    Ok(bytes)
}

/// SHA-256, in hexadecimal.
pub(super) fn checksum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
