//! The same bytes get the same decisions however they are cut into segments, and no bytes make the
//! parser panic, stall or keep a buffer.

use std::sync::{Arc, LazyLock};

use filter_score::{
    BaselineFill, BaselineUse, Disposition, Limits, Mode, Model, OwnedDecision, Policies, Policy, RuleSet,
    Scorer, SecondLook, Stream, Verdict, builtin_packs,
};
use proptest::prelude::*;

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let model = Model::builtin().expect("the built-in model is sound");
    Arc::new(rules.with_model(Some(Arc::new(model))))
});

/// Small windows, so that ordinary bodies cross them.
fn policy(mode: Mode) -> Policy {
    let limits = Limits {
        head_bytes: 2048,
        window: 1024,
        overlap: 128,
        inflaters: 2,
        brotli_decoders: 0,
        ..Limits::default()
    };
    Policy {
        mode,
        limits,
        ..Policy::default()
    }
}

/// Feeds `bytes` cut at `cuts` and returns the decisions and the last disposition.
fn run(mode: Mode, bytes: &[u8], cuts: &[usize]) -> (Vec<OwnedDecision>, Disposition) {
    let (decisions, disposition, _) = run_under(policy(mode), bytes, cuts);
    (decisions, disposition)
}

/// The same, and what was learnt.
fn run_under(
    policy: Policy,
    bytes: &[u8],
    cuts: &[usize],
) -> (Vec<OwnedDecision>, Disposition, BaselineFill) {
    let policies = Policies::single(Arc::clone(&RULES), policy);
    let mut look = SecondLook::new(&policies);
    let mut scorer = Scorer::with_policies(Arc::new(policies), 1).with_baseline(64, &[5; 16]);
    let mut stream = Stream::new();
    let mut decisions = Vec::new();
    let mut disposition = Disposition::Accept;
    let mut start = 0;
    'stream: for end in cuts.iter().copied().chain([bytes.len()]) {
        loop {
            disposition = scorer.feed(&mut stream, &bytes[start..end], |decision| {
                decisions.push(look.decide(decision));
            });
            let Disposition::Undecided { taken } = disposition else {
                break;
            };
            start += taken;
            if decisions
                .last()
                .is_some_and(|decision| decision.decision == Verdict::Block)
            {
                disposition = Disposition::Block;
                break 'stream;
            }
        }
        start = end;
    }
    if disposition != Disposition::Block {
        let finished = scorer.finish(&mut stream, |decision| decisions.push(look.decide(decision)));
        if finished == Disposition::Block {
            disposition = finished;
        }
    }
    scorer.release(&mut stream);
    assert_eq!(scorer.available(), 1, "the buffer came back");
    (decisions, disposition, scorer.baseline())
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size.max(1)) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nX-Trailer: y\r\n\r\n");
    out
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 ]{0,20}",
        "[ -~]{0,40}",
        Just("1' or 1=1--".to_owned()),
        Just("'; zz(select) 0x41|chr(39)".to_owned()),
        Just("{{a.b()|c}} $(x)".to_owned()),
        Just("<script>alert(1)</script>".to_owned()),
        Just("%252e%252e%252f%252e%252e%252f%252e%252e%252fetc/passwd".to_owned()),
        Just("\\u003cscript\\u003e \\\" \\\\".to_owned()),
        Just(r#"{"a": ["O'Neil", "1' or 1=1--"], "b": 1}"#.to_owned()),
        Just("[\"a\", \"%2e%2e%2f%2e%2e%2fetc/passwd\"]".to_owned()),
        Just("x".repeat(1500) + "; cat /etc/passwd"),
        Just("漢字 & ünïcödé".to_owned()),
    ]
}

/// A form with a field and a file, and lines that are nearly delimiters.
fn multipart(value: &str) -> String {
    format!(
        "---x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--\r\r\n---y\r\n---x\r\n\
         Content-Disposition: form-data; name=\"f\"; filename=\"{}\"\r\nContent-Type: text/plain\r\n\r\n\x01\n{value}\n\r\n---x--\r\n",
        value.replace('"', "%22")
    )
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    (value(), value(), value(), 0..16usize, 1..700usize).prop_map(|(query, header, body, kind, size)| {
        let mut target = Vec::new();
        filter_score::percent_encode(query.as_bytes(), &mut target);
        let target = String::from_utf8(target).expect("percent-encoding is ASCII");
        let header: String = header.chars().filter(|c| !c.is_control()).collect();
        let head = format!(
            "POST /p?q={target}&r=1 HTTP/1.1\r\nHost: h\r\nX-V: {header}\r\nCookie: a={target}; b=c\r\n"
        );
        let (media, body) = match kind {
            0 | 1 => (
                "application/x-www-form-urlencoded",
                format!("a=b&q={}&c=d", body.replace('&', "%26")),
            ),
            2 | 3 => (
                "application/json",
                format!("{{\"a\": \"{body}\", \"b\": [1, null, \"{body}\"]}}"),
            ),
            4 | 5 => ("multipart/form-data; boundary=-x", multipart(&body)),
            6 | 7 => (
                "application/xml",
                format!(
                    "<?xml version='1.0'?><a b=\"{0}\"><!-- {0} --><c>{body}<![CDATA[{body}]]></c></a>",
                    body.replace('"', "'")
                ),
            ),
            8 | 9 => ("application/octet-stream", format!("{{\"a\": \"{body}\"}}")),
            10 | 11 => (
                "application/json",
                format!("{{a: '{body}', /* \"x\" */ \"b\": \"{body}\"}}"),
            ),
            12 | 13 => (
                "multipart/mixed; boundary=\"-x\"",
                format!("\n--{body}\r{}", multipart(&body)),
            ),
            _ => ("text/plain", body),
        };
        let head = format!("{head}Content-Type: {media}\r\n");
        let (framing, body) = if kind % 2 == 0 {
            (
                "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
                chunked(body.as_bytes(), size),
            )
        } else {
            (
                format!("Content-Length: {}\r\n\r\n", body.len()),
                body.into_bytes(),
            )
        };
        [head.as_bytes(), framing.as_bytes(), &body].concat()
    })
}

fn plain_get() -> impl Strategy<Value = Vec<u8>> {
    (
        value(),
        prop::sample::select(vec![
            "",
            "\r\n",
            "Content-Length: 3\r\n",
            "Upgrade: x\r\n",
            "\rX: y\r\n",
        ]),
    )
        .prop_map(|(query, header)| {
            let mut target = Vec::new();
            filter_score::percent_encode(query.as_bytes(), &mut target);
            let target = String::from_utf8(target).expect("percent-encoding is ASCII");
            format!("GET /?q={target} HTTP/1.1\r\nHost: h\r\n{header}\r\n").into_bytes()
        })
}

fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|index| index.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts
}

fn check(bytes: &[u8], cuts: &[usize]) {
    for mode in [Mode::Block, Mode::Detect] {
        let whole = run(mode, bytes, &[]);
        assert_eq!(run(mode, bytes, cuts), whole, "cut at {cuts:?}");
        let every: Vec<_> = (0..bytes.len()).collect();
        assert_eq!(run(mode, bytes, &every), whole, "one byte a segment");
    }
}

/// Numbers where [`request`] has values of all kinds, often enough to be the usual, and then `value`.
fn taught(value: &str) -> Vec<u8> {
    let mut target = Vec::new();
    filter_score::percent_encode(value.as_bytes(), &mut target);
    let target = String::from_utf8(target).expect("percent-encoding is ASCII");
    let post = |value: &str| {
        let body = format!("q={value}&c=d");
        let length = body.len();
        let head = "Host: h\r\nContent-Type: application/x-www-form-urlencoded\r\nCookie: a=7; b=c\r\n";
        format!("POST /p?q={value}&r=1 HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}")
    };
    let numbers: String = (10..50).map(|number| post(&number.to_string())).collect();
    (numbers + &post(&target)).into_bytes()
}

fn check_baseline(bytes: &[u8], cuts: &[usize]) -> Vec<OwnedDecision> {
    let policy = |mode| Policy {
        baseline: BaselineUse::On,
        ..policy(mode)
    };
    let [_, whole] = [Mode::Block, Mode::Detect].map(|mode| {
        let whole = run_under(policy(mode), bytes, &[]);
        assert_eq!(run_under(policy(mode), bytes, cuts), whole, "cut at {cuts:?}");
        let every: Vec<_> = (0..bytes.len()).collect();
        assert_eq!(
            run_under(policy(mode), bytes, &every),
            whole,
            "one byte a segment"
        );
        whole.0
    });
    whole
}

#[test]
fn a_deviation_from_the_baseline() {
    let bytes = [taught("17-<b>\""), taught("4")].concat();
    let decisions = check_baseline(&bytes, &[200, 6000, 7000]);
    let unlike: Vec<_> = decisions
        .iter()
        .enumerate()
        .filter(|(_, decision)| decision.decision == Verdict::Suspicious)
        .map(|(index, decision)| (index, decision.explanation.starts_with("Unlike what query:q")))
        .collect();
    assert_eq!(unlike, [(40, true)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn pipelined_requests(
        requests in prop::collection::vec(request(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = requests.concat();
        check(&bytes, &cut(&bytes, &cuts));
    }

    /// What is learnt of the first requests of a stream, and what follows from it for the others.
    #[test]
    fn with_a_baseline(
        requests in prop::collection::vec(request(), 1..4),
        value in value(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = [taught(&value), requests.concat(), taught("<7>")].concat();
        check_baseline(&bytes, &cut(&bytes, &cuts));
    }

    /// With the cache, whatever was seen before: decisions and where they fall are those without it.
    #[test]
    fn known_requests(
        requests in prop::collection::vec(prop_oneof![request(), plain_get()], 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let mut plain = Scorer::new(Arc::clone(&RULES), policy(Mode::Block), 1);
        let mut caching = Scorer::new(Arc::clone(&RULES), policy(Mode::Block), 1).with_cache(8, &[3; 16]);
        let (mut one, mut other) = (Stream::new(), Stream::new());
        for index in order {
            let bytes = index.get(&requests);
            let (mut expected, mut decisions) = (Vec::new(), Vec::new());
            let disposition = plain.feed(&mut one, bytes, |decision| expected.push(decision.to_owned()));
            prop_assert_eq!(caching.feed(&mut other, bytes, |decision| decisions.push(decision.to_owned())), disposition);
            prop_assert_eq!(decisions, expected);
            if disposition == Disposition::Block {
                (one, other) = (Stream::new(), Stream::new());
            }
        }
    }

    #[test]
    fn damaged_requests(
        mut request in request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for (at, byte) in damage {
            let at = at.index(request.len());
            request[at] = byte;
        }
        check(&request, &cut(&request, &cuts));
    }

    #[test]
    fn arbitrary_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        prefix in prop_oneof![Just(""), Just("GET /"), Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = [prefix.as_bytes(), &bytes].concat();
        check(&bytes, &cut(&bytes, &cuts));
    }

    #[test]
    fn transfer_coding_does_not_matter(body in "[ -~]{0,3000}", size in 1..900usize) {
        let body = format!("{body} <script>x</script> {body}").replace('\'', "");
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n";
        let plain = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        let cut = [format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes(), chunked(body.as_bytes(), size)].concat();
        let ids = |bytes: &[u8]| -> Vec<_> {
            run(Mode::Block, bytes, &[]).0.into_iter().map(|d| (d.decision, d.rules)).collect()
        };
        prop_assert_eq!(ids(&plain), ids(&cut));
    }
}

/// What the model alone blocks falls at the end of its field, too, and not where the segment ends.
#[test]
fn a_block_by_the_model_alone() {
    let value = "'; zz(select) 0x41|chr(39)";
    let body = format!("a={value}&b=c&d={}", "e".repeat(200));
    for (media, body) in [
        ("application/x-www-form-urlencoded", body.as_str()),
        ("multipart/mixed; boundary=\"-x\"", &multipart(value)),
        (
            "application/json",
            &format!("{{\"a\": \"{value}\", \"b\": 1, \"c\": \"d\"}}"),
        ),
        ("text/xml", &format!("<a>{value}</a><b>c</b><d/>")),
    ] {
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n"
        );
        check(&[head.as_bytes(), body.as_bytes()].concat(), &[]);
    }
}
