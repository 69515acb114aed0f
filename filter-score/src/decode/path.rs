//! Path normalisation: backslashes, empty and dot segments (RFC 3986 §5.2.4).

/// Resolves segments. True if anything changed. `..` above the root is dropped, `scheme://` is kept.
pub(crate) fn normalise(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if !unusual(input) {
        return false;
    }
    let mut rest = input;
    loop {
        let end = memchr::memchr2(b'/', b'\\', rest);
        let segment = &rest[..end.unwrap_or(rest.len())];
        match segment {
            b"." => {}
            b".." => {
                let cut = out
                    .strip_suffix(b"/")
                    .and_then(|path| memchr::memrchr(b'/', path));
                out.truncate(cut.map_or(usize::from(out.first() == Some(&b'/')), |at| at + 1));
            }
            b"" if out.ends_with(b"/") && !out.ends_with(b":/") => {}
            _ => {
                out.extend_from_slice(segment);
                if end.is_some() {
                    out.push(b'/');
                }
            }
        }
        match end {
            Some(at) => rest = &rest[at + 1..],
            None => return out != input,
        }
    }
}

/// Whether there is anything to do, found without copying.
fn unusual(input: &[u8]) -> bool {
    memchr::memchr2_iter(b'/', b'\\', input).any(|at| {
        if input[at] == b'\\' {
            // Before a quote it is no separator.
            return !matches!(input.get(at + 1), Some(b'"' | b'\''));
        }
        match &input[at + 1..] {
            // Where a path begins inside of a text, one slash is found in two.
            [b'/', ..] => {
                at == 0 || !matches!(input[at - 1], b':' | b'"' | b'\'' | b'=' | b'(' | b',' | b' ')
            }
            [b'.'] | [b'.', b'/' | b'\\', ..] | [b'.', b'.'] | [b'.', b'.', b'/' | b'\\', ..] => true,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("/a/b/c", "/a/b/c"),
            ("/etc//passwd", "/etc/passwd"),
            ("/etc/./passwd", "/etc/passwd"),
            ("/a/../etc/x/../passwd", "/etc/passwd"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("..\\..\\windows\\win.ini", "windows/win.ini"),
            ("https://host/a", "https://host/a"),
            ("https://host//a/./b", "https://host/a/b"),
            ("/a/.hidden/b", "/a/.hidden/b"),
            ("/a/..", "/"),
            ("a/..", ""),
            ("", ""),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            let changed = normalise(input.as_bytes(), &mut out);
            assert_eq!(changed, input != expected, "{input}");
            if changed {
                assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
            }
        }
    }
}
