//! Requests to score.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;

/// A typical request of 242 bytes.
pub(super) const GET: &[u8; 242] = b"GET /api/v1/items?page=2&sort=by_price HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\nAccept: application/json\r\n\
    Accept-Language: en-US,en;q=0.5\r\nConnection: keep-alive\r\n\r\n";

/// Recorded browsing: `benign_requests_valid.jsonl.gz` of a data folder.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let path = folder.join("benign_requests_valid.jsonl.gz");
    let file = File::open(&path).with_context(|| format!("{} (give --data FOLDER)", path.display()))?;
    let requests: Vec<Vec<u8>> = BufReader::new(flate2::read::MultiGzDecoder::new(file))
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line?)?;
            let text = value["raw_base64"]
                .as_str()
                .context("a line without raw_base64")?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        })
        .collect::<Result<_>>()
        .with_context(|| format!("reading {}", path.display()))?;
    ensure!(!requests.is_empty(), "{} is empty", path.display());
    Ok(requests)
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
