//! The end of an HTTP answer, found as it comes.

/// The longest head of an answer, bytes: more is no server of the lab.
const HEAD: usize = 16 << 10;

/// How much of an answer is there.
#[derive(Debug, Default)]
pub(super) struct Answer {
    head: Vec<u8>,
    body: Body,
}

/// A whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) status: u16,
    /// Whether the connection ends with it.
    pub(super) closes: bool,
}

#[derive(Debug, Default)]
enum Body {
    /// The head has not ended.
    #[default]
    Unknown,
    /// So many bytes are missing.
    Length(usize, Finished),
    /// Chunks: ended by the last of them, here without a trailer.
    Chunks(Vec<u8>, Finished),
    /// Ended by the connection.
    Rest(Finished),
}

impl Answer {
    /// For the next answer of the connection.
    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.body = Body::Unknown;
    }

    /// Takes bytes; the answer if they complete it. `headless` is the answer to a HEAD.
    pub(super) fn take(&mut self, bytes: &[u8], headless: bool) -> Option<Finished> {
        match &mut self.body {
            Body::Unknown => {
                // Nearly always the whole head is in one segment: then nothing is searched twice.
                let searched = self.head.len().saturating_sub(3);
                self.head.extend_from_slice(bytes);
                let end = self.head[searched..]
                    .windows(4)
                    .position(|window| window == b"\r\n\r\n");
                let Some(end) = end.map(|at| searched + at + 4) else {
                    return (self.head.len() > HEAD).then_some(Finished {
                        status: 0,
                        closes: true,
                    });
                };
                let rest = self.head.split_off(end);
                let (finished, body) = read_head(&self.head, headless);
                if finished.status / 100 == 1 {
                    self.clear();
                    return if rest.is_empty() {
                        None
                    } else {
                        self.take(&rest, headless)
                    };
                }
                self.body = body;
                self.take(&rest, headless)
            }
            Body::Length(missing, finished) => {
                *missing = missing.saturating_sub(bytes.len());
                (*missing == 0).then_some(*finished)
            }
            Body::Chunks(tail, finished) => {
                tail.extend_from_slice(bytes);
                let end = tail.ends_with(b"\r\n0\r\n\r\n") || tail == b"0\r\n\r\n";
                tail.drain(..tail.len().saturating_sub(8));
                end.then_some(*finished)
            }
            Body::Rest(_) => None,
        }
    }

    /// The answer, if the connection's end completes it.
    pub(super) fn at_end(&self) -> Option<Finished> {
        match self.body {
            Body::Rest(finished) => Some(finished),
            _ => None,
        }
    }
}

fn read_head(head: &[u8], headless: bool) -> (Finished, Body) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .unwrap_or(0);
    let mut finished = Finished {
        status,
        closes: false,
    };
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name {
            _ if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
            _ if name.eq_ignore_ascii_case("connection") => {
                finished.closes = value.eq_ignore_ascii_case("close");
            }
            _ if name.eq_ignore_ascii_case("transfer-encoding") => chunked = true,
            _ => {}
        }
    }
    let body = if headless || status == 204 || status == 304 {
        Body::Length(0, finished)
    } else if chunked {
        Body::Chunks(Vec::new(), finished)
    } else if let Some(length) = length {
        Body::Length(length, finished)
    } else {
        finished.closes = true;
        Body::Rest(finished)
    };
    (finished, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str], headless: bool) -> Option<Finished> {
        let mut answer = Answer::default();
        let mut end = None;
        for piece in pieces {
            assert_eq!(end, None, "it ended before {piece:?}");
            end = answer.take(piece.as_bytes(), headless);
        }
        end.or_else(|| answer.at_end())
    }

    #[test]
    fn answers_end_where_they_say() {
        let ok = |closes| Some(Finished { status: 200, closes });
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(read(&[whole], false), ok(false));
        for cut in 1..whole.len() {
            assert_eq!(
                read(&[&whole[..cut], &whole[cut..]], false),
                ok(false),
                "cut at {cut}"
            );
        }
        assert_eq!(
            read(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"], true),
            ok(false)
        );
        let chunks = [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
        ];
        assert_eq!(read(&chunks, false), ok(false));
        assert_eq!(read(&["HTTP/1.1 200 OK\r\n\r\nabc"], false), ok(true));
        let continued = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            read(&[continued], false),
            Some(Finished {
                status: 403,
                closes: true
            })
        );
        assert_eq!(
            read(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"], false),
            None
        );
    }
}
