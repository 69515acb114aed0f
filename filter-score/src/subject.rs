//! Whom a request is from and what it asks for: what exclusions and conditions look at, beside the hit itself.

use std::mem::swap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::decode::{path, percent};
use crate::excerpt::Excerpt;
use crate::findings::Place;
use crate::target::Target;

/// Longer paths are in no folder that an operator names, in bytes.
const PATH_BYTES: usize = 2048;
/// Longer names match no pattern, in bytes.
const NAME_BYTES: usize = 256;

/// Kept for each request in progress. Its buffers have a fixed size, and none where nobody asks for the path.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) source: Option<IpAddr>,
    method: Excerpt<32>,
    path: Vec<u8>,
    spare: Vec<u8>,
    name: Vec<u8>,
    state: State,
}

/// A subject, as another process can read it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Travelling {
    source: Option<IpAddr>,
    method: Excerpt<32>,
    path: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// There is no path, or none that all targets would read alike.
    Unknown,
    Raw,
    /// Decoded and normalised.
    Settled,
}

impl Subject {
    /// `asked`: whether anybody will look at it.
    pub(crate) fn new(asked: bool) -> Self {
        let room = |bytes| {
            if asked {
                Vec::with_capacity(bytes)
            } else {
                Vec::new()
            }
        };
        Self {
            source: None,
            method: Excerpt::default(),
            path: room(PATH_BYTES),
            spare: room(PATH_BYTES),
            name: room(NAME_BYTES),
            state: State::Unknown,
        }
    }

    /// Whether anybody will look at it.
    pub(crate) fn is_asked(&self) -> bool {
        self.path.capacity() > 0
    }

    /// Ready for another request.
    pub(crate) fn clear(&mut self) {
        self.source = None;
        self.method = Excerpt::default();
        self.state = State::Unknown;
    }

    /// For another process.
    pub(crate) fn travelling(&self) -> Travelling {
        Travelling {
            source: self.source,
            method: self.method,
            path: self.path.clone(),
            state: self.state,
        }
    }

    /// The subject of a request that began elsewhere.
    pub(crate) fn restore(&mut self, travelling: &Travelling) {
        self.source = travelling.source;
        self.method = travelling.method;
        self.path.clear();
        self.state = State::Unknown;
        if travelling.path.len() <= PATH_BYTES {
            self.path.extend_from_slice(&travelling.path);
            self.state = travelling.state;
        }
    }

    /// Notes what a request line says; a target without a path has an empty one.
    pub(crate) fn note(&mut self, method: &[u8], path: &[u8]) {
        self.method = Excerpt::of(method);
        self.path.clear();
        self.state = State::Unknown;
        if !path.is_empty() && path.len() <= PATH_BYTES {
            self.path.extend_from_slice(path);
            self.state = State::Raw;
        }
    }

    pub(crate) fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    /// Method and path, the latter as [`Subject::path`] has it.
    pub(crate) fn method_and_path(&mut self) -> (&[u8], Option<&[u8]>) {
        self.path();
        let path = (self.state == State::Settled).then_some(self.path.as_slice());
        (self.method.as_bytes(), path)
    }

    /// The path, percent-decoded once and with its segments resolved, as a target reads it. `None` where targets
    /// disagree about what it names: with NUL bytes, or parameters in dot segments (`/..;/`).
    pub(crate) fn path(&mut self) -> Option<&[u8]> {
        if self.state == State::Raw {
            if percent::decode(&self.path, false, &mut self.spare).changed {
                swap(&mut self.path, &mut self.spare);
            }
            let ambiguous = self.path.contains(&0)
                || self
                    .path
                    .split(|byte| matches!(byte, b'/' | b'\\'))
                    .any(|segment| segment.starts_with(b"..;") || segment.starts_with(b".;"));
            if path::normalise(&self.path, &mut self.spare) {
                swap(&mut self.path, &mut self.spare);
            }
            self.state = if ambiguous { State::Unknown } else { State::Settled };
        }
        (self.state == State::Settled).then_some(self.path.as_slice())
    }

    /// The name of a field as the target reads it; `None` if it is too long.
    pub(crate) fn name<'a>(&'a mut self, place: Place<'a>) -> Option<&'a [u8]> {
        if place.name.len() > NAME_BYTES {
            return None;
        }
        let encoded = matches!(
            place.target,
            Target::Query | Target::QueryName | Target::Form | Target::FormName
        );
        if encoded && percent::decode(place.name, true, &mut self.name).changed {
            return Some(&self.name);
        }
        Some(place.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_targets_read_them() {
        let table = [
            ("/a/b", Some("/a/b")),
            ("/a/%2e%2e/b", Some("/b")),
            ("/a/..%2fb//c", Some("/b/c")),
            ("/a\\..\\b", Some("/b")),
            ("/a/%252e%252e/b", Some("/a/%2e%2e/b")),
            ("/a/..;/b", None),
            ("/a/%2e%2e;x=y/b", None),
            ("/a%00/b", None),
            ("", None),
        ];
        let mut subject = Subject::new(true);
        for (path, expected) in table {
            subject.note(b"GET", path.as_bytes());
            for _ in 0..2 {
                assert_eq!(subject.path(), expected.map(str::as_bytes), "{path}");
            }
        }
        subject.note(b"GET", &[b'a'; PATH_BYTES + 1]);
        assert_eq!(subject.path(), None);
    }

    #[test]
    fn names_are_decoded_where_they_are_encoded() {
        let mut subject = Subject::new(true);
        let mut name = |target, name: &'static str| {
            let place = Place {
                target,
                name: name.as_bytes(),
            };
            subject.name(place).map(<[u8]>::to_vec)
        };
        assert_eq!(
            name(Target::Query, "user%5Bname%5D"),
            Some(b"user[name]".to_vec())
        );
        assert_eq!(name(Target::Cookie, "a%5B"), Some(b"a%5B".to_vec()));
        assert_eq!(name(Target::Query, "q"), Some(b"q".to_vec()));
    }
}
