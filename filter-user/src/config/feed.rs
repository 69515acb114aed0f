//! `[[feed]]`: lists of addresses that others keep, from a file or over HTTPS.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{engine::keyword, validate::Findings};

/// Feeds at most; each is a file and a row of metrics.
const MAX_FEEDS: usize = 64;
/// The largest feed, in bytes: it is in memory while it is read.
const MAX_BYTES: u32 = 256 << 20;
/// What `[geo]` is called among feeds.
pub const GEO: &str = "geo";

/// A list of addresses that others keep. Its entries stay as long as it has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// What it is called; each has another name.
    pub name: String,
    /// Where it is: a file, or a URL that begins with `https://`.
    pub source: FeedSource,
    /// How it is written.
    #[serde(default)]
    pub format: FeedFormat,
    /// Seconds between looks at it.
    #[serde(default = "refresh_s")]
    pub refresh_s: u32,
    /// Entries at most; a feed with more is not taken. `limits.max_list_entries` bounds all together.
    #[serde(default = "max_entries")]
    pub max_entries: u32,
    /// Bytes at most; a feed with more is not taken.
    #[serde(default = "max_bytes")]
    pub max_bytes: u32,
    /// Bits that the prefix of an IPv4 entry has at least; what is wider is left out.
    #[serde(default = "min_prefix_ipv4")]
    pub min_prefix_ipv4: u8,
    /// The same of IPv6.
    #[serde(default = "min_prefix_ipv6")]
    pub min_prefix_ipv6: u8,
    /// The checksum that it must have, in hexadecimal; unset: any.
    pub sha256: Option<String>,
    /// What becomes of its addresses.
    #[serde(default)]
    pub action: FeedAction,
}

fn refresh_s() -> u32 {
    3600
}

fn max_entries() -> u32 {
    100_000
}

fn max_bytes() -> u32 {
    16 << 20
}

/// The largest blocks that registries have given to one holder.
fn min_prefix_ipv4() -> u8 {
    8
}

/// The same of IPv6.
fn min_prefix_ipv6() -> u8 {
    19
}

keyword! {
    /// How a feed is written. What follows a `#` or `;` is a comment.
    #[derive(Default)]
    FeedFormat {
        /// An address or CIDR block on each line, and nothing else.
        #[default]
        Plain = "plain",
        /// The same, and ranges such as `192.0.2.0-192.0.2.9`.
        Netset = "netset",
    }
}

keyword! {
    /// What becomes of the addresses of a feed.
    #[derive(Default)]
    FeedAction {
        /// They are blocked.
        #[default]
        Block = "block",
        /// Their flows are suspicious.
        Watch = "watch",
    }
}

/// Where a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSource {
    /// This file.
    File(PathBuf),
    /// This URL.
    Url(String),
}

impl FeedSource {
    /// The source without what may be secret in it: names and passwords, and the query.
    #[must_use]
    pub fn masked(&self) -> Self {
        let Self::Url(url) = self else { return self.clone() };
        let (url, query) = url
            .split_once('?')
            .map_or((url.as_str(), false), |(url, _)| (url, true));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => authority.to_owned(),
        };
        Self::Url(format!(
            "{scheme}://{host}/{path}{}",
            if query { "?***" } else { "" }
        ))
    }
}

impl fmt::Display for FeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl Serialize for FeedSource {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FeedSource {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = String::deserialize(de)?;
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text));
        }
        if text.is_empty() || text.contains("://") {
            return Err(de::Error::custom(format!(
                "`{text}` is neither a file nor a URL that begins with https://"
            )));
        }
        Ok(Self::File(text.into()))
    }
}

/// Over plain HTTP anyone on the way can write the list, unless it is this host's own or its checksum is known.
fn is_open_to_forgery(feed: &Feed) -> bool {
    let FeedSource::Url(url) = &feed.source else {
        return false;
    };
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_own = ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
        host.strip_prefix(own)
            .is_some_and(|port| port.is_empty() || port.starts_with(':'))
    });
    !is_own && feed.sha256.is_none()
}

/// The file with all links in it followed, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    match existing {
        Some((above, resolved)) => resolved.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// What is wrong with them. `copies` is the engine's own directory of their copies.
pub(super) fn check(feeds: &[Feed], copies: &Path, findings: &mut Findings) {
    if feeds.len() > MAX_FEEDS {
        findings.add(
            "feed",
            format!("{} feeds are too many", feeds.len()),
            format!("use at most {MAX_FEEDS}, or join some to one file"),
        );
    }
    for (i, feed) in feeds.iter().enumerate() {
        let key = |name: &str| format!("feed.{i}.{name}");
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=64).contains(&feed.name.len()) || !feed.name.bytes().all(of_name) || feed.name == GEO {
            findings.add(
                key("name"),
                format!("`{}` cannot be the name of a feed", feed.name),
                "use letters, digits, `-` and `_`, such as \"spamhaus-drop\"; \"geo\" is [geo]'s",
            );
        }
        if let Some(first) = feeds[..i].iter().position(|other| other.name == feed.name) {
            findings.add(
                key("name"),
                format!("`{}` is also feed.{first}", feed.name),
                "give it another name",
            );
        }
        if let FeedSource::File(path) = &feed.source
            && resolved(path).starts_with(resolved(copies))
        {
            findings.add(
                key("source"),
                format!(
                    "`{}` is among the engine's own copies, which it writes and removes",
                    path.display()
                ),
                "keep the list somewhere else, such as in /etc/portcullis",
            );
        }
        if is_open_to_forgery(feed) {
            findings.add(
                key("source"),
                "over plain HTTP anyone on the way can change the list",
                "use https://, or add its `sha256`",
            );
        }
        if let Some(sum) = &feed.sha256
            && (sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            findings.add(
                key("sha256"),
                "this is no SHA-256 checksum",
                "write the 64 hexadecimal digits that `sha256sum` prints",
            );
        }
        findings.range(&key("refresh_s"), feed.refresh_s, 60..=2_592_000);
        findings.range(&key("max_entries"), feed.max_entries, 1..=4_194_304);
        findings.range(&key("max_bytes"), feed.max_bytes, 1..=MAX_BYTES);
        findings.range(&key("min_prefix_ipv4"), feed.min_prefix_ipv4, 1..=32);
        findings.range(&key("min_prefix_ipv6"), feed.min_prefix_ipv6, 1..=128);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_own_copies_are_no_feeds() {
        let dir = tempfile::tempdir().expect("a directory");
        let copies = dir.path().join("state/feeds");
        std::fs::create_dir_all(&copies).expect("made");
        std::os::unix::fs::symlink(&copies, dir.path().join("link")).expect("made");
        for (path, is_refused) in [
            ("state/feeds/a", true),
            ("state/feeds/b/c", true),
            ("link/a", true),
            ("link/../feeds/a", true),
            ("state/a", false),
            ("state/feeds-of-mine", false),
            ("missing/a", false),
        ] {
            let text = format!("name = 'a'\nsource = '{}'", dir.path().join(path).display());
            let feed: Feed = toml::from_str(&text).expect("a feed");
            let mut findings = Findings::default();
            check(&[feed], &copies, &mut findings);
            assert_eq!(!findings.is_empty(), is_refused, "{path}");
        }
    }

    #[test]
    fn what_may_be_secret_is_masked() {
        for (source, masked) in [
            ("/etc/list", "/etc/list"),
            ("https://a.example/list.txt", "https://a.example/list.txt"),
            (
                "https://user:pass@a.example:8443/x?key=1&b=2",
                "https://***@a.example:8443/x?***",
            ),
            ("https://a.example", "https://a.example/"),
        ] {
            let source: FeedSource = serde_json::from_value(source.into()).expect("a source");
            assert_eq!(source.masked().to_string(), masked);
        }
    }
}
