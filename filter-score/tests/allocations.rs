//! Feeding allocates nothing once the scorer is made.
#![expect(unsafe_code, reason = "a global allocator that counts has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;

use filter_score::{
    BaselineUse, DeepJob, DeepScorer, DeepVerdict, Disposition, Exclusion, Glob, Model, PackSource,
    PathPattern, Policies, Policy, RuleSet, Scorer, Stream, Tuning, Verdict, builtin_packs,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

fn requests() -> Vec<Vec<u8>> {
    let form = "a=1&text=what+a+fine+%C3%BCber+day%21&list=a%2Cb%2Cc";
    let json = format!(
        "{{\"name\": \"O\\u0027Neil\", \"note\": \"{}\"}}",
        "lorem ipsum ".repeat(3000)
    );
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    };
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    brotli
        .write_all(json.as_bytes())
        .expect("a vector takes everything");
    let multipart = format!(
        "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nO'Neil\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; \
         filename=\"a.bin\"\r\n\r\n{}\r\n--x--\r\n",
        "\u{0}\u{1}\r\n--y".repeat(4000)
    );
    let xml = format!(
        "<?xml version=\"1.0\"?><a b=\"c &amp; d\">{}<![CDATA[x]]></a>",
        "<b>it's</b>text".repeat(900)
    );
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZXN0In0";
    let encoded = |coding: &str, media: &str, body: &[u8]| {
        let head = format!(
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let coded = [
        encoded("gzip", "application/json", &gzip(json.as_bytes())),
        encoded("gzip, gzip", "application/xml", &gzip(&gzip(xml.as_bytes()))),
        encoded("br", "application/json", &brotli.into_inner()),
        encoded(
            "identity",
            "application/octet-stream",
            &gzip(multipart.as_bytes()),
        ),
    ];
    let post = |media: &str, body: &str| {
        format!(
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let plain = [
        "GET /search?q=caf%C3%A9+%26+bar&page=2 HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\nCookie: a=b; c=\"d e\"\r\nAccept: */*\r\n\r\n".to_owned(),
        post("application/x-www-form-urlencoded", form),
        post("application/json", &json),
        post("multipart/form-data; boundary=x", &multipart),
        post("text/xml", &xml),
        post("application/x-www-form-urlencoded", &format!("token={token}&b=PGI+aGVsbG88L2I+PGI+aGVsbG88L2I+")),
        post(
            "application/x-www-form-urlencoded",
            &format!(
                "e=%5B%7B%22a%22%3A%22it%27s%22%2C%22b%22%3A%22{{\\%22c\\%22:\\%22d%26amp;\\%22}}%22%7D%5D&json={}",
                "eyJhIjogIml0J3MiLCAiYiI6ICJQR0krYUdWc2JHODhMMkkrUEdJK2FHVnNiRzg4TDJJKyJ9"
            ),
        ),
        post("text/plain", &"it's a plain text, isn't it? /* yes */ ".repeat(2000)),
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n".to_owned(),
    ]
    .map(String::into_bytes);
    [&coded[..], &plain[..]].concat()
}

fn rules() -> Arc<RuleSet> {
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let model = Model::builtin().expect("the built-in model is sound");
    Arc::new(rules.with_model(Some(Arc::new(model))))
}

#[test]
fn feeding_allocates_nothing() {
    // What is handed over to the second tier is the matter of a test of its own.
    let policy = Policy {
        deep: false,
        ..Policy::default()
    };
    let mut scorer = Scorer::new(rules(), policy, 4);
    let requests = requests();
    for segment in [1, 7, 1460, usize::MAX] {
        for request in &requests {
            let mut decided = 0;
            let count = allocations(|| {
                let mut stream = Stream::new();
                for bytes in request.chunks(segment.min(request.len())) {
                    assert_eq!(
                        scorer.feed(&mut stream, bytes, |_| decided += 1),
                        Disposition::Accept
                    );
                }
                scorer.release(&mut stream);
            });
            assert_eq!(decided, 1);
            assert_eq!(
                count,
                0,
                "segments of {segment}: {}",
                String::from_utf8_lossy(&request[..40])
            );
        }
    }
}

#[test]
fn blocking_allocates_nothing_either() {
    let rules = rules();
    let mut scorer = Scorer::new(rules, Policy::default(), 4);
    let attack = b"GET /?p='%2bxx%7C%7C(select+0x41)%3b--&q=%3Cscript%3Ealert(1)%3C/script%3E&r=1'+union+select+2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..3 {
        let count = allocations(|| {
            let mut stream = Stream::new();
            assert_eq!(scorer.feed(&mut stream, attack, |_| ()), Disposition::Block);
        });
        assert_eq!(count, 0);
    }
}

/// A rule that waits for the end of the head.
const CHAINED: &str = "family = \"custom\"\n[[rule]]\nid = 1000001\nmessage = \"m\"\nseverity = \"critical\"\n\
    targets = [\"query\"]\nregex = 'shop_debug'\nsamples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n\
    [[rule.and]]\nheader-missing = \"X-Staff\"\n[[rule.and]]\npath = \"/shop\"\n";

#[test]
fn exclusions_and_conditions_allocate_nothing_either() {
    let own = PackSource {
        name: "own.toml",
        text: CHAINED,
    };
    let packs: Vec<_> = builtin_packs().iter().copied().chain([own]).collect();
    let rules = Arc::new(RuleSet::compile(&packs).expect("the packs compile"));
    let tuning = Tuning {
        exclusions: vec![Exclusion {
            reason: "the editor".to_owned(),
            paths: vec![PathPattern::new("/shop/*").expect("a path")],
            names: vec![Glob::new("q[*]").expect("a name")],
            sources: vec!["192.0.2.0/24".parse().expect("a network")],
            ..Exclusion::default()
        }],
        ..Tuning::default()
    };
    let policies = Policies::compile(rules, &tuning, &[]).expect("a right policy");
    let mut scorer = Scorer::with_policies(Arc::new(policies), 4);
    let excluded = "GET /shop/%2e/a?q%5Bb%5D=%3Cscript%3Ealert(1)%3C/script%3E&q%5Bc%5D=1'+union+select+2";
    for (query, staff, expected) in [
        ("", "", Disposition::Accept),
        ("&r=shop_debug", "X-Staff: yes\r\n", Disposition::Accept),
        ("&r=shop_debug", "", Disposition::Block),
    ] {
        let request = format!("{excluded}{query} HTTP/1.1\r\nHost: a\r\n{staff}\r\n");
        for segment in [1, usize::MAX] {
            let count = allocations(|| {
                let mut stream = Stream::new().from_source([192, 0, 2, 7].into());
                let mut disposition = Disposition::Accept;
                for bytes in request.as_bytes().chunks(segment.min(request.len())) {
                    disposition = scorer.feed(&mut stream, bytes, |_| ());
                }
                assert_eq!(disposition, expected, "{request}");
                scorer.release(&mut stream);
            });
            assert_eq!(count, 0, "{request}");
        }
    }
}

#[test]
fn learning_and_comparing_allocate_nothing_either() {
    let policy = Policy {
        deep: false,
        baseline: BaselineUse::On,
        ..Policy::default()
    };
    let mut scorer = Scorer::new(rules(), policy, 4).with_baseline(64, &[1; 16]);
    let requests = requests();
    let mut feed = |request: &[u8], segment: usize| {
        let mut verdict = None;
        let count = allocations(|| {
            let mut stream = Stream::new();
            for bytes in request.chunks(segment.min(request.len())) {
                scorer.feed(&mut stream, bytes, |decision| verdict = Some(decision.verdict));
            }
            scorer.release(&mut stream);
        });
        assert_eq!(count, 0, "{}", String::from_utf8_lossy(&request[..40]));
        verdict.expect("a whole request")
    };
    for segment in [7, usize::MAX] {
        for request in &requests {
            feed(request, segment);
        }
    }
    for round in 0..40 {
        // Names that are new, more of them than there is room for.
        let names = (0..40).map(|name| format!("%6e{round}-{name}=1"));
        let names = names.collect::<Vec<_>>().join("&");
        let request = format!("GET /?id=17&{names} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(feed(request.as_bytes(), 1460), Verdict::Allow);
    }
    let unlike = "GET /?id=17-%3Cb%3E%22 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(feed(unlike.as_bytes(), 7), Verdict::Suspicious);
    assert!(scorer.baseline().mature > 0);
}

#[test]
fn handing_over_to_the_second_tier_allocates_nothing() {
    let rules = Arc::new(RuleSet::compile(builtin_packs()).expect("the built-in packs compile"));
    let mut scorer = Scorer::new(Arc::clone(&rules), Policy::default(), 4);
    let policies = Policies::single(rules, Policy::default());
    let mut deep = DeepScorer::new(&policies, 16, &[1; 16]);
    let (mut job, mut verdict) = (DeepJob::default(), DeepVerdict::default());
    // More of it than is kept.
    let fields = "next=http%3A%2F%2Flocalhost%3A8080%2Fcallback&".repeat(200);
    let request = format!("GET /?{fields} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut undecided = 0;
    for _ in 0..3 {
        let count = allocations(|| {
            let mut stream = Stream::new();
            scorer.feed(&mut stream, request.as_bytes(), |decision| {
                undecided += usize::from(decision.is_undecided());
                decision.copy_doubts(&mut job);
            });
            scorer.release(&mut stream);
        });
        assert_eq!(count, 0);
        deep.score(&job, &mut verdict);
    }
    assert!(undecided == 3 && job.is_cut());
    // What is known is served without allocating, too.
    assert_eq!(allocations(|| deep.score(&job, &mut verdict)), 0);
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0);
}
