//! Collects the head of a request whose client is named in it, before any of it is scored.

use serde::{Deserialize, Serialize};

use crate::http::{self, Version};

/// Bytes within which a method ends or is none.
const METHOD_BYTES: usize = 64;

/// How far a head has come. Where it ends depends on the bytes alone, never on where a segment ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gather {
    on: bool,
    /// The request line is whole.
    line: bool,
    complete: bool,
}

/// What the bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The head goes on.
    More,
    /// It is complete.
    Complete,
    /// There is no head, or it is too long: what was gathered is scored as it is.
    Hopeless,
}

impl Gather {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// Gathers no more. Returns whether the head was complete.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(self).complete
    }

    /// Moves bytes to `head` up to its end; `limit`: bytes that it may have. Returns how many it took.
    pub(crate) fn take(&mut self, head: &mut Vec<u8>, input: &[u8], limit: usize) -> (usize, Progress) {
        let before = head.len();
        head.extend_from_slice(&input[..input.len().min(limit.saturating_sub(before))]);
        let progress = match self.find_end(head, before) {
            Some((end, progress)) => {
                head.truncate(end);
                progress
            }
            None if head.len() >= limit => Progress::Hopeless,
            None => Progress::More,
        };
        self.complete = progress == Progress::Complete;
        (head.len() - before, progress)
    }

    /// Where the head ends, of which what came before `from` was looked at already.
    fn find_end(&mut self, head: &[u8], mut from: usize) -> Option<(usize, Progress)> {
        if !self.line {
            if from < METHOD_BYTES
                && let Err(at) = http::method_length(&head[..head.len().min(METHOD_BYTES)])
            {
                return Some((at + 1, Progress::Hopeless));
            }
            let end = from + memchr::memchr(b'\n', &head[from..])?;
            let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
            let version = http::parse_request_line(line).version;
            from = end + 1;
            // What has no field lines is judged, and acted upon, by its first line.
            if !matches!(version, Version::Http10 | Version::Http11) {
                return Some((from, Progress::Hopeless));
            }
            self.line = true;
        }
        memchr::memchr_iter(b'\n', &head[from..])
            .map(|at| from + at)
            .find(|&at| matches!(&head[..at], [.., b'\n'] | [.., b'\n', b'\r']))
            .map(|at| (at + 1, Progress::Complete))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `size`; what was gathered, and what came of it.
    fn gathered(text: &[u8], size: usize, limit: usize) -> (Vec<u8>, Progress) {
        let mut gather = Gather::new(true);
        let mut head = Vec::new();
        for piece in text.chunks(size) {
            let (taken, progress) = gather.take(&mut head, piece, limit);
            if progress != Progress::More {
                assert!(taken <= piece.len());
                return (head, progress);
            }
            assert_eq!(taken, piece.len());
        }
        (head, Progress::More)
    }

    #[test]
    fn heads_end_where_they_end_in_any_segmentation() {
        let table: [(&[u8], &[u8], Progress); 8] = [
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody",
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                Progress::Complete,
            ),
            (
                b"GET / HTTP/1.0\n\nbody",
                b"GET / HTTP/1.0\n\n",
                Progress::Complete,
            ),
            (
                b"GET / HTTP/1.0\n\r\n",
                b"GET / HTTP/1.0\n\r\n",
                Progress::Complete,
            ),
            (
                b"GET / HTTP/1.1\r\nA: \r\r\n\r\n",
                b"GET / HTTP/1.1\r\nA: \r\r\n\r\n",
                Progress::Complete,
            ),
            (b"GET /old\r\nmore", b"GET /old\r\n", Progress::Hopeless),
            (b"\x16\x03\x01", b"\x16", Progress::Hopeless),
            (
                b"GET / HTTP/9.9\r\n\r\n",
                b"GET / HTTP/9.9\r\n",
                Progress::Hopeless,
            ),
            (
                b"GET / HTTP/1.1\r\nHost",
                b"GET / HTTP/1.1\r\nHost",
                Progress::More,
            ),
        ];
        for (text, head, progress) in table {
            for size in 1..=text.len() {
                let expected = (head.to_vec(), progress);
                assert_eq!(gathered(text, size, 1000), expected, "{}", text.escape_ascii());
            }
        }
        for size in 1..60 {
            let long = b"GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
            assert_eq!(
                gathered(long, size, 32),
                (long[..32].to_vec(), Progress::Hopeless)
            );
        }
    }
}
