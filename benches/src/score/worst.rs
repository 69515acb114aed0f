//! The inputs that cost most for their size, and the search that finds them.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use filter_score::{Policy, RuleSet, Scorer};
use serde::Serialize;

use super::{least, score};

/// Bodies are grown to this size, in bytes: one window.
const SIZE: usize = 8192;
/// Inputs that the search keeps.
const KEPT: usize = 8;

/// What attacks are made of, in pieces that rules look for.
const PIECES: &[&[u8]] = &[
    b"select ",
    b"union ",
    b" from ",
    b"' or ",
    b"\" and ",
    b"/*",
    b"*/",
    b"--",
    b"<a ",
    b" on",
    b"=\"",
    b"<script",
    b"${",
    b"}",
    b"{{",
    b"}}",
    b"../",
    b"..\\",
    b"%2e",
    b"%25",
    b"%u00",
    b"&lt;",
    b"&#x",
    b";",
    b"\\x3c",
    b"\\u003",
    b"|",
    b"$(",
    b"`",
    b"<!--",
    b"-->",
    b"<?php",
    b"sleep(",
    b"(select",
    b"||",
    b"0x",
    b"1=1",
    b"\n",
    b"\0",
    b"+",
    b" ",
    b"a",
    b"\xc0\xae",
    b"\xe2\x80\x98",
    b"eval(",
    b"javascript:",
    b"file://",
    b"http://",
    b"[$",
    b"__",
    b"O:8:\"",
    b"@",
    b"#",
    b"cat ",
    b"/etc/",
    b"document.",
    b"java.",
    b"rO0AB",
    b"PD9w",
];

/// A costly input.
#[derive(Debug, Serialize)]
pub(crate) struct Worst {
    pub(super) input: String,
    pub(super) bytes: usize,
    pub(super) ns_per_byte: f64,
}

/// What the kept inputs cost; what is blocked is scored up to there.
pub(super) fn measure(rules: &Arc<RuleSet>, rounds: usize) -> Vec<Worst> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("worst");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    files.sort();
    let mut scorer = scorer(rules);
    files
        .into_iter()
        .filter_map(|path| {
            let input = path.file_name()?.to_string_lossy().into_owned();
            let bytes = fs::read(&path).ok()?;
            let ns_per_byte = ns_per_byte(&mut scorer, &bytes, rounds);
            Some(Worst {
                input,
                bytes: bytes.len(),
                ns_per_byte,
            })
        })
        .collect()
}

/// Changes inputs at random and keeps those that cost more, for some seconds.
pub(super) fn search(rules: &Arc<RuleSet>, folder: &Path, seconds: u64) -> Result<()> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut scorer = scorer(rules);
    let mut best: Vec<(f64, Vec<u8>)> = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let mut body = match best.len() {
            0 => Vec::new(),
            count if random.below(4) > 0 => best[random.below(count)].1.clone(),
            _ => Vec::new(),
        };
        for _ in 0..=random.below(6) {
            random.change(&mut body);
        }
        if body.len() < 64 {
            continue;
        }
        // The pattern is what is looked for; its size is the same for all.
        let grown: Vec<u8> = body.iter().copied().cycle().take(SIZE).collect();
        let first = ns_per_byte(&mut scorer, &request(&grown), 1);
        if best.len() == KEPT && first < best[KEPT - 1].0 {
            continue;
        }
        let cost = ns_per_byte(&mut scorer, &request(&grown), 5);
        if best.iter().any(|(_, known)| *known == body) {
            continue;
        }
        best.push((cost, body));
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(KEPT);
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for (rank, (cost, body)) in best.iter().enumerate() {
        let grown: Vec<u8> = body.iter().copied().cycle().take(SIZE).collect();
        let path = folder.join(format!("found-{rank}.http"));
        fs::write(&path, request(&grown)).with_context(|| format!("writing {}", path.display()))?;
        println!(
            "{}: {cost:.1} ns a byte: {}",
            path.display(),
            body[..body.len().min(100)].escape_ascii()
        );
    }
    Ok(())
}

fn scorer(rules: &Arc<RuleSet>) -> Scorer {
    Scorer::new(Arc::clone(rules), Policy::default(), 4)
}

fn ns_per_byte(scorer: &mut Scorer, request: &[u8], rounds: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds and sizes, far below 2⁵²")]
    least((0..rounds.max(1)).map(|_| {
        let start = Instant::now();
        score(scorer, request);
        start.elapsed().as_nanos() as f64 / request.len() as f64
    }))
}

/// A request with this text as its body.
fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Xorshift (Marsaglia 2003): the same search on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn change(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len() + 1);
        match self.below(5) {
            0 | 1 => {
                let piece = PIECES[self.below(PIECES.len())];
                body.splice(at..at, piece.iter().copied());
            }
            2 => body.insert(at, self.below(256) as u8),
            3 if !body.is_empty() => {
                let end = (at + 1 + self.below(16)).min(body.len());
                body.drain(at.min(end)..end);
            }
            _ => {
                let end = (at + self.below(64)).min(body.len());
                let copy = body[at..end].to_vec();
                body.splice(at..at, copy);
            }
        }
        body.truncate(1024);
    }
}
