//! Requests to score.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use filter_score::percent_encode;

/// A typical request of 242 bytes.
pub(crate) const GET: &[u8; 242] = b"GET /api/v1/items?page=2&sort=by_price HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\nAccept: application/json\r\n\
    Accept-Language: en-US,en;q=0.5\r\nConnection: keep-alive\r\n\r\n";

/// What surrounds a query: the lines of a browser, so that only the query differs from a plain request.
const AROUND: [&[u8]; 2] = [
    b"GET /search?q=",
    b" HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 \
      Firefox/115.0\r\nAccept: text/html\r\nAccept-Language: en-US,en;q=0.5\r\n\r\n",
];

/// Recorded browsing.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Vec<u8>>> {
    read(folder, "benign_requests_valid", "raw_base64")
}

/// Attacks, before they are encoded for a request.
pub(super) fn payloads(folder: &Path) -> Result<Vec<Vec<u8>>> {
    read(folder, "attack_payloads_valid", "payload_base64")
}

/// Values of forms and texts that look like attacks to a careless rule.
pub(super) fn values(folder: &Path) -> Result<Vec<Vec<u8>>> {
    read(folder, "benign_values_valid", "value_base64")
}

/// A request with this value in its query.
pub(super) fn in_query(value: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    percent_encode(value, &mut encoded);
    [AROUND[0], &encoded, AROUND[1]].concat()
}

/// A field of every line of `NAME.jsonl.gz`.
fn read(folder: &Path, name: &str, field: &str) -> Result<Vec<Vec<u8>>> {
    let path = folder.join(format!("{name}.jsonl.gz"));
    let file = File::open(&path).with_context(|| format!("{} (give --data FOLDER)", path.display()))?;
    let records: Vec<Vec<u8>> = BufReader::new(flate2::read::MultiGzDecoder::new(file))
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line?)?;
            let text = value[field]
                .as_str()
                .with_context(|| format!("a line without {field}"))?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        })
        .collect::<Result<_>>()
        .with_context(|| format!("reading {}", path.display()))?;
    ensure!(!records.is_empty(), "{} is empty", path.display());
    Ok(records)
}

/// Requests as a browser sends them, for machines without recorded ones.
pub(super) fn made_up() -> Vec<Vec<u8>> {
    (0..1000)
        .map(|number| {
            format!(
                "GET /shop/list/{number}?page={}&q=blue+shoes%20{number}&session=9f8b{number:06x} HTTP/1.1\r\nHost: shop.example.com\r\n\
                 User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36\r\n\
                 sec-ch-ua: \"Not.A/Brand\";v=\"8\", \"Chromium\";v=\"114\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Windows\"\r\n\
                 Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n\
                 Accept-Language: en-US,en;q=0.9\r\nReferer: https://shop.example.com/shop/list/{}\r\nCookie: id={number:08x}; theme=dark\r\n\r\n",
                number % 7,
                number / 2
            )
            .into_bytes()
        })
        .collect()
}
