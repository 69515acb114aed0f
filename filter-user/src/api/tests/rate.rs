//! How many requests a second are judged. Run it optimised: `cargo test --release -p filter-user --lib rate_of_batches -- --ignored --nocapture`.

use std::io::{BufRead as _, BufReader};

use super::*;

/// Requests of a batch.
const BATCH: usize = 1000;

/// A batch of requests as browsers send them; `salt` makes them others than those of another batch.
fn batch(salt: usize) -> String {
    let request = |n: usize| {
        serde_json::json!({
            "method": if n.is_multiple_of(4) { "POST" } else { "GET" },
            "path": format!("/shop/item/{}", n % 97),
            "query_params": { "q": format!("red shoes {salt} {n}"), "page": n % 10, "sort": "price" },
            "headers": {
                "Host": "shop.example.com",
                "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Accept-Language": "en-US,en;q=0.5",
                "Cookie": format!("session={:032x}", salt * BATCH + n),
            },
            "body": if n.is_multiple_of(4) { "name=Ada+Lovelace&city=London&comment=fits+well" } else { "" },
        })
    };
    let requests: Vec<_> = (0..BATCH).map(request).collect();
    serde_json::json!({ "requests": requests }).to_string()
}

/// Sends batches one after the other over one connection, and returns how many requests a second were answered.
fn rate(served: &Served, batches: &[String], times: usize) -> f64 {
    let mut stream = BufReader::new(served.connect());
    let began = Instant::now();
    for _ in 0..times {
        for body in batches {
            let head = format!(
                "POST /v1/check/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.get_mut().write_all(head.as_bytes()).expect("sent");
            stream.get_mut().write_all(body.as_bytes()).expect("sent");
            let (mut length, mut line) = (0, String::new());
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).expect("a head");
                assert!(
                    !line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.1 200"),
                    "{line}"
                );
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).expect("an answer");
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let requests = (times * batches.len() * BATCH) as f64;
    requests / began.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn rate_of_batches() {
    let settings = config::Api {
        check: config::CheckApi {
            workers: 2,
            queue: 100_000,
            deadline_ms: 60_000,
            client_rate: 0,
            total_rate: 0,
        },
        ..config::Api::default()
    };
    let served = served(&settings);
    // The rules are compiled with the first one.
    rate(&served, &[batch(0)], 1);
    let others: Vec<_> = (1..61).map(batch).collect();
    for round in 0..3 {
        println!(
            "round {round}: never seen {:.0} requests/s",
            rate(&served, &others[round * 20..(round + 1) * 20], 1)
        );
        println!(
            "round {round}: seen before {:.0} requests/s",
            rate(&served, &others[..1], 40)
        );
    }
}
