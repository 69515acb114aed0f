//! SQL comments, which separate words where a filter looks for spaces.

use super::marks;

/// Bytes that comments begin or end with.
const MARKS: [bool; 256] = marks(b"/*-#");

/// Replaces `/* … */` by a space, unwraps the conditional `/*! … */` of `MySQL`, and ends `--` and `#`
/// comments at the line end. True if anything changed. An open comment runs to the end, as in `MySQL`.
pub(crate) fn strip(input: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    out.clear();
    let last_line_end = memchr::memrchr(b'\n', input).unwrap_or(0);
    let mut rest = input;
    while !rest.is_empty() {
        let at = input.len() - rest.len();
        match rest {
            [b'/', b'*', b'!', body @ ..] => {
                let digits = body
                    .iter()
                    .take(6)
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                out.push(b' ');
                rest = &body[digits..];
                changed = true;
            }
            [b'/', b'*', body @ ..] => {
                out.push(b' ');
                rest = memchr::memmem::find(body, b"*/").map_or(&[][..], |at| &body[at + 2..]);
                changed = true;
            }
            // What closes a conditional comment.
            [b'*', b'/', tail @ ..] => {
                out.push(b' ');
                rest = tail;
                changed = true;
            }
            [b'-', b'-', tail @ ..] | [b'#', tail @ ..] if at < last_line_end => {
                out.push(b' ');
                rest = memchr::memchr(b'\n', tail).map_or(&[][..], |at| &tail[at + 1..]);
                changed = true;
            }
            _ => {
                let plain = rest[1..].iter().position(|byte| MARKS[usize::from(*byte)]);
                let (plain, tail) = rest.split_at(plain.map_or(rest.len(), |at| at + 1));
                out.extend_from_slice(plain);
                rest = tail;
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("1/**/union/*x*/select", "1 union select"),
            ("1/*!50000union*/select", "1 union select"),
            ("1 union--%0a\nselect", "1 union select"),
            ("1 union#x\nselect", "1 union select"),
            ("a -- b # c", "a -- b # c"),
            ("a/*open", "a "),
            ("*/*;q=0.8", " *;q=0.8"),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            assert_eq!(strip(input.as_bytes(), &mut out), input != expected, "{input}");
            assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
        }
    }

    #[test]
    fn many_line_comments_take_linear_time() {
        let input = "--".repeat(100_000);
        let mut out = Vec::new();
        let start = std::time::Instant::now();
        strip(input.as_bytes(), &mut out);
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
    }
}
