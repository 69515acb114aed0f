//! Shell-like patterns for paths and names, as operators write them.

use std::fmt;

/// The longest pattern, in bytes.
const LONGEST: usize = 256;

/// A pattern in which `*` stands for any bytes (slashes, too) and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[u8]>);

impl Glob {
    /// Errors are for the author of the pattern: what is wrong, and what to do about it.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        match pattern.len() {
            0 => Err("an empty pattern matches nothing; write a name, or `*` for any"),
            1..=LONGEST => Ok(Self(pattern.as_bytes().into())),
            _ => Err("a pattern has at most 256 bytes; use `*` for a part of it"),
        }
    }

    /// Whether every text matches.
    #[must_use]
    pub fn is_universal(&self) -> bool {
        self.0.iter().all(|byte| *byte == b'*')
    }

    /// Whether all of `text` matches. Takes at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.run(text, |pattern, byte| pattern == byte)
    }

    /// The same, whatever the case of ASCII letters.
    #[must_use]
    pub fn matches_any_case(&self, text: &[u8]) -> bool {
        self.run(text, |pattern, byte| pattern.eq_ignore_ascii_case(&byte))
    }

    fn run(&self, text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
        let pattern = &self.0;
        let (mut at, mut read) = (0, 0);
        // Where to go on when the last star has to take one byte more: earlier stars need not be tried again.
        let mut star = None;
        while read < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at + 1, read));
                    at += 1;
                }
                Some(&byte) if byte == b'?' || same(byte, text[read]) => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((after, from)) = star else { return false };
                    star = Some((after, from + 1));
                    (at, read) = (after, from + 1);
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Which paths are meant: a folder with all below it, or a [`Glob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path, and those that go on behind it with a slash.
    Prefix(Box<[u8]>),
    /// All of the path matches.
    Glob(Glob),
}

impl PathPattern {
    /// A pattern with `*` or `?` is a glob, any other a prefix. Errors are for the author, as those of [`Glob::new`].
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        let glob = Glob::new(pattern)?;
        if !pattern.starts_with(['/', '*']) {
            return Err("a path begins with `/`; write `/name`, or `*name` for the end of a path");
        }
        Ok(if pattern.contains(['*', '?']) {
            Self::Glob(glob)
        } else {
            Self::Prefix(pattern.as_bytes().into())
        })
    }

    /// Whether every path matches.
    #[must_use]
    pub fn is_universal(&self) -> bool {
        match self {
            Self::Prefix(prefix) => **prefix == *b"/",
            Self::Glob(glob) => glob.is_universal() || *glob.0 == *b"/*",
        }
    }

    /// Whether `path`, decoded and normalised, is meant.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| prefix.ends_with(b"/") || matches!(rest, [] | [b'/', ..])),
            Self::Glob(glob) => glob.matches(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let table = [
            ("q", "q", true),
            ("q", "qq", false),
            ("utm_*", "utm_source", true),
            ("utm_*", "utm", false),
            ("*[body]", "comment[body]", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-c-d", false),
            ("?x", "ax", true),
            ("?x", "x", false),
            ("*", "", true),
            ("**", "anything", true),
            ("*a", "aaab", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        let glob = Glob::new("X-Forwarded-*").unwrap();
        assert!(glob.matches_any_case(b"x-forwarded-for") && !glob.matches(b"x-forwarded-for"));
        assert!(Glob::new("").is_err() && Glob::new(&"a".repeat(257)).is_err());
        assert!(Glob::new("*").unwrap().is_universal());
    }

    #[test]
    fn paths() {
        let table = [
            ("/api", "/api", true),
            ("/api", "/api/v1", true),
            ("/api", "/apiary", false),
            ("/api/", "/api/v1", true),
            ("/api/", "/api", false),
            ("/", "/anything", true),
            ("*.php", "/wp/a.php", true),
            ("/wiki/*/edit", "/wiki/a/b/edit", true),
            ("/wiki/*/edit", "/wiki/edit", false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(
                PathPattern::new(pattern).unwrap().matches(path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
        assert!(PathPattern::new("api").unwrap_err().contains("`/`"));
        for (pattern, universal) in [
            ("/", true),
            ("/*", true),
            ("*", true),
            ("/a", false),
            ("*a", false),
        ] {
            assert_eq!(
                PathPattern::new(pattern).unwrap().is_universal(),
                universal,
                "{pattern}"
            );
        }
    }
}
