extern crate std;

use std::string::String;

use super::*;

#[test]
fn plain_requests_pass_and_the_rest_fails() {
    for (payload, expected) in samples::TABLE {
        assert_eq!(passes(payload.as_bytes()), *expected, "{payload:?}");
    }
}

/// What the automaton is made for, a byte at a time and in words.
fn reference(payload: &[u8]) -> bool {
    let is_request = payload.starts_with(b"GET ") || payload.starts_with(b"HEAD");
    let Some(lines) = payload
        .strip_suffix(b"\r\n\r\n")
        .filter(|_| is_request && payload.len() <= MAX_LENGTH)
    else {
        return false;
    };
    let text = String::from_utf8_lossy(lines);
    let mut lines = text.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let may_stand = |line: &str, others: &str| {
        let line = line.trim_end_matches('\r');
        !line.contains("..")
            && line
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || " /._-?=&,~".contains(c) || others.contains(c))
    };
    let pairs = ["//", "/.", "./", "=/", "=."];
    may_stand(request_line, "")
        && !pairs.iter().any(|pair| request_line.contains(pair))
        && lines.all(|line| {
            let name = line.to_ascii_lowercase();
            let announces = name.starts_with("up")
                || name.starts_with("tr")
                || name.as_bytes().get(2..4).is_some_and(|two| two == b"nt");
            // A line of CRs is not blank.
            !name.is_empty() && may_stand(line, "[]:;()*+\"") && !announces
        })
}

/// Every pair and triple of bytes that matter, in each place of a request, and every length of a word.
#[test]
fn the_automaton_does_what_the_words_say() {
    let bytes = b"\r\n./=utprnUTPRNax :[%\0";
    let mut passed = 0;
    for before in [
        "GET ",
        "GET /",
        "HEAD /a",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: a",
    ] {
        for after in [
            "\r\n\r\n",
            "a\r\n\r\n",
            "\r\nA: b\r\n\r\n",
            "t\r\nAbc\r\n\r\n",
            "\n",
            "",
        ] {
            for &a in bytes {
                for &b in bytes {
                    for &c in bytes {
                        let payload = [before.as_bytes(), &[a, b, c], after.as_bytes()].concat();
                        let expected = reference(&payload);
                        passed += u32::from(expected);
                        assert_eq!(passes(&payload), expected, "{}", payload.escape_ascii());
                    }
                }
            }
        }
    }
    assert!(passed > 1000, "{passed}");
}

#[test]
fn letters_before_a_method_change_nothing() {
    for padding in 0..WORD {
        let length = 2 * WORD - padding;
        assert_eq!(Prescreen::padding(length), padding);
        let word = Prescreen::pad(0, padding).to_le_bytes();
        assert!(word[..padding].iter().all(u8::is_ascii_alphabetic));
        assert_eq!(word[padding..], [0; WORD][padding..]);
    }
}
