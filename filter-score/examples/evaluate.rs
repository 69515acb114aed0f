//! Measures detection, false positives and speed on recorded data.
//!
//! `cargo run --release -p filter-score --example evaluate -- DATA_FOLDER [--misses] [--train] [--stats]
//! [--model off|on|only] [--fit] [--without SOURCE]`
//!
//! The folder has `benign_requests_*`, `attack_payloads_*` and `benign_values_*` as gzip-compressed
//! JSON Lines. Blocked means the default policy's verdict. `--model`: rules alone, rules and model (the default), or the
//! model alone. `--fit` trains a model on the train files instead of taking the built-in one; `--without` leaves the
//! payloads of the sources that begin so out of the training, and measures detection on them alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use filter_score::train::{Corpus, Options, Sample, train};
use filter_score::{
    Model, ModelUse, OfflineScorer, OwnedDecision, Policy, RuleSet, Scorer, Stream, Verdict, builtin_packs,
    percent_encode,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Entry {
    bytes: Vec<u8>,
    category: String,
    source: String,
}

fn load(folder: &Path, name: &str, field: &str, label: &str) -> Result<Vec<Entry>> {
    let file = std::fs::File::open(folder.join(format!("{name}.jsonl.gz")))?;
    let mut entries = Vec::new();
    for line in BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines() {
        let value: serde_json::Value = serde_json::from_str(&line?)?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text(field))?;
        entries.push(Entry {
            bytes,
            category: text(label),
            source: text("source"),
        });
    }
    Ok(entries)
}

#[derive(Clone, Copy)]
enum Place {
    Query,
    Form,
    Header,
    Cookie,
    Json,
    Multipart,
    Xml,
}

fn place(place: Place, value: &[u8], encode: bool) -> Vec<u8> {
    let mut encoded = Vec::new();
    if encode {
        percent_encode(value, &mut encoded);
    } else {
        encoded = value.to_vec();
    }
    let text = |before: &str, after: &str| [before.as_bytes(), &encoded, after.as_bytes()].concat();
    match place {
        Place::Query => text("GET /search?q=", " HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        Place::Header => text("GET / HTTP/1.1\r\nHost: example.com\r\nX-Value: ", "\r\n\r\n"),
        Place::Cookie => text("GET / HTTP/1.1\r\nHost: example.com\r\nCookie: id=", "\r\n\r\n"),
        Place::Form => post("application/x-www-form-urlencoded", &text("a=1&q=", "")),
        Place::Multipart => {
            let before = "------b7x\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n";
            let body = [before.as_bytes(), value, b"\r\n------b7x--\r\n"].concat();
            post("multipart/form-data; boundary=----b7x", &body)
        }
        Place::Xml => {
            let mut body = b"<?xml version=\"1.0\"?><r><q>".to_vec();
            for byte in value {
                match byte {
                    b'<' => body.extend_from_slice(b"&lt;"),
                    b'>' => body.extend_from_slice(b"&gt;"),
                    b'&' => body.extend_from_slice(b"&amp;"),
                    _ => body.push(*byte),
                }
            }
            body.extend_from_slice(b"</q></r>");
            post("application/xml", &body)
        }
        Place::Json => {
            let body = serde_json::json!({ "q": String::from_utf8_lossy(value) }).to_string();
            post("application/json", body.as_bytes())
        }
    }
}

fn post(media_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[derive(Default)]
struct Tally {
    total: usize,
    blocked: usize,
    suspicious: usize,
}

impl Tally {
    fn add(&mut self, decision: &OwnedDecision) {
        self.total += 1;
        match decision.decision {
            Verdict::Block => self.blocked += 1,
            Verdict::Suspicious => self.suspicious += 1,
            Verdict::Allow => {}
        }
    }
}

fn percent(part: usize, total: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let ratio = part as f64 / total.max(1) as f64;
    ratio * 100.0
}

fn benign(
    scorer: &mut OfflineScorer,
    name: &str,
    entries: &[Entry],
    make: impl Fn(&[u8]) -> Vec<u8>,
    show: bool,
) {
    let mut tally = Tally::default();
    let mut rules: BTreeMap<u32, usize> = BTreeMap::new();
    for entry in entries {
        let decision = scorer.score_request(&make(&entry.bytes));
        tally.add(&decision);
        for hit in &decision.rules {
            *rules.entry(hit.id).or_default() += 1;
        }
        if show && decision.decision == Verdict::Block {
            println!(
                "    FP {} | {}",
                decision.request_line.chars().take(60).collect::<String>(),
                decision.explanation
            );
        }
    }
    let Tally {
        total,
        blocked,
        suspicious,
    } = tally;
    println!(
        "{name}: {total} in all, blocked {blocked} ({:.2} %), suspicious {suspicious} ({:.2} %); hits by rule {rules:?}",
        percent(blocked, total),
        percent(suspicious, total)
    );
}

fn attacks(scorer: &mut OfflineScorer, name: &str, entries: &[Entry], where_: Place, show: bool) {
    let mut by_category: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for entry in entries {
        let decision = scorer.score_request(&place(where_, &entry.bytes, true));
        by_category.entry(&entry.category).or_default().add(&decision);
        all.add(&decision);
        if show && decision.decision != Verdict::Block {
            println!(
                "    MISS {} | {:?} | {}",
                entry.category,
                String::from_utf8_lossy(&entry.bytes),
                decision.explanation
            );
        }
    }
    print!(
        "{name}: {} in all, blocked {:.2} %;",
        all.total,
        percent(all.blocked, all.total)
    );
    for (category, tally) in by_category {
        print!(
            " {category} {}/{} ({:.1} %)",
            tally.blocked,
            tally.total,
            percent(tally.blocked, tally.total)
        );
    }
    println!();
}

/// Payloads that are percent-encoded already, sent so.
fn as_they_stand(scorer: &mut OfflineScorer, payloads: Vec<Entry>) {
    let raw: Vec<Entry> = payloads
        .into_iter()
        .filter(|entry| entry.bytes.contains(&b'%') && !entry.bytes.iter().any(u8::is_ascii_whitespace))
        .collect();
    let mut sent = Tally::default();
    for entry in &raw {
        sent.add(&scorer.score_request(&place(Place::Query, &entry.bytes, false)));
    }
    println!(
        "attacks with %xx as they stand in query: {} in all, blocked {:.2} %",
        sent.total,
        percent(sent.blocked, sent.total)
    );
}

/// Time a request, as the sum over small batches of the fastest of many runs each: other programs on
/// the machine disturb some runs of a batch, hardly ever all.
fn speed(rules: &Arc<RuleSet>, policy: Policy, name: &str, requests: &[Vec<u8>]) {
    let mut scorer = Scorer::new(Arc::clone(rules), policy, 4);
    let bytes: usize = requests.iter().map(Vec::len).sum();
    let mut total = 0;
    for batch in requests.chunks(50) {
        let mut fastest = u128::MAX;
        for _ in 0..40 {
            let start = Instant::now();
            for request in batch {
                let mut stream = Stream::new();
                scorer.feed(&mut stream, request, |decision| {
                    std::hint::black_box(decision.anomaly);
                });
                scorer.release(&mut stream);
            }
            fastest = fastest.min(start.elapsed().as_nanos());
        }
        total += fastest;
    }
    println!(
        "{name}: {} ns a request, {} bytes each",
        total / requests.len().max(1) as u128,
        bytes / requests.len().max(1)
    );
}

/// Trains a model on the train files, but for the payloads of sources that begin with `without`.
fn fit(folder: &Path, rules: &Arc<RuleSet>, without: Option<&str>) -> Result<Model> {
    let samples = |name, field| -> Result<Vec<Sample>> {
        let entries = load(folder, name, field, "category")?;
        let known = entries.into_iter().filter(|entry| {
            without.is_none_or(|source| name.starts_with("benign") || !entry.source.starts_with(source))
        });
        Ok(known
            .map(|entry| Sample {
                bytes: entry.bytes,
                source: entry.source,
                category: entry.category,
            })
            .collect())
    };
    let corpus = Corpus {
        requests: load(folder, "benign_requests_train", "raw_base64", "id")?
            .into_iter()
            .map(|entry| entry.bytes)
            .collect(),
        values: samples("benign_values_train", "value_base64")?,
        payloads: samples("attack_payloads_train", "payload_base64")?,
    };
    let start = Instant::now();
    let (model, report) = train(rules, &corpus, Options::default(), |step| {
        eprintln!("{:6.1} s {step}", start.elapsed().as_secs_f64());
    })?;
    eprintln!("{:6.1} s trained\n{report}", start.elapsed().as_secs_f64());
    Ok(model)
}

fn policy(use_of_model: &str) -> Result<Policy> {
    let mut policy = Policy::default();
    match use_of_model {
        "off" => policy.model = ModelUse::Off,
        "on" => {}
        // No rule is below paranoia level 1.
        "only" => policy.paranoia = 0,
        other => return Err(format!("--model is off, on or only, not {other}").into()),
    }
    Ok(policy)
}

fn speeds(rules: &Arc<RuleSet>, policy: Policy, requests: &[Entry]) {
    let get = b"GET /api/v1/items?page=2&sort=name HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\nAccept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\nConnection: keep-alive\r\n\r\n";
    speed(rules, policy, "GET", &vec![get.to_vec(); 2000]);
    let (bodiless, with_body): (Vec<Vec<u8>>, Vec<Vec<u8>>) = requests
        .iter()
        .map(|entry| entry.bytes.clone())
        .partition(|bytes| bytes.ends_with(b"\r\n\r\n"));
    let all: Vec<Vec<u8>> = [bodiless.as_slice(), with_body.as_slice()].concat();
    speed(rules, policy, "benign requests", &all);
    speed(rules, policy, "benign requests without body", &bodiless);
    speed(rules, policy, "benign requests with body", &with_body);
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().filter(|argument| !argument.starts_with("--"));
    let folder = Path::new(folder.ok_or("usage: evaluate DATA_FOLDER [--misses] [--train] [--stats]")?);
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let half = if flag("--train") { "train" } else { "valid" };
    let start = Instant::now();
    let rules = match RuleSet::compile(builtin_packs()) {
        Ok(rules) => rules,
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            return Err("the packs do not compile".into());
        }
    };
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let without = option("--without");
    let use_of_model = option("--model").unwrap_or("on");
    let policy = policy(use_of_model)?;
    let rules = Arc::new(rules);
    let model = if use_of_model == "off" {
        None
    } else if flag("--fit") || without.is_some() {
        Some(fit(folder, &rules, without)?)
    } else {
        Some(Model::builtin()?)
    };
    let rules = Arc::try_unwrap(rules).map_err(|_| "the rules are shared")?;
    let rules = Arc::new(rules.with_model(model.map(Arc::new)));
    println!(
        "{} rules compiled in {:.0} ms, {} KiB",
        rules.rules().len(),
        start.elapsed().as_secs_f64() * 1000.0,
        rules.memory() / 1024
    );
    let requests = load(folder, &format!("benign_requests_{half}"), "raw_base64", "id")?;
    let values = load(folder, &format!("benign_values_{half}"), "value_base64", "source")?;
    let mut payloads = load(
        folder,
        &format!("attack_payloads_{half}"),
        "payload_base64",
        "category",
    )?;
    if let Some(source) = without {
        payloads.retain(|entry| entry.source.starts_with(source));
    }
    speeds(&rules, policy, &requests);
    if flag("--stats") {
        return Ok(());
    }
    let scorer = &mut OfflineScorer::new(Arc::clone(&rules), policy);
    benign(scorer, "benign requests", &requests, <[u8]>::to_vec, true);
    benign(
        scorer,
        "benign values in query",
        &values,
        |value| place(Place::Query, value, true),
        true,
    );
    attacks(
        scorer,
        "attacks in query",
        &payloads,
        Place::Query,
        flag("--misses"),
    );
    for (name, where_) in [
        ("form", Place::Form),
        ("header", Place::Header),
        ("cookie", Place::Cookie),
        ("json", Place::Json),
        ("multipart", Place::Multipart),
        ("xml", Place::Xml),
    ] {
        attacks(scorer, &format!("attacks in {name}"), &payloads, where_, false);
    }
    as_they_stand(scorer, payloads);
    Ok(())
}
