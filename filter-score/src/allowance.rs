//! What a service takes at all: methods, content types and upgrades.

use crate::glob::Glob;

/// Methods that are of use to attackers rather than to sites: they echo, debug or tunnel.
const REFUSED: [&str; 4] = ["TRACE", "TRACK", "DEBUG", "CONNECT"];

/// What is allowed; the rest is a violation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Methods, in capitals; empty: all but TRACE, TRACK, DEBUG and CONNECT.
    pub methods: Vec<String>,
    /// Patterns for media types without parameters, such as `application/json` or `text/*`; empty: all.
    pub content_types: Vec<Glob>,
    /// Patterns for protocols to upgrade to, such as `websocket`, of which nothing is scored; `None`: all.
    pub upgrades: Option<Vec<Glob>>,
}

impl Allowance {
    /// Whether requests may have this method.
    pub(crate) fn method(&self, method: &[u8]) -> bool {
        if self.methods.is_empty() {
            return !REFUSED.iter().any(|refused| refused.as_bytes() == method);
        }
        self.methods.iter().any(|allowed| allowed.as_bytes() == method)
    }

    /// Whether requests may have this Content-Type.
    pub(crate) fn content_type(&self, value: &[u8]) -> bool {
        if self.content_types.is_empty() {
            return true;
        }
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let media = crate::http::trim(&value[..end]);
        self.content_types
            .iter()
            .any(|allowed| allowed.matches_any_case(media))
    }

    /// Whether requests may ask for this protocol.
    pub(crate) fn upgrade(&self, protocol: &[u8]) -> bool {
        let allowed = |patterns: &Vec<Glob>| patterns.iter().any(|one| one.matches_any_case(protocol));
        self.upgrades.as_ref().is_none_or(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let any = Allowance::default();
        for (method, allowed) in [
            ("GET", true),
            ("PATCH", true),
            ("PROPFIND", true),
            ("TRACE", false),
            ("DEBUG", false),
        ] {
            assert_eq!(any.method(method.as_bytes()), allowed, "{method}");
        }
        assert!(any.content_type(b"application/x-anything"));
        let narrow = Allowance {
            methods: vec!["GET".to_owned(), "TRACE".to_owned()],
            content_types: vec![
                Glob::new("application/json").unwrap(),
                Glob::new("text/*").unwrap(),
            ],
            upgrades: Some(vec![Glob::new("websocket").unwrap(), Glob::new("irc/*").unwrap()]),
        };
        assert!(narrow.method(b"TRACE") && !narrow.method(b"POST") && !narrow.method(b"get"));
        for (value, allowed) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("text/plain", true),
            ("application/jsonp", false),
            ("", false),
        ] {
            assert_eq!(narrow.content_type(value.as_bytes()), allowed, "{value}");
        }
        assert!(any.upgrade(b"tcp"));
        for (protocol, allowed) in [
            ("WebSocket", true),
            ("IRC/6.9", true),
            ("tcp", false),
            ("", false),
        ] {
            assert_eq!(narrow.upgrade(protocol.as_bytes()), allowed, "{protocol}");
        }
    }
}
