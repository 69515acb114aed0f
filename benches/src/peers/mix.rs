//! What clients ask for: recorded browsing, and an attack after every tenth request.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use filter_score::percent_encode;

use crate::{client::Request, score};

/// Benign requests before each attack.
const BENIGN: usize = 10;
const SUFFIX: &str = " HTTP/1.1\r\nHost: lab\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\n\
    Accept: */*\r\n";

/// Requests in the order in which they are sent, and which of them are attacks.
pub(super) struct Mix {
    pub(super) requests: Vec<Request>,
    pub(super) attacks: Vec<bool>,
}

/// The validation part of a data folder.
pub(super) fn read(folder: &Path) -> Result<Mix> {
    let benign = score::recorded(folder)?;
    let payloads = attack_strings(folder)?;
    let count = benign.len() / BENIGN;
    ensure!(
        count > 0 && payloads.len() >= count,
        "too few requests or attacks"
    );
    let (mut requests, mut attacks) = (Vec::new(), Vec::new());
    for (place, request) in benign.into_iter().enumerate() {
        requests.push(Request::new(request));
        attacks.push(false);
        if (place + 1) % BENIGN == 0 {
            let number = place / BENIGN;
            // Spread over the whole file.
            requests.push(Request::new(attack(
                number,
                &payloads[number * payloads.len() / count],
            )));
            attacks.push(true);
        }
    }
    Ok(Mix { requests, attacks })
}

/// An attack string where applications take values from: a query, a form, JSON.
fn attack(number: usize, payload: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    percent_encode(payload, &mut encoded);
    let post = |kind: &str, body: Vec<u8>| {
        let head = format!(
            "POST /search{SUFFIX}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    };
    match number % 3 {
        0 => [b"GET /search?q=", &encoded[..], SUFFIX.as_bytes(), b"\r\n"].concat(),
        1 => post(
            "application/x-www-form-urlencoded",
            [b"page=1&q=", &encoded[..]].concat(),
        ),
        _ => {
            let value = serde_json::json!({ "page": 1, "q": String::from_utf8_lossy(payload) });
            post("application/json", value.to_string().into_bytes())
        }
    }
}

fn attack_strings(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let path = folder.join("attack_payloads_valid.jsonl.gz");
    let file = File::open(&path).with_context(|| format!("{} (give --data FOLDER)", path.display()))?;
    BufReader::new(flate2::read::MultiGzDecoder::new(file))
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line?)?;
            let text = value["payload_base64"]
                .as_str()
                .context("a line without payload_base64")?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        })
        .collect::<Result<_>>()
        .with_context(|| format!("reading {}", path.display()))
}
