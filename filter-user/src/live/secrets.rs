//! Keeps secrets out of what is shown of requests: credentials in header fields, cookies and parameters.

use std::fmt::Write as _;

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Header fields whose value is a secret. Of cookies the names are shown.
const FIELDS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-amz-security-token",
    "x-forwarded-client-cert",
    "api-key",
];

/// Words in the names of parameters, cookies and header fields whose value is a secret.
const WORDS: [&str; 13] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "session",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "credential",
    "signature",
    "private",
    "otp",
];

/// Whether what has this name is a secret.
#[must_use]
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// The start of a request's head for people to read: escaped, a line each, without secrets.
#[must_use]
pub fn mask_head(head: &[u8]) -> String {
    let mut shown = String::with_capacity(head.len());
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    shown.push_str(&mask_line(&escape(line.strip_suffix(b"\r").unwrap_or(line))));
    let mut in_secret = false;
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        shown.push('\n');
        // RFC 9112 §5.2: such a line goes on with the value of the field before.
        if matches!(line[0], b' ' | b'\t') && in_secret {
            shown.push_str(MASK);
            continue;
        }
        in_secret = field(&escape(line), &mut shown);
    }
    shown
}

/// A request line without secrets in its query.
#[must_use]
pub fn mask_line(line: &str) -> String {
    let Some((before, rest)) = line.split_once('?') else {
        return line.to_owned();
    };
    // The version behind the last space stays.
    let (query, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    let mut shown = format!("{before}?");
    pairs(query, '&', &mut shown);
    if !version.is_empty() || rest.ends_with(' ') {
        let _ = write!(shown, " {version}");
    }
    shown
}

/// Adds a header field. Returns whether its value was kept back.
fn field(line: &str, shown: &mut String) -> bool {
    let Some((name, value)) = line.split_once(':') else {
        shown.push_str(line);
        return false;
    };
    let bare = name.trim().to_ascii_lowercase();
    if bare == "cookie" {
        let _ = write!(shown, "{name}: ");
        for (i, cookie) in value.split(';').enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let name = cookie.split('=').next().unwrap_or_default().trim();
            let _ = write!(shown, "{separator}{name}={MASK}");
        }
        return true;
    }
    if FIELDS.contains(&bare.as_str()) || is_secret(&bare) {
        // The scheme tells much, and gives nothing away.
        let scheme = value.trim_start().split_once(' ').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| bare.ends_with("authorization") && scheme.len() <= 16);
        let _ = match scheme {
            Some(scheme) => write!(shown, "{name}: {scheme} {MASK}"),
            None => write!(shown, "{name}: {MASK}"),
        };
        return true;
    }
    if bare == "referer" {
        let _ = write!(shown, "{name}:{}", mask_line(value));
        return false;
    }
    shown.push_str(line);
    false
}

fn pairs(text: &str, separator: char, shown: &mut String) {
    for (i, pair) in text.split(separator).enumerate() {
        if i > 0 {
            shown.push(separator);
        }
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                let _ = write!(shown, "{name}={MASK}");
            }
            _ => shown.push_str(pair),
        }
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_back_and_the_rest_is_shown() {
        for (head, shown) in [
            (
                "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /a?b=c HTTP/1.1\nHost: x",
            ),
            (
                "GET /?user=u&password=p&x=1 HTTP/1.1\r\n",
                "GET /?user=u&password=***&x=1 HTTP/1.1",
            ),
            ("GET /?access_token=t HTTP/1.1", "GET /?access_token=*** HTTP/1.1"),
            // Cut, or without a version.
            ("GET /?token=abc", "GET /?token=***"),
            ("GET /?token=a b c HTTP/1.1", "GET /?token=*** HTTP/1.1"),
            (
                "GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\n",
                "GET / HTTP/1.1\nAuthorization: Basic ***",
            ),
            (
                "GET / HTTP/1.1\r\nAUTHORIZATION:dTpw\r\n",
                "GET / HTTP/1.1\nAUTHORIZATION: ***",
            ),
            (
                "GET / HTTP/1.1\r\nX-Auth-Token : t\r\n",
                "GET / HTTP/1.1\nX-Auth-Token : ***",
            ),
            (
                "GET / HTTP/1.1\r\nCookie: a=1; b=2\r\n",
                "GET / HTTP/1.1\nCookie: a=***; b=***",
            ),
            (
                "GET / HTTP/1.1\r\nCookie: a=1;\r\n b=2\r\nHost: x",
                "GET / HTTP/1.1\nCookie: a=***; =***\n***\nHost: x",
            ),
            (
                "GET / HTTP/1.1\r\nReferer: http://x/?pwd=1&a=2\r\n",
                "GET / HTTP/1.1\nReferer: http://x/?pwd=***&a=2",
            ),
            // Whatever the bytes.
            (
                "GET /\u{1}\u{e9} HTTP/1.1\nno field\r\n",
                "GET /\\x01\\xc3\\xa9 HTTP/1.1\nno field",
            ),
            ("", ""),
        ] {
            assert_eq!(mask_head(head.as_bytes()), shown);
        }
    }
}
