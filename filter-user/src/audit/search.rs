//! Finds lines in the files.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ipnet::IpNet;
use serde_json::Value;

use super::files;

/// The longest line that is read, bytes; longer ones are nobody's that this program wrote.
const MAX_LINE: u64 = 1 << 20;
/// More files than can be configured.
const MAX_FILES: u32 = 1000;

/// Which lines are wanted. All that is said has to hold.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Not before this.
    pub since: Option<SystemTime>,
    /// Of this topic.
    pub topic: Option<String>,
    /// About a client or source in here.
    pub client: Option<IpNet>,
    /// With this decision.
    pub decision: Option<String>,
    /// In which this rule has hit.
    pub rule: Option<u64>,
    /// Of this family of attacks.
    pub family: Option<String>,
    /// About this request.
    pub request_id: Option<String>,
    /// With this text anywhere.
    pub text: Option<String>,
}

/// Why nothing can be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// There is no log.
    #[error("there is no audit log in {}\n  fix: name its directory with --dir; `[audit] enabled = true` has a running engine write one", .0.display())]
    Nothing(PathBuf),
    /// It cannot be read.
    #[error("{}: {source}\n  fix: run this command with sudo", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl Query {
    fn wants(&self, line: &str, value: &Value) -> bool {
        let is = |key: &str, wanted: &Option<String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| value[key].as_str() == Some(wanted.as_str()))
        };
        let time = || {
            value["time"]
                .as_str()
                .and_then(|time| humantime::parse_rfc3339(time).ok())
        };
        is("topic", &self.topic)
            && is("decision", &self.decision)
            && is("request_id", &self.request_id)
            && self
                .since
                .is_none_or(|since| time().is_some_and(|time| time >= since))
            && self.client.is_none_or(|net| is_about(value, net))
            && self.rule.is_none_or(|rule| has_rule(value, rule))
            && self.family.as_ref().is_none_or(|family| {
                value["categories"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == family))
            })
            && self.text.as_ref().is_none_or(|text| line.contains(text.as_str()))
    }

    /// What every wanted line has to contain, to spare taking the others apart.
    fn needle(&self) -> &str {
        let needles = [&self.request_id, &self.text, &self.family];
        needles.into_iter().flatten().next().map_or("", String::as_str)
    }
}

fn is_about(value: &Value, net: IpNet) -> bool {
    ["client", "target", "source"].iter().any(|key| {
        let about = value[*key].as_str().unwrap_or_default();
        let address = about
            .parse::<IpNet>()
            .ok()
            .or_else(|| Some(IpNet::from(about.parse::<std::net::IpAddr>().ok()?)));
        address.is_some_and(|address| net.contains(&address))
    })
}

fn has_rule(value: &Value, rule: u64) -> bool {
    ["rules", "excluded"].iter().any(|key| {
        value[*key]
            .as_array()
            .is_some_and(|hits| hits.iter().any(|hit| hit["id"] == rule))
    })
}

/// The last `limit` lines that are wanted, the oldest of them first. Lines that are no JSON, such as one that is cut, are passed over.
///
/// # Errors
///
/// When there is no log, or it cannot be read.
pub fn search(directory: &Path, query: &Query, limit: usize) -> Result<Vec<(String, Value)>, SearchError> {
    let mut found: VecDeque<(String, Value)> = VecDeque::new();
    for age in 0..MAX_FILES {
        let path = directory.join(files::name(age));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && age > 0 => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SearchError::Nothing(directory.to_owned()));
            }
            Err(source) => return Err(SearchError::Io { path, source }),
        };
        let room = limit - found.len();
        let earlier = search_file(file, query, room).map_err(|source| SearchError::Io { path, source })?;
        for line in earlier.into_iter().rev() {
            found.push_front(line);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found.into())
}

fn search_file(file: File, query: &Query, limit: usize) -> io::Result<VecDeque<(String, Value)>> {
    let mut found = VecDeque::new();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(found);
        }
        let Ok(line) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let line = line.trim_end();
        if !line.contains(query.needle()) {
            continue;
        }
        if let Ok(value) = serde_json::from_str::<Value>(line)
            && query.wants(line, &value)
        {
            found.push_back((line.to_owned(), value));
            if found.len() > limit {
                found.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OLD: &str = r#"{"seq":1,"topic":"verdicts","time":"2026-01-01T00:00:00.000Z","request_id":"0a","decision":"block","client":"192.0.2.7","categories":["sqli"],"rules":[{"id":100112}]}
{"seq":2,"topic":"blocks","time":"2026-01-01T00:00:01.000Z","action":"blocked","target":"192.0.2.7/32"}
{"seq":3,"topic":"verd"#;
    const NEW: &str = r#"
not JSON
{"seq":4,"topic":"verdicts","time":"2026-01-02T00:00:00.000Z","request_id":"0b","decision":"suspicious","client":"2001:db8::7","categories":["xss"],"rules":[],"excluded":[{"id":7}]}
{"seq":5,"topic":"config","time":"2026-01-03T00:00:00.000Z","action":"reload"}
"#;

    #[test]
    fn finds_what_is_asked_for_over_all_files() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("audit.1.jsonl"), OLD).expect("written");
        fs::write(directory.path().join("audit.jsonl"), NEW).expect("written");
        let since = humantime::parse_rfc3339("2026-01-02T00:00:00Z").expect("a time");
        for (query, expected) in [
            (Query::default(), &[1, 2, 4, 5][..]),
            (
                Query {
                    topic: Some("verdicts".into()),
                    ..Query::default()
                },
                &[1, 4],
            ),
            (
                Query {
                    client: Some("192.0.2.0/24".parse().expect("a block")),
                    ..Query::default()
                },
                &[1, 2],
            ),
            (
                Query {
                    client: Some("2001:db8::/32".parse().expect("a block")),
                    ..Query::default()
                },
                &[4],
            ),
            (
                Query {
                    decision: Some("block".into()),
                    ..Query::default()
                },
                &[1],
            ),
            (
                Query {
                    rule: Some(100_112),
                    ..Query::default()
                },
                &[1],
            ),
            (
                Query {
                    rule: Some(7),
                    ..Query::default()
                },
                &[4],
            ),
            (
                Query {
                    family: Some("xss".into()),
                    ..Query::default()
                },
                &[4],
            ),
            (
                Query {
                    request_id: Some("0b".into()),
                    ..Query::default()
                },
                &[4],
            ),
            (
                Query {
                    text: Some("reload".into()),
                    ..Query::default()
                },
                &[5],
            ),
            (
                Query {
                    since: Some(since),
                    ..Query::default()
                },
                &[4, 5],
            ),
        ] {
            let found = search(directory.path(), &query, 10).expect("searched");
            let numbers: Vec<_> = found
                .iter()
                .map(|(_, value)| value["seq"].as_u64().unwrap_or(0))
                .collect();
            assert_eq!(numbers, expected, "{query:?}");
        }
        let last = |limit| {
            let found = search(directory.path(), &Query::default(), limit).expect("searched");
            found
                .iter()
                .map(|(_, value)| value["seq"].as_u64().unwrap_or(0))
                .collect::<Vec<_>>()
        };
        assert_eq!((last(1), last(3)), (vec![5], vec![2, 4, 5]));
    }

    #[test]
    fn says_where_there_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = search(directory.path(), &Query::default(), 1)
            .expect_err("nothing")
            .to_string();
        assert!(
            error.contains("no audit log") && error.contains("--dir"),
            "{error}"
        );
    }
}
