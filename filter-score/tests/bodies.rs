//! Bodies are read as targets read them, whatever they come in: the same content gets the same verdict in
//! every framing, coding and segmentation, and padding hides nothing.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, LazyLock};

use filter_score::{
    Disposition, Limits, Mode, Overflow, OwnedDecision, PackSource, Policy, RuleSet, Scorer, Stream, Verdict,
    builtin_packs,
};
use flate2::Compression;
use proptest::prelude::*;

static RULES: LazyLock<Arc<RuleSet>> =
    LazyLock::new(|| Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile")));

thread_local! {
    static SCORER: RefCell<Scorer> = RefCell::new(Scorer::new(Arc::clone(&RULES), Policy::default(), 1));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zlib,
    Bare,
    Brotli,
    Twice,
    Transfer,
    Undeclared,
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18);
    writer.write_all(text).unwrap();
    writer.into_inner()
}

fn encode(coding: Coding, text: &[u8]) -> (&'static str, Vec<u8>) {
    match coding {
        Coding::Identity => ("", text.to_vec()),
        Coding::Gzip => ("Content-Encoding: gzip\r\n", gzip(text)),
        Coding::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            ("Content-Encoding: deflate\r\n", encoder.finish().unwrap())
        }
        Coding::Bare => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(text).unwrap();
            ("Content-Encoding: Deflate\r\n", encoder.finish().unwrap())
        }
        Coding::Brotli => ("Content-Encoding: br\r\n", brotli(text)),
        Coding::Twice => ("Content-Encoding: br, x-gzip\r\n", gzip(&brotli(text))),
        Coding::Transfer => ("Transfer-Encoding: gzip, chunked\r\n", gzip(text)),
        Coding::Undeclared => ("", gzip(text)),
    }
}

/// A request with this body; `chunk`: bytes a chunk, 0 for a body with its length.
fn request(media: &str, coding: Coding, chunk: usize, body: &[u8]) -> Vec<u8> {
    let (header, body) = encode(coding, body);
    let mut out = format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\n{header}").into_bytes();
    if chunk == 0 && coding != Coding::Transfer {
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(&body);
        return out;
    }
    if coding != Coding::Transfer {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    for chunk in body.chunks(chunk.max(1)) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn score(bytes: &[u8], segment: usize) -> OwnedDecision {
    SCORER.with_borrow_mut(|scorer| score_by(scorer, bytes, segment).0)
}

fn score_by(scorer: &mut Scorer, bytes: &[u8], segment: usize) -> (OwnedDecision, Disposition) {
    let mut stream = Stream::new();
    let mut decisions = Vec::new();
    let mut disposition = Disposition::Accept;
    for segment in bytes.chunks(segment) {
        disposition = scorer.feed(&mut stream, segment, |decision| {
            decisions.push(decision.to_owned());
        });
    }
    scorer.finish(&mut stream, |decision| decisions.push(decision.to_owned()));
    assert_eq!(decisions.len(), 1);
    (decisions.remove(0), disposition)
}

const BOUNDARY: &str = "multipart/form-data; boundary=-b";

fn multipart(name: &str, file: Option<&str>, content: &[u8]) -> Vec<u8> {
    let file = file.map_or(String::new(), |file| format!("; filename=\"{file}\""));
    let head = format!("---b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n---b--\r\n"].concat()
}

const ATTACK: &str = "1' union select password from users--";

/// The attack in each kind of body, `padding` in front of it where a value stands.
fn attacks(padding: &str) -> Vec<(&'static str, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("all of it is text");
    let form = "application/x-www-form-urlencoded";
    let plus = ATTACK.replace(' ', "+");
    vec![
        (form, format!("a={padding}&q={plus}")),
        (form, format!("q={padding} {plus}")),
        (form, format!("{}q={plus}", "&".repeat(padding.len().min(900)))),
        (
            "application/json",
            format!("{{\"a\": \"{padding}\", \"q\": \"{ATTACK}\"}}"),
        ),
        ("application/json", format!("{{\"q\": \"{padding} {ATTACK}\"}}")),
        (
            "application/json",
            format!("{}{{\"q\": \"{ATTACK}\"}}", " ".repeat(padding.len())),
        ),
        (
            "application/json",
            format!(
                "{{\"a\": {}, \"q\": \"{ATTACK}\"}}",
                "7".repeat(60 + padding.len())
            ),
        ),
        ("text/plain", format!("{padding} {ATTACK}")),
        (
            "application/octet-stream",
            format!("{{\"a\": \"{padding} {ATTACK}\"}}"),
        ),
        (
            BOUNDARY,
            text(multipart("q", None, format!("{padding} {ATTACK}").as_bytes())),
        ),
        (
            BOUNDARY,
            text(multipart(
                "f",
                Some("a.txt"),
                format!("{padding} {ATTACK}").as_bytes(),
            )),
        ),
        (
            BOUNDARY,
            format!("{padding}\r\n{}", text(multipart("q", None, ATTACK.as_bytes()))),
        ),
        (
            "application/xml",
            format!("<a><b c='{padding}'>x</b><q>{ATTACK}</q></a>"),
        ),
        ("application/xml", format!("<a><q>{padding} {ATTACK}</q></a>")),
        (
            "application/xml",
            format!("<a><q b=\"{padding}\" c=\"{ATTACK}\"/></a>"),
        ),
        (
            "application/xml",
            format!("<a><!-- {padding} --><q><![CDATA[{ATTACK}]]></q></a>"),
        ),
    ]
}

#[test]
fn padding_hides_nothing() {
    for length in [0, 8 << 10, 128 << 10, 1 << 20] {
        for (media, body) in attacks(&"lorem ipsum, ".repeat(length / 13)) {
            for (coding, segment) in [
                (Coding::Identity, 1460),
                (Coding::Gzip, 1460),
                (Coding::Identity, usize::MAX),
            ] {
                let decision = score(&request(media, coding, 0, body.as_bytes()), segment);
                assert_eq!(
                    decision.decision,
                    Verdict::Block,
                    "{length} bytes of padding, {coding:?}: {media}, {:?}; {}",
                    &body[..body.len().min(60)],
                    decision.explanation
                );
            }
        }
    }
}

/// What counts of a decision: where the bytes stand is not the same in different framings.
fn essence(decision: OwnedDecision) -> (Verdict, u32, Vec<(u32, String, String)>) {
    let rules = decision.rules.into_iter();
    (
        decision.decision,
        decision.anomaly,
        rules.map(|hit| (hit.id, hit.target, hit.matched)).collect(),
    )
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 .,]{0,30}",
        "[ -~]{0,60}",
        Just(ATTACK.to_owned()),
        Just("../../../etc/passwd".to_owned()),
        Just("x".repeat(9000) + " <script>alert(1)</script>"),
        Just("lorem ipsum ".repeat(4000)),
    ]
}

fn body() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    (0..8usize, value(), value()).prop_map(|(kind, first, second)| match kind {
        0 => (
            "application/x-www-form-urlencoded",
            format!("a={first}&b={second}").into_bytes(),
        ),
        1 => (
            "application/json",
            serde_json::json!({ "a": first, "b": [second, 1, null] })
                .to_string()
                .into_bytes(),
        ),
        2 => (
            "application/json",
            format!("{{a: \"{first}\", {second}}}").into_bytes(),
        ),
        3 => (
            BOUNDARY,
            multipart(&first.replace(['"', '\\'], ""), None, second.as_bytes()),
        ),
        4 => (
            BOUNDARY,
            multipart(
                "f",
                Some("x.png"),
                &[b"\x89PNG\r\n\x1a\n\0\0\0\r", second.as_bytes()].concat(),
            ),
        ),
        5 => (
            "text/xml",
            format!("<a b='{first}'>{second}<![CDATA[{first}]]></a>").into_bytes(),
        ),
        6 => ("application/octet-stream", second.into_bytes()),
        _ => ("text/plain", format!("{first}\n{second}").into_bytes()),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn neither_framing_nor_coding_nor_segments_matter(
        (media, body) in body(),
        coding in prop::sample::select(vec![
            Coding::Identity, Coding::Gzip, Coding::Zlib, Coding::Bare, Coding::Brotli, Coding::Twice, Coding::Transfer,
        ]),
        chunk in prop_oneof![Just(0usize), 1..3000usize],
        segment in prop_oneof![1..40usize, 500..3000usize],
    ) {
        prop_assume!(!body.is_empty());
        let expected = essence(score(&request(media, Coding::Identity, 0, &body), usize::MAX));
        let bytes = request(media, coding, chunk, &body);
        let whole = score(&bytes, usize::MAX);
        prop_assert_eq!(essence(whole.clone()), expected);
        // Where the decision falls is the same, too.
        prop_assert_eq!(score(&bytes, segment), whole.clone());
        prop_assert_eq!(score(&bytes, 1), whole);
    }

    #[test]
    fn damaged_codings(
        (media, body) in body(),
        coding in prop::sample::select(vec![Coding::Gzip, Coding::Zlib, Coding::Bare, Coding::Brotli, Coding::Twice, Coding::Undeclared]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        segment in 1..2000usize,
    ) {
        let mut bytes = request(media, coding, 0, &body);
        let start = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[start + at.index(length - start)] = byte;
        }
        let whole = score(&bytes, usize::MAX);
        prop_assert_eq!(score(&bytes, segment), whole.clone());
        prop_assert_eq!(score(&bytes, 1), whole);
    }
}

fn ids(decision: &OwnedDecision) -> Vec<u32> {
    decision.rules.iter().map(|hit| hit.id).collect()
}

#[test]
fn gzip_that_is_not_declared() {
    let body = format!("{{\"q\": \"{ATTACK}\"}}");
    let decision = score(
        &request("application/x-data", Coding::Undeclared, 0, body.as_bytes()),
        7,
    );
    assert_eq!(decision.decision, Verdict::Block);
    assert_eq!(decision.rules[0].target, "json:q");
    // Binary data may begin like gzip, or end inside it.
    for end in [3, 20, 200] {
        let bytes: Vec<u8> = gzip(&b"something harmless ".repeat(100))[..end.min(60)].to_vec();
        let decision = score(&request("application/x-data", Coding::Identity, 0, &bytes), 7);
        assert_eq!(ids(&decision), [0u32; 0]);
    }
}

#[test]
fn a_coding_that_a_target_may_ignore() {
    let form = "application/x-www-form-urlencoded";
    let mut bytes = request(
        form,
        Coding::Identity,
        0,
        format!("q={}", ATTACK.replace(' ', "+")).as_bytes(),
    );
    let at = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
    bytes.splice(at..at, *b"\r\nContent-Encoding: gzip");
    let mut scorer = Scorer::new(
        Arc::clone(&RULES),
        Policy {
            mode: Mode::Detect,
            anomaly: 9,
            block: 1.0,
            ..Policy::default()
        },
        1,
    );
    let (decision, _) = score_by(&mut scorer, &bytes, 3);
    assert!(
        decision.rules.iter().any(|hit| hit.target == "form:q"),
        "{}",
        decision.explanation
    );
    // A comment in the header of gzip is read by a target that ignores the coding.
    let mut encoder = flate2::GzBuilder::new()
        .comment(format!("&q={ATTACK}&"))
        .write(Vec::new(), Compression::fast());
    encoder.write_all(b"a=1").unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {form}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(
        score(&[head.as_bytes(), &body].concat(), 9).decision,
        Verdict::Block
    );
}

fn numbers(count: usize) -> String {
    let numbers: Vec<_> = (0..count).map(|n| (n * 7919 % 99_991).to_string()).collect();
    numbers.join(" ") + " "
}

fn limited(limits: Limits) -> Scorer {
    let policy = Policy {
        limits,
        ..Policy::default()
    };
    assert_eq!(policy.validate(), Ok(()));
    Scorer::new(Arc::clone(&RULES), policy, 4)
}

#[test]
fn limits_reject_or_let_pass_what_is_beyond() {
    let after = |size: usize| format!("{}{ATTACK}", "x ".repeat(size / 2));
    for overflow in [Overflow::Reject, Overflow::Partial] {
        let mut scorer = limited(Limits {
            body_bytes: 100_000,
            body_overflow: overflow,
            decoded_bytes: 1 << 17,
            decoded_overflow: overflow,
            ..Limits::default()
        });
        let expected = if overflow == Overflow::Reject {
            Verdict::Block
        } else {
            Verdict::Allow
        };
        let table = [
            (Coding::Identity, 90_000, Verdict::Block, None),
            (Coding::Identity, 110_000, expected, Some(900_725)),
            (Coding::Gzip, 90_000, Verdict::Block, None),
            (Coding::Gzip, 500_000, expected, Some(900_720)),
        ];
        for (coding, size, verdict, id) in table {
            // Numbers that do not repeat, so that the ratio is an ordinary one.
            let text: String = if coding == Coding::Gzip && size > 100_000 {
                [&numbers(size / 6), ATTACK].concat()
            } else {
                after(size)
            };
            for segment in [1, 1460, usize::MAX] {
                let bytes = request("text/plain", coding, 0, text.as_bytes());
                let (decision, _) = score_by(&mut scorer, &bytes, segment);
                assert_eq!(
                    decision.decision, verdict,
                    "{coding:?} {size}: {}",
                    decision.explanation
                );
                if let Some(id) = id {
                    let id = if overflow == Overflow::Reject { id } else { 900_730 };
                    assert_eq!(ids(&decision), [id]);
                }
            }
        }
    }
}

#[test]
fn bombs() {
    let zeros = vec![b' '; 4 << 20];
    let bombs = [
        request("text/plain", Coding::Gzip, 0, &zeros),
        request("text/plain", Coding::Brotli, 0, &zeros),
        request("text/plain", Coding::Twice, 0, &zeros),
        request("text/plain", Coding::Transfer, 100, &zeros),
        request("application/octet-stream", Coding::Undeclared, 0, &zeros),
    ];
    for bomb in bombs {
        for segment in [1, usize::MAX] {
            assert_eq!(ids(&score(&bomb, segment)), [900_720]);
        }
    }
}

#[test]
fn too_few_decoders_are_the_failure_policys_matter() {
    let mut scorer = limited(Limits {
        inflaters: 2,
        brotli_decoders: 0,
        ..Limits::default()
    });
    let bytes = request("text/plain", Coding::Gzip, 0, b"hello hello");
    let (start, end) = bytes.split_at(bytes.len() - 4);
    let mut streams: Vec<_> = (0..3).map(|_| Stream::new()).collect();
    let dispositions: Vec<_> = streams
        .iter_mut()
        .map(|stream| scorer.feed(stream, start, |_| ()))
        .collect();
    assert_eq!(
        dispositions,
        [Disposition::Accept, Disposition::Accept, Disposition::Exhausted]
    );
    assert_eq!(scorer.feed(&mut streams[0], end, |_| ()), Disposition::Accept);
    assert_eq!(
        scorer.feed(&mut Stream::new(), &bytes, |_| ()),
        Disposition::Accept
    );
    scorer.release(&mut streams[1]);
    let (_, disposition) = score_by(&mut scorer, &bytes, usize::MAX);
    assert_eq!(disposition, Disposition::Accept);
    let bytes = request("text/plain", Coding::Brotli, 0, b"hello hello");
    assert_eq!(
        scorer.feed(&mut Stream::new(), &bytes, |_| ()),
        Disposition::Exhausted
    );
    assert_eq!(scorer.available(), 4);
}

#[test]
fn where_values_are_found() {
    let table: &[(&str, Vec<u8>, &str)] = &[
        (
            "application/json",
            format!("{{\"user\": {{\"name\": \"{ATTACK}\"}}}}").into_bytes(),
            "json:name",
        ),
        (
            "application/json",
            format!("{{\"{ATTACK}\": 1}}").into_bytes(),
            "json-name:",
        ),
        (
            "text/xml",
            format!("<a><b id=\"{ATTACK}\"/></a>").into_bytes(),
            "xml",
        ),
        (BOUNDARY, multipart("q", None, ATTACK.as_bytes()), "form:q"),
        (BOUNDARY, multipart(ATTACK, None, b"1"), "form-name:"),
        (
            BOUNDARY,
            multipart("f", Some("../../../../etc/passwd"), b"1"),
            "file-name:f",
        ),
        (
            BOUNDARY,
            multipart("f", Some("a.txt"), ATTACK.as_bytes()),
            "body:f",
        ),
    ];
    for (media, body, target) in table {
        let decision = score(&request(media, Coding::Identity, 0, body), 11);
        assert_eq!(decision.decision, Verdict::Block, "{media} {target}");
        assert!(
            decision.rules.iter().any(|hit| hit.target.starts_with(target)),
            "{target}: {}",
            decision.explanation
        );
    }
}

#[test]
fn uploads_that_are_harmless() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let binary: Vec<u8> = (0..300_000).map(|_| random()).collect();
    for (file, content) in [
        ("photo.jpg", &binary[..]),
        ("notes.txt", b"It's a note.\r\n--\r\nregards\n"),
        ("", b""),
    ] {
        for segment in [1, 1460] {
            let decision = score(
                &request(
                    BOUNDARY,
                    Coding::Identity,
                    0,
                    &multipart("f", Some(file), content),
                ),
                segment,
            );
            assert_eq!(decision.anomaly, 0, "{}", decision.explanation);
        }
    }
}

/// Rules on `file` and `file-name` see every window of a picture with code in it, and what it is called.
#[test]
fn code_in_binary_files() {
    let pack = PackSource {
        name: "own.toml",
        text: r#"
            family = "webshell"
            [[rule]]
            id = 1
            message = "PHP in binary content"
            severity = "critical"
            targets = ["file"]
            regex = '<\?php'
            samples.match = ["<?php", "a<?PHP"]
            samples.pass = ["php", "<?"]
            [[rule]]
            id = 2
            message = "PHP file"
            severity = "critical"
            targets = ["file-name"]
            regex = '\.php(?:$|\.)'
            samples.match = ["x.php", "x.php.jpg"]
            samples.pass = ["x.jpg", "php"]
        "#,
    };
    let rules = Arc::new(RuleSet::compile(&[pack]).expect("the pack compiles"));
    let mut scorer = Scorer::new(rules, Policy::default(), 1);
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for before in [0, 100, 8190, 200_000] {
        let mut content: Vec<u8> = (0..before).map(|_| random()).collect();
        content.extend_from_slice(b"\x00\xff\xd8<?php system($_GET[0]); ?>");
        content.extend((0..100).map(|_| random()));
        let bodies = [
            (BOUNDARY, multipart("f", Some("a.jpg"), &content)),
            ("application/octet-stream", content.clone()),
            ("image/jpeg", gzip(&content)),
        ];
        for (media, body) in bodies {
            for segment in [3, usize::MAX] {
                let (decision, _) =
                    score_by(&mut scorer, &request(media, Coding::Identity, 0, &body), segment);
                assert_eq!(ids(&decision), [1], "{media}, after {before} bytes");
            }
        }
    }
    let named = multipart("f", Some("a.php.jpg"), b"hello");
    let (decision, _) = score_by(&mut scorer, &request(BOUNDARY, Coding::Gzip, 0, &named), 5);
    assert_eq!(ids(&decision), [2]);
}

fn percent_encoded(text: &str) -> String {
    let mut out = Vec::new();
    filter_score::percent_encode(text.as_bytes(), &mut out);
    String::from_utf8(out).expect("ASCII")
}

/// Verdict and anomaly of a request with this body, which are the same when its fields are known.
fn verdict(media: &str, body: &str) -> (Verdict, u32) {
    let raw = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut scorer = Scorer::new(Arc::clone(&RULES), Policy::default(), 1).with_cache(64, &[7; 16]);
    let mut verdicts = Vec::new();
    for _ in 0..2 {
        let mut stream = Stream::new();
        scorer.feed(&mut stream, raw.as_bytes(), |decision| {
            verdicts.push((decision.verdict, decision.anomaly));
        });
        scorer.release(&mut stream);
    }
    assert_eq!(verdicts[0], verdicts[1], "known or not: {body}");
    verdicts[0]
}

/// JSON texts inside values: their strings are judged as those of a JSON body are, however deep they are.
#[test]
fn json_in_values() {
    use base64::Engine as _;
    let escaped = |text: &str| serde_json::Value::from(text).to_string();
    let benign = "Mozilla/5.0 (X11; Linux x86_64) \"it's\" fine; 100% | $5";
    let attacks = [
        "1' or 1=1-- -",
        "x\" or \"1\"=\"1",
        "<script>alert(1)</script>",
        "../../../../etc/passwd",
        "; cat /etc/passwd",
        "${jndi:ldap://a/b}",
    ];
    for (text, bad) in attacks.iter().map(|text| (*text, true)).chain([(benign, false)]) {
        let json = format!("{{\"list\": [1, {}], \"more\": {{\"b\": null}}}}", escaped(text));
        let twice = format!("[{}]", escaped(&json));
        let coded = base64::engine::general_purpose::STANDARD.encode(&json);
        let form = |value: &str| format!("a=b&v={}&c=d", percent_encoded(value));
        let forms = [form(&json), form(&twice), form(&coded)];
        let texts = [json, twice].map(|text| ("application/json", text));
        for (media, body) in texts
            .into_iter()
            .chain(forms.map(|body| ("application/x-www-form-urlencoded", body)))
        {
            let (verdict, anomaly) = verdict(media, &body);
            assert_eq!(verdict == Verdict::Block, bad, "{anomaly}: {body}");
        }
    }
    // What spans strings is seen by patterns, and by what reads SQL in double quotes.
    for value in [r#"{"name": {"$ne": "x"}}"#, r#"["x or ", "=", "1 or 1=1 --"]"#] {
        let body = format!("v={}", percent_encoded(value));
        assert_eq!(
            verdict("application/x-www-form-urlencoded", &body).0,
            Verdict::Block,
            "{value}"
        );
    }
}

/// Forms and addresses with a query inside values, and forms sent as plain text: their values are judged as parameters are.
#[test]
fn forms_in_values() {
    let benign = "it's fine; 100% & $5 (or more)";
    let attacks = [
        "1' or 1=1-- -",
        "<script>alert(1)</script>",
        "../../../../etc/passwd",
        "; cat /etc/passwd",
        "${jndi:ldap://a/b}",
        "x&& cat /etc/passwd",
    ];
    for (text, bad) in attacks.iter().map(|text| (*text, true)).chain([(benign, false)]) {
        let encoded = percent_encoded(text);
        let form = format!("name=value&text={encoded}&third=3");
        let address = format!("https://shop.example/list?text={encoded}");
        let parameter = |value: &str| format!("v={}", percent_encoded(value));
        let nested = format!("/outer/path?u={}", percent_encoded(&address));
        // Beyond the bound it is read as a text.
        let deep = (0..3).fold(address.clone(), |inner, _| {
            format!("/outer/path?u={}", percent_encoded(&inner))
        });
        for (media, body) in [
            ("text/plain", form.clone()),
            ("text/plain", address.clone()),
            ("text/plain", format!("name=value&text={text}&third=3")),
            ("application/x-www-form-urlencoded", parameter(&form)),
            ("application/x-www-form-urlencoded", parameter(&address)),
            ("application/x-www-form-urlencoded", parameter(&nested)),
            ("application/x-www-form-urlencoded", parameter(&deep)),
            (
                "application/json",
                format!("[{}]", serde_json::Value::from(address)),
            ),
        ] {
            let (verdict, anomaly) = verdict(media, &body);
            assert_eq!(verdict == Verdict::Block, bad, "{anomaly}: {media} {body}");
        }
    }
    // What spans values makes the text no form, or is seen by patterns.
    for body in [
        "name=value&text=1' or 'a&b'='a&third=3",
        "name=value&__proto__.x=1&constructor.prototype.y=2",
        "first=<script>alert(1)&second=2</script>",
    ] {
        assert_eq!(verdict("text/plain", body).0, Verdict::Block, "{body}");
    }
}
