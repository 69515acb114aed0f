//! Time of [`Scorer::feed`] for whole requests, one a call: `cargo bench -p filter-score`.
//!
//! Cold requests are scored in full. Known ones are answered from the memory of clean requests, requests with known
//! lines from that of clean header lines, as in an engine that has seen the client before.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filter_score::{Model, Policy, RuleSet, Scorer, Stream, builtin_packs};

/// Entries of the memory of clean requests, the default of `scoring.cache`.
const CACHE: usize = 16_384;

fn scorer(rules: &Arc<RuleSet>, cache: usize) -> Scorer {
    Scorer::new(Arc::clone(rules), Policy::default(), 4).with_cache(cache, &[7; 16])
}

fn rules() -> Arc<RuleSet> {
    let model = Model::builtin().expect("the built-in model is sound");
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs are sound");
    Arc::new(rules.with_model(Some(Arc::new(model))))
}

/// 242 bytes, as a program sends them.
fn short_get(page: u32) -> Vec<u8> {
    format!(
        "GET /api/v1/items?page={page:05}&sort=name HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
         x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\nAccept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\n\
         Connection: keep-alive\r\n\r\n"
    )
    .into_bytes()
}

/// About 600 bytes, as a browser sends them.
fn browser_get(page: u32) -> Vec<u8> {
    format!(
        "GET /catalogue/garden/chairs?page={page:05} HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Not.A/Brand\";v=\"8\", \"Chromium\";v=\"114\", \"Google Chrome\";v=\"114\"\r\nsec-ch-ua-mobile: ?0\r\n\
         sec-ch-ua-platform: \"Windows\"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; \
         x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36\r\nAccept: text/html,\
         application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nReferer: https://www.example.com/catalogue/garden\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
    )
    .into_bytes()
}

/// Makes the request with a number.
type Numbered = fn(u32) -> Vec<u8>;

fn post(media_type: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /account/save HTTP/1.1\r\nHost: www.example.com\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A form with 3 kB of short values and a longer text.
fn form() -> Vec<u8> {
    let fields = (0..60)
        .map(|field| format!("field{field}=value+{field}%2C+and+more"))
        .collect::<Vec<_>>();
    let text = "It+is+a+chair+with+a+blue+seat%2C+and+it%E2%80%99s+as+good+as+new.+".repeat(16);
    post(
        "application/x-www-form-urlencoded",
        &format!("{}&text={text}", fields.join("&")),
    )
}

/// 64 KiB of records.
fn json() -> Vec<u8> {
    let record = |number: u32| {
        format!(
            "{{\"id\":{number},\"name\":\"chair {number}\",\"url\":\"https://www.example.com/chairs/{number}\",\"note\":\"in the \
             garden, since May\"}}"
        )
    };
    let mut records = String::new();
    let mut number = 0;
    while records.len() < 64 * 1024 - 128 {
        records.push_str(&record(number));
        records.push(',');
        number += 1;
    }
    post("application/json", &format!("[{records}0]"))
}

fn attack() -> Vec<u8> {
    b"GET /item?id=1%27%20UNION%20SELECT%20name,password%20FROM%20users--%20 HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".to_vec()
}

fn score(scorer: &mut Scorer, request: &[u8]) {
    let mut stream = Stream::new();
    scorer.feed(&mut stream, black_box(request), |decision| {
        black_box(decision.anomaly);
    });
    scorer.release(&mut stream);
}

fn feed(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("feed");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let requests = [
        ("get-242/cold", 0, short_get(2)),
        ("get-242/known", CACHE, short_get(2)),
        ("get-600/cold", 0, browser_get(2)),
        ("get-600/known", CACHE, browser_get(2)),
        ("form-3k", 0, form()),
        ("json-64k", 0, json()),
        ("attack", 0, attack()),
    ];
    for (name, cache, request) in requests {
        let mut scorer = scorer(&rules, cache);
        group.throughput(Throughput::Bytes(request.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| score(&mut scorer, &request)));
    }
    // Each request is another, with lines that were seen before.
    let lines: [(&str, Numbered); 2] = [
        ("get-242/known-lines", short_get),
        ("get-600/known-lines", browser_get),
    ];
    for (name, request) in lines {
        let mut scorer = scorer(&rules, CACHE);
        let requests: Vec<_> = (0..2 * CACHE as u32).map(request).collect();
        let mut next = requests.iter().cycle();
        group.throughput(Throughput::Bytes(requests[0].len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| score(&mut scorer, next.next().expect("a cycle has no end")));
        });
    }
    group.finish();
}

criterion_group!(benches, feed);
criterion_main!(benches);
