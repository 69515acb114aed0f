//! The page that a blocked client gets.

/// Where the request id goes.
const PLACEHOLDER: &str = "{request_id}";

const BUILTIN: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Request blocked</title></head>\n\
<body style=\"font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em\">\
<h1>Request blocked</h1><p>This request looks like an attack and was not passed on. If you think this is a \
mistake, tell the operator of this site, with this number:</p><p><code>{request_id}</code></p></body></html>\n";

const TOO_MANY: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Too many requests</title></head>\n\
<body style=\"font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em\">\
<h1>Too many requests</h1><p>There were too many requests of this kind from where you are. Please try again later. If you \
think this is a mistake, tell the operator of this site, with this number:</p><p><code>{request_id}</code></p></body></html>\n";

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 403: the request is not passed on.
    Forbidden,
    /// 429 (RFC 6585 §4): it is one too many.
    TooMany {
        /// Seconds until another one would be let in.
        retry_after_s: u32,
    },
}

/// An HTTP response with a gap for the request id.
#[derive(Clone, Debug)]
pub struct Page {
    body: String,
}

impl Default for Page {
    fn default() -> Self {
        Self::new(BUILTIN)
    }
}

impl Page {
    /// The 403 from an HTML text in which `{request_id}` is replaced.
    #[must_use]
    pub fn new(html: &str) -> Self {
        Self {
            body: html.to_owned(),
        }
    }

    /// Writes the whole response for one request.
    pub fn render(&self, answer: Answer, request_id: &str, out: &mut Vec<u8>) {
        let (status, body) = match answer {
            Answer::Forbidden => ("403 Forbidden", self.body.as_str()),
            Answer::TooMany { .. } => ("429 Too Many Requests", TOO_MANY),
        };
        let placeholders = body.matches(PLACEHOLDER).count();
        let length = body.len() - placeholders * PLACEHOLDER.len() + placeholders * request_id.len();
        out.clear();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: text/html; charset=utf-8\r\n");
        if let Answer::TooMany { retry_after_s } = answer {
            out.extend_from_slice(b"Retry-After: ");
            out.extend_from_slice(retry_after_s.to_string().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Cache-Control: no-store\r\nConnection: close\r\nX-Request-Id: ");
        out.extend_from_slice(request_id.as_bytes());
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(length.to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        let mut parts = body.split(PLACEHOLDER);
        if let Some(first) = parts.next() {
            out.extend_from_slice(first.as_bytes());
        }
        for part in parts {
            out.extend_from_slice(request_id.as_bytes());
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_rendered_body() {
        for html in [BUILTIN, "no id", "{request_id} and {request_id}", ""] {
            let mut out = Vec::new();
            Page::new(html).render(Answer::Forbidden, "0123456789abcdef", &mut out);
            let text = String::from_utf8(out).expect("the page is text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.contains(&format!("\r\nContent-Length: {}", body.len())),
                "{head}"
            );
            assert!(!body.contains(PLACEHOLDER));
            assert_eq!(body, html.replace(PLACEHOLDER, "0123456789abcdef"));
        }
        let mut out = Vec::new();
        Page::default().render(Answer::TooMany { retry_after_s: 7 }, "0123456789abcdef", &mut out);
        let text = String::from_utf8(out).expect("the page is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        assert!(head.contains("\r\nRetry-After: 7\r\n"), "{head}");
        assert!(
            head.ends_with(&format!("\r\nContent-Length: {}", body.len())),
            "{head}"
        );
    }
}
